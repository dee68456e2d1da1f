"""Random slices that look like patients, painted organ by organ."""

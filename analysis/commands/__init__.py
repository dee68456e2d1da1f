"""The commands of `ctxai`, one a file; what they share is in `analysis.session`."""

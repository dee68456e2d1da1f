"""Sampling what a layer is invariant to, and moving samples onto its fibre."""

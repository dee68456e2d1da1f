"""Projection scans: slices of them, lower doses, their noise, and what is recorded and drawn."""

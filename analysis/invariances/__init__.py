"""Invariances layer by layer: the study, and its rows of metrics.csv."""

"""Voxel volumes as phantoms, and the files that they come from."""

"""A run folder: its record, its numbers, its images, and the order they are shown in."""

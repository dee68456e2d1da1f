"""The report of a run: one page, its words and pictures, and exports for other programs."""

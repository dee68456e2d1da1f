"""A projection scan: its rays, what was measured along them, and scans that are simulated."""

"""Which networks are trained, on what, for how long, and what they achieve."""

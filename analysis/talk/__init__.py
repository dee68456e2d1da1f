"""Figures of a talk: sheets for a projector, arrows, and the cover."""

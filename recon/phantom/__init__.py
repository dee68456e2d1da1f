"""Phantoms: ellipses with exact line integrals, and random slices that look like CT."""

from .ellipses import Ellipse, EllipsePhantom, inserts_phantom, water_cylinder

__all__ = ["Ellipse", "EllipsePhantom", "inserts_phantom", "water_cylinder"]

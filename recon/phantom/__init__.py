"""Phantoms: ellipses with exact line integrals, and random slices that look like CT."""

from .anatomy import ANATOMIES, random_slice
from .ellipses import Ellipse, EllipsePhantom, inserts_phantom, water_cylinder

__all__ = [
    "ANATOMIES",
    "Ellipse",
    "EllipsePhantom",
    "inserts_phantom",
    "random_slice",
    "water_cylinder",
]

"""A smooth slice with an insert off its centre, and a short axial rotation around it."""

import numpy as np

from recon.geometry import flash_axial

SPACING = (1.5, 1.4)
SHAPE = (150, 170)
GEOMETRY = flash_axial(views=288)  # a quarter of the views: the physics is the same, the test short


def soft_edge(distance_mm, width=4.0):
    return 0.5 * (1.0 - np.tanh(distance_mm / width))


def phantom(shape=SHAPE, spacing=SPACING):
    """A smooth body off the centre with an insert to the right of and above its middle [HU]."""
    y = ((np.arange(shape[0]) - (shape[0] - 1) / 2) * spacing[0])[:, None]
    x = ((np.arange(shape[1]) - (shape[1] - 1) / 2) * spacing[1])[None, :]
    body = soft_edge(np.hypot((x + 8) / 1.1, y - 5) - 80.0)
    insert = soft_edge(np.hypot(x - 22, (y + 18) / 0.7) - 12.0)
    return (-1000.0 + 1000.0 * body + 150.0 * insert).astype(np.float32)

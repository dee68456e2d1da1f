"""What lies below the cerebrum in a head slice: face, orbits, petrous bones, posterior fossa."""

from __future__ import annotations

import numpy as np

from .canvas import Canvas
from .outlines import Outline, arc, blob, grown, tube
from .skeleton import bone

__all__ = ["face", "petrous_bones", "posterior_fossa"]


def face(canvas: Canvas, rng: np.random.Generator, width: float, length: float) -> None:
    """Paint the soft tissue in front of the skull that the nose and cheeks add."""
    nose = blob((0.0, -length - 2.0), (0.72 * width, 22.0), rng=rng, rough=0.04)
    bridge = blob((0.0, -length - 18.0), (10.0, 13.0), rng=rng, rough=0.05)
    canvas.paint([nose, bridge], 35.0)
    canvas.paint([grown(nose, -2.0), grown(bridge, -2.0)], -60.0 + 20.0 * canvas.field(3.0))


def posterior_fossa(
    canvas: Canvas, rng: np.random.Generator, inner: Outline, width: float, length: float
) -> None:
    """Paint temporal lobes, cerebellum with its folia, brain stem, fourth ventricle."""
    room = canvas.mask(inner)
    grey = 37.0 + 1.2 * canvas.field(3.0)
    canvas.paint(grown(inner, -1.5), grey)
    for side in (-1.0, 1.0):
        place, axes = (side * 0.6 * width, -0.2 * length), (0.3 * width, 0.3 * length)
        lobe = blob(place, axes, rng=rng, rough=0.08)
        canvas.paint(lobe, grey, within=room)
        canvas.paint(grown(lobe, -7.0), 31.0, within=room)
        place, axes = (side * 0.36 * width, 0.52 * length), (0.38 * width, 0.3 * length)
        half = blob(place, axes, rng=rng, rough=0.05)
        canvas.paint(grown(half, 1.5), 10.0, within=room)
        canvas.paint(half, grey, within=room)
        canvas.paint(grown(half, -9.0), 33.0, within=room)
        for k in range(9):
            y = (0.3 + 0.055 * k) * length
            rise = np.array([(0.7, 0.0), (0.4, 3.0), (0.1, 1.0)])
            folium = arc(rise * [side * width, 1.0] + [0.0, y])
            canvas.paint(tube(folium, [1.2, 0.5, 0.3]), 22.0, within=room, opacity=0.55)
    vermis = blob((0.0, 0.5 * length), (9.0, 0.26 * length), rng=rng, rough=0.1)
    canvas.paint(vermis, 40.0, within=room)
    canvas.paint(blob((0.0, 0.1 * length), (20.0, 8.0)), 8.0)
    canvas.paint(blob((0.0, 0.2 * length), (16.0, 12.0), rng=rng, rough=0.06), 33.0)
    axes = (rng.uniform(4.0, 8.0), rng.uniform(3.0, 6.0))
    canvas.paint(blob((0.0, 0.36 * length), axes, rng=rng, rough=0.15), 6.0)  # fourth ventricle


def petrous_bones(canvas: Canvas, rng: np.random.Generator, width: float, length: float) -> None:
    """Paint the petrous ridges with their air cells, clivus and sphenoid, and the orbits."""
    cells = np.clip(canvas.field(2.2) + 0.4 * canvas.field(3.0) - 0.35, 0.0, 1.0)
    for side in (-1.0, 1.0):
        size = [side * width, length]
        ridge = arc(np.array([(1.02, 0.22), (0.62, 0.12), (0.22, -0.06)]) * size)
        bone(canvas, tube(ridge, [26.0, 17.0, 9.0]), shell=1.4, cortex=1100.0, marrow=650.0)
        mastoid = blob((side * 0.97 * width, 0.26 * length), (11.0, 16.0), rng=rng, rough=0.1)
        canvas.paint(mastoid, 900.0)
        canvas.paint(grown(mastoid, -2.0), 750.0 - 1700.0 * cells)
        canvas.paint(blob((side * 0.62 * width, 0.1 * length), (7.0, 3.0), -side * 0.4), -900.0)
        canal = arc(np.array([(0.4, 0.08), (0.5, 0.09)]) * size)
        canvas.paint(tube(canal, 3.0), 30.0)
        wing = arc(np.array([(0.98, -0.42), (0.6, -0.52), (0.24, -0.36)]) * size)
        bone(canvas, tube(wing, [7.0, 8.0, 6.0]), shell=1.2, cortex=1000.0, marrow=500.0)
    clivus = blob((0.0, -0.12 * length), (0.24 * width, 9.0), rng=rng, rough=0.1, power=2.6)
    bone(canvas, clivus, shell=1.5, cortex=900.0, marrow=350.0)
    axes = (0.24 * width, 0.13 * length)
    sphenoid = blob((0.0, -0.36 * length), axes, rng=rng, rough=0.1, power=2.8)
    canvas.paint(grown(sphenoid, 1.5), 700.0)
    canvas.paint(sphenoid, -980.0)
    canvas.paint(tube(arc([(1.0, -0.5 * length), (-1.0, -0.23 * length)]), 1.3), 500.0)
    _orbits(canvas, rng, width, length)


def _orbits(canvas: Canvas, rng: np.random.Generator, width: float, length: float) -> None:
    front = -1.02 * length
    for side in (-1.0, 1.0):
        x = side * 0.46 * width
        walls = blob((x, front + 16.0), (20.0, 27.0), side * 0.3, power=2.3)
        canvas.paint(grown(walls, 1.8), 800.0)
        canvas.paint(walls, -95.0)
        canvas.paint(blob((x, front - 7.0), (21.0, 8.0)), 30.0)
        apex = (x - side * 11.0, front + 40.0)
        for out in (-1.0, 1.0):
            belly = (x + out * 12.0 - side * 2.0, front + 22.0)
            muscle = arc([(x + out * 11.5, front + 8.0), belly, apex])
            canvas.paint(tube(muscle, [2.0, 4.0, 2.0]), 48.0)
        nerve = arc([(x, front + 14.0), (x - side * 3.0, front + 26.0), apex])
        canvas.paint(tube(nerve, 3.5), 38.0)
        globe = blob((x, front + 4.0), (rng.uniform(11.8, 12.6),) * 2)
        canvas.paint(globe, 42.0)
        canvas.paint(grown(globe, -1.2), 8.0)
        canvas.paint(blob((x, front - 4.5), (4.5, 2.2)), 75.0)
        cheek = arc(np.array([(21.0, 6.0), (24.0, 22.0), (26.0, 40.0)]) * [side, 1.0] + [x, front])
        bone(canvas, tube(cheek, [6.0, 5.0, 5.0]), shell=1.3, cortex=900.0, marrow=400.0)
    nose = blob((0.0, front + 18.0), (0.19 * width, 34.0), power=3.0)
    canvas.paint(grown(nose, 1.0), 450.0)
    canvas.paint(nose, -950.0)
    inside = canvas.mask(nose)
    septum = [(0.0, front - 16.0), (rng.uniform(-2.0, 2.0), front + 52.0)]
    canvas.paint(tube(septum, 1.6), 150.0)
    for side in (-1.0, 1.0):
        places = np.array([(5.5, -8.0), (7.0, 4.0), (5.0, 14.0)])
        turbinate = arc(places * [side, 1.0] + [0.0, front])
        canvas.paint(tube(turbinate, [2.0, 4.5, 3.0]), 45.0, within=inside)
        for y in front + np.array([18.0, 26.0, 34.0, 42.0]) + rng.uniform(-3.0, 3.0, 4):
            bends = y + rng.uniform(-4.0, 4.0, 2)
            wall = arc([(0.0, y), (side * 6.0, bends[0]), (side * 14.0, bends[1])])
            canvas.paint(tube(wall, 0.9), rng.uniform(50.0, 250.0), within=inside)
        places = np.array([(6.0, 16.0), (rng.uniform(4.0, 9.0), 30.0), (6.5, 46.0)])
        lamella = arc(places * [side, 1.0] + [0.0, front])
        canvas.paint(tube(lamella, 0.9), 120.0, within=inside)
        if rng.random() < 0.4:
            place = (side * 8.0, front + rng.uniform(18.0, 40.0))
            swelling = blob(place, (5.0, 4.0), rng=rng, rough=0.2)
            canvas.paint(swelling, 35.0, within=inside)

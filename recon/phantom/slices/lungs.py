"""The lungs: parenchyma, vessels, bronchi, fissures, nodules, and the liver's dome beneath."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .chest import Chest
from .outlines import Outline, arc, blob, grown, tube
from .vessels import scattered, tree

__all__ = ["liver_dome", "lungs"]


def lungs(chest: Chest, pleura: Outline, air: NDArray[np.float32], name: str) -> None:
    """Paint the parenchyma and what lies in it within the mask ``air``."""
    canvas, rng, trunk = chest.canvas, chest.rng, chest.trunk
    base = rng.uniform(-885.0, -815.0)
    depth = ((canvas.y - trunk.middle) / trunk.half_depth).astype(np.float32)[:, None]
    parenchyma = (
        base + rng.uniform(5.0, 40.0) * depth + 14.0 * canvas.field(24.0) + 14.0 * canvas.field(7.0)
        + 16.0 * canvas.field(3.0) + 12.0 * canvas.field(1.6)
    )  # fmt: skip
    if rng.random() < 0.25:
        holes = np.clip(canvas.field(7.0) + 0.5 * canvas.field(3.0) - 1.0, 0.0, 1.0)
        parenchyma = parenchyma - 90.0 * holes
    canvas.paint(pleura, np.clip(parenchyma, -985.0, -600.0), within=air)
    if rng.random() < 0.35:
        hazy = np.clip(canvas.field(24.0) + 0.3 * canvas.field(7.0) - 1.0, 0.0, 1.0) * 260.0
        canvas.paint(pleura, parenchyma + hazy, within=air * (hazy > 0.0))
    for side in (-1.0, 1.0):
        _lung_vessels(chest, side, air, name)
        bow = rng.uniform(-0.1, 0.1)
        places = (0.3, 0.0), (0.55, 0.12), (0.8, 0.1), (0.98, 0.2)
        fissure = [trunk.at(side * u, 0.1 + bow + v) for u, v in places]
        canvas.paint(tube(arc(fissure), 0.8), -600.0, within=air, opacity=0.5)
    for _ in range(rng.poisson(0.8)):
        place = trunk.at(rng.choice([-1.0, 1.0]) * rng.uniform(0.45, 0.85), rng.uniform(-0.6, 0.7))
        size = rng.uniform(1.8, 9.0)
        nodule = blob(place, (size, size * rng.uniform(0.75, 1.0)), rng=rng, rough=0.15, lobes=9)
        canvas.paint(grown(nodule, 0.8), -350.0, within=air, opacity=0.6)
        canvas.paint(nodule, rng.uniform(10.0, 60.0), within=air)


def _lung_vessels(chest: Chest, side: float, air: NDArray[np.float32], name: str) -> None:
    canvas, rng, trunk = chest.canvas, chest.rng, chest.trunk
    hilum = chest.at((side * (38.0 if side < 0 or name != "heart" else 50.0), 0.68))
    outward = 0.0 if side > 0 else np.pi
    thick = {"arch": 4.0, "hila": 8.0, "heart": 6.5}[name]
    vessels: list[Outline] = []
    for turn in np.linspace(-1.4, 1.4, 5) + 0.2 * rng.standard_normal(5):
        vessels += tree(
            rng, hilum + 6.0 * rng.standard_normal(2), outward + turn,
            length=rng.uniform(16.0, 30.0), width=thick * rng.uniform(0.5, 1.0), generations=6,
            spread=0.7, thinnest=0.7, visible=0.72,
        )  # fmt: skip
    centre = trunk.at(side * 0.58, 0.05)
    reach = (0.45 * trunk.half_width, 0.95 * trunk.half_depth)
    sizes = (420, (0.4, 1.2), 0.5), (150, (0.7, 2.4), 0.75), (60, (0.9, 4.5), 1.0)
    for count, width, opacity in sizes:
        dots = scattered(rng, centre, reach, count=count, width=width, root=hilum)
        canvas.paint(dots, 0.8 * chest.blood, within=air, opacity=opacity)
    canvas.paint(vessels, 0.8 * chest.blood, within=air)
    out, down = rng.uniform(2.0, 40.0, 6), 22.0 * rng.standard_normal(6)
    places = hilum + np.stack([side * out, down], axis=1)
    bronchi = [
        blob(place, (0.5 * d * rng.uniform(1.0, 2.2), 0.5 * d), rng.uniform(0, 3))
        for place, d in zip(places, rng.uniform(1.8, 5.0, 6))
    ]
    canvas.paint([grown(o, rng.uniform(0.8, 1.3)) for o in bronchi], 0.0, within=air)
    canvas.paint(bronchi, -960.0, within=air)


def liver_dome(chest: Chest, air: NDArray[np.float32]) -> None:
    """Paint the liver's dome under the right lung."""
    canvas, rng, trunk = chest.canvas, chest.rng, chest.trunk
    size = rng.uniform(0.55, 0.95)
    axes = (size * 0.42 * trunk.half_width, size * 0.62 * trunk.half_depth)
    dome = blob(trunk.at(-0.55, -0.05), axes, rng=rng, rough=0.05)
    canvas.paint(grown(dome, 1.5), 45.0, within=air)
    liver = (108.0 if chest.contrast else 60.0) + 2.0 * canvas.field(3.0)
    canvas.paint(dome, liver, within=air)
    veins = scattered(rng, trunk.at(-0.55, -0.05), (25.0, 30.0), count=12, width=(2.0, 6.0))
    canvas.paint(veins, chest.blood * 0.9, within=air * canvas.mask(grown(dome, -4.0)))

"""Random axial slices of the thorax, from the aortic arch to the dome of the liver."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...geometry import ImageGrid
from .canvas import Canvas
from .chest import Chest
from .lungs import liver_dome, lungs
from .mediastinum import arch, behind_the_heart, heart, mediastinum, pulmonary_arteries
from .outlines import Outline, arc, blob, grown, stretch, tube
from .skeleton import bone, ribs, scapula, sternum, vertebra
from .trunk import back_muscles, fat_texture, paint_trunk
from .vessels import scattered

__all__ = ["thorax"]


def thorax(grid: ImageGrid, rng: np.random.Generator) -> NDArray[np.float32]:
    """Random thoracic slice [HU], float32 ``(rows, cols)``."""
    canvas = Canvas(grid, rng)
    level = rng.uniform(0.0, 1.0)
    half_width = rng.uniform(145.0, 184.0)
    fat = np.interp(half_width, [145.0, 184.0], [5.0, 20.0]) * rng.uniform(0.6, 1.4)
    high = float(np.interp(level, [0.0, 0.5], [1.0, 0.0]))
    lateral = rng.uniform(14.0, 20.0) + 12.0 * np.sqrt(high)
    marbling = rng.uniform(0.0, 0.9)
    trunk = paint_trunk(
        canvas,
        rng,
        half_width=half_width,
        half_depth=half_width * rng.uniform(0.66, 0.74),
        fat=fat,
        lateral=lateral,
        front=rng.uniform(13.0, 18.0) + 6.0 * high,
        back=rng.uniform(27.0, 33.0),
        marbling=marbling,
        power=rng.uniform(2.3, 2.7),
        spine_depth=68.0,
        back_width=58.0,
    )
    chest = Chest(canvas, rng, trunk)
    if level > 0.25 and rng.random() < 0.4:
        _breasts(chest)
    cage = grown(trunk.cavity, 4.5)
    _chest_wall(chest, cage, high)
    back_muscles(canvas, rng, trunk, marbling=marbling, lumbar=False)
    if level < 0.45:
        for side in (-1.0, 1.0):
            scapula(
                canvas, rng, cage, side,
                spread=rng.uniform(0.3, 0.42) * (0.7 + 0.3 * high), depth=lateral - 4.5,
            )  # fmt: skip
    pleura = grown(trunk.cavity, -1.2)
    shape, name = mediastinum(chest, level)
    air = canvas.mask(pleura) * (1.0 - canvas.mask(*shape))
    lungs(chest, pleura, air, name)
    if level > 0.86:
        liver_dome(chest, air)
    canvas.paint([grown(o, 1.0) for o in shape], 35.0, within=canvas.mask(trunk.cavity))
    canvas.paint(shape, fat_texture(canvas, -98.0), within=canvas.mask(trunk.cavity))
    if name == "heart":
        heart(chest, shape[0])
    elif name == "hila":
        pulmonary_arteries(chest)
    else:
        arch(chest, level)
    behind_the_heart(chest, name)
    places = np.concatenate([
        np.linspace(-0.35, np.pi / 2 - 0.35, rng.integers(4, 6)),
        np.pi - np.linspace(-0.35, np.pi / 2 - 0.35, rng.integers(4, 6)),
        -np.pi / 2 + np.array([-0.95, -0.62, -0.36, 0.36, 0.62, 0.95]),
    ])  # fmt: skip
    ribs(canvas, rng, cage, places + 0.05 * rng.standard_normal(len(places)), cartilage_above=0.8)
    sternum(canvas, rng, (0.0, chest.front - 5.0))
    vertebra(canvas, rng, trunk.spine, width=rng.uniform(31.0, 38.0), lumbar=False)
    _heads_of_ribs(chest)
    return canvas.image()


def _breasts(chest: Chest) -> None:
    canvas, rng, trunk = chest.canvas, chest.rng, chest.trunk
    top = trunk.body[:, 1].min()
    outside = 1.0 - canvas.mask(trunk.wall)
    axes = (rng.uniform(42.0, 60.0), rng.uniform(20.0, 34.0))
    lateral = rng.uniform(72.0, 86.0)
    for side in (-1.0, 1.0):
        place = (side * lateral, top + 26.0)
        breast = blob(place, axes, side * 0.35, rng=rng, rough=0.05, power=2.2)
        canvas.paint(breast, 20.0, within=outside)
        canvas.paint(grown(breast, -2.0), fat_texture(canvas), within=outside)
        near = outside * canvas.mask(grown(breast, 4.0))
        canvas.paint(grown(trunk.body, -2.0), fat_texture(canvas), within=near)
        gland = np.clip(canvas.field(7.0) + 0.5 * canvas.field(3.0), -1.0, 1.2) * 70.0 - 40.0
        core = grown(breast, -rng.uniform(8.0, 13.0))
        canvas.paint(core, gland, within=outside, opacity=0.85)


def _chest_wall(chest: Chest, cage: Outline, high: float) -> None:
    """Fat planes between the layers of muscle: pectorals, serratus, latissimus."""
    canvas, rng, trunk = chest.canvas, chest.rng, chest.trunk
    inside = canvas.mask(trunk.wall)
    plane = grown(cage, 6.0)
    right = (np.pi - 0.9, np.pi + 0.4), (np.pi + 0.5, np.pi + 1.3)
    for first, last in ((-1.3, -0.5), (-0.4, 0.9), *right):
        line = stretch(plane, first, last)
        canvas.paint(tube(line, [0.5, 2.6 + 2.0 * rng.random(), 2.2, 0.5]), -85.0, within=inside)
        if high > 0.2:
            line = stretch(grown(cage, 15.0), first + 0.1, last - 0.1)
            canvas.paint(tube(line, [0.3, 2.2, 0.3]), -80.0, within=inside, opacity=high)
    armpits = [(side * (trunk.half_width + 12.0), trunk.middle - 18.0) for side in (-1.0, 1.0)]
    fat = [blob(place, (9.0, 26.0), rng=rng, rough=0.2) for place in armpits]
    if high > 0.3:
        canvas.paint(fat, fat_texture(canvas), within=inside)
        nodes: list[Outline] = []
        for place in armpits:
            nodes += scattered(rng, place, (6.0, 20.0), count=7, width=(2.0, 6.0))
        canvas.paint(nodes, 45.0, within=inside)
    intercostal = grown(cage, -3.0)
    line = stretch(intercostal, -1.2, np.pi + 1.2)
    canvas.paint(tube(line, 1.0), -70.0, opacity=0.5)


def _heads_of_ribs(chest: Chest) -> None:
    """Ribs that reach the vertebra in this slice."""
    rng, (x, y) = chest.rng, chest.trunk.spine
    for side in (-1.0, 1.0):
        if rng.random() < 0.6:
            path = arc(np.array([(18.0, 9.0), (30.0, 17.0), (44.0, 21.0)]) * [side, 1.0] + [x, y])
            bone(chest.canvas, tube(path, [9.0, 6.5, 7.0]), shell=1.3, cortex=650.0, marrow=240.0)

"""Random axial slices of the abdomen, from the dome of the liver to below the kidneys."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...geometry import ImageGrid
from .abdominal_organs import Belly, contrast_phase, kidneys, liver, pancreas, spleen
from .bowel import colon, loops, stomach
from .canvas import Canvas
from .outlines import blob, grown, stretch, tube
from .skeleton import ribs, vertebra
from .trunk import Trunk, back_muscles, fat_texture, paint_trunk
from .vessels import scattered, tree

__all__ = ["abdomen"]


def abdomen(grid: ImageGrid, rng: np.random.Generator) -> NDArray[np.float32]:
    """Random abdominal slice [HU], float32 ``(rows, cols)``."""
    canvas = Canvas(grid, rng)
    level = rng.uniform(0.0, 1.0)
    half_width = rng.uniform(142.0, 184.0)
    fat = np.interp(half_width, [142.0, 184.0], [7.0, 25.0]) * rng.uniform(0.6, 1.5)
    marbling = rng.uniform(0.1, 1.0)
    trunk = paint_trunk(
        canvas,
        rng,
        half_width=half_width,
        half_depth=half_width * rng.uniform(0.68, 0.76),
        fat=fat,
        lateral=rng.uniform(11.0, 17.0),
        front=rng.uniform(7.0, 11.0),
        back=rng.uniform(34.0, 42.0),
        marbling=marbling,
        power=rng.uniform(2.4, 2.9),
    )
    phase = contrast_phase(rng)
    _front_wall(canvas, rng, trunk, level)
    room = _cavity(canvas, rng, trunk, level)
    back_muscles(canvas, rng, trunk, marbling=marbling, lumbar=level > 0.3)
    cage = grown(trunk.cavity, rng.uniform(5.0, 7.0))
    if level < 0.75:
        reach = np.interp(level, [0.0, 0.75], [4.2, 1.9])
        count = max(2, round(np.interp(level, [0.0, 0.75], [7, 2])))
        for start in (np.pi / 2 - 0.72, np.pi / 2 + 0.72):
            turn = -1.0 if start < np.pi / 2 else 1.0
            places = start + turn * np.linspace(0.0, reach - 1.3, count)
            places += 0.05 * rng.standard_normal(count)
            ribs(canvas, rng, cage, places, cartilage_above=0.72)
    vertebra(canvas, rng, trunk.spine, width=rng.uniform(40.0, 48.0), lumbar=level > 0.3)
    belly = Belly(canvas, rng, trunk, level, phase, room)
    _great_vessels(belly)
    if level < 0.8:
        liver(belly)
    if level < 0.62:
        spleen(belly)
    if level > 0.28:
        kidneys(belly)
    if level < 0.6:
        _stomach(belly)
    if 0.22 < level < 0.68:
        pancreas(belly)
    _bowel(belly)
    return canvas.image()


def _front_wall(canvas: Canvas, rng: np.random.Generator, trunk: Trunk, level: float) -> None:
    """Fat planes of the wall: between the flank's three muscles and beside the recti."""
    for depth in (0.33, 0.66):
        plane = (1 - depth) * trunk.wall + depth * trunk.cavity
        for first, last in ((-0.75, 0.55), (np.pi - 0.55, np.pi + 0.75)):
            line = stretch(plane, first, last)
            canvas.paint(tube(line, [0.2, 1.3, 1.3, 0.2]), -45.0, opacity=rng.uniform(0.3, 0.9))
    top = stretch(0.5 * (trunk.wall + trunk.cavity), -np.pi / 2 - 0.9, -np.pi / 2 + 0.9)
    for at in (-0.62, 0.0, 0.62):
        k = int((at + 0.9) / 1.8 * (len(top) - 1))
        gap = blob(top[k], (rng.uniform(2.0, 5.0), 6.0), at)
        inside = canvas.mask(trunk.wall)
        canvas.paint(gap, -85.0, within=inside, opacity=rng.uniform(0.5, 1.0))
        seam = tube(top[max(k - 8, 0) : k + 9], 1.6)
        canvas.paint(seam, 45.0)


def _cavity(
    canvas: Canvas, rng: np.random.Generator, trunk: Trunk, level: float
) -> NDArray[np.float32]:
    """Visceral fat, at high levels behind a rim of lung; returns the room for organs."""
    contents = trunk.cavity
    if level < 0.16:
        behind = np.clip((trunk.cavity[:, 1] - trunk.middle) / trunk.half_depth + 0.15, 0.0, 1.0)
        lung = -860.0 + 20.0 * canvas.field(7.0) + 20.0 * canvas.field(2.2)
        canvas.paint(grown(trunk.cavity, -1.5), lung)
        gutter = rng.uniform(22.0, 40.0) * (1.0 - level / 0.16) + 4.0
        contents = grown(trunk.cavity, -(2.0 + gutter * behind**1.5))
        for side in (-1.0, 1.0):
            region = trunk.at(side * 0.6, 0.7)
            dots = scattered(rng, region, (30.0, 22.0), count=30, width=(0.8, 2.6))
            canvas.paint(dots, 0.0, within=canvas.mask(grown(trunk.cavity, -4.0)))
        canvas.paint(grown(contents, 2.2), 45.0)
    canvas.paint(contents, fat_texture(canvas, -104.0))
    x, y = trunk.spine
    column = blob((x, y + 20.0), (27.0, 38.0))
    canvas.occupy([column])
    room = canvas.mask(contents) * (1.0 - canvas.mask(blob((x, y + 4.0), (27.0, 22.0))))
    strands = []
    for _ in range(70):
        u, v = rng.uniform(-0.8, 0.8), rng.uniform(-0.8, 0.45)
        place = trunk.at(u, v)
        strands += tree(
            rng, place, np.arctan2(v - 0.3, u) + 0.4 * rng.standard_normal(),
            length=rng.uniform(5.0, 16.0), width=rng.uniform(0.8, 2.4), generations=1, spread=0.9,
        )  # fmt: skip
    canvas.paint(strands, 15.0, within=room, opacity=0.7)
    return room


def _great_vessels(belly: Belly) -> None:
    canvas, rng, phase, (x, y) = belly.canvas, belly.rng, belly.phase, belly.trunk.spine
    front = y - 17.0
    radius = rng.uniform(8.5, 12.0)
    place = (x + rng.uniform(6.0, 13.0), front - radius - 1.5)
    aorta = blob(place, (radius, radius), rng=rng, rough=0.03)
    place = (x - rng.uniform(17.0, 22.0), front - rng.uniform(6.0, 10.0))
    axes = (rng.uniform(10.0, 14.0), rng.uniform(7.0, 10.0))
    cava = blob(place, axes, rng.uniform(-0.4, 0.4), rng=rng, rough=0.05)
    for vessel, blood in ((aorta, phase.blood), (cava, phase.vein)):
        canvas.paint(grown(vessel, 2.5), -98.0)
        canvas.paint(grown(vessel, 0.8), 45.0)
        canvas.paint(vessel, blood, organ=True)
    if rng.random() < 0.4:
        k = rng.integers(len(aorta), size=3)
        canvas.paint([tube(np.roll(aorta, -i, axis=0)[:5], 1.8) for i in k], 520.0)
    dot = (aorta[:, 0].mean() + rng.uniform(-3.0, 3.0), aorta[:, 1].min() - rng.uniform(8.0, 13.0))
    canvas.paint(blob(dot, (4.0, 3.6)), phase.blood, organ=True)
    canvas.paint(blob((dot[0] - 14.0, dot[1] - 1.0), (6.0, 5.0)), phase.vein, organ=True)


def _stomach(belly: Belly) -> None:
    _, rng, trunk, level, *_ = belly
    scale = rng.uniform(0.75, 1.15)
    centre = trunk.at(rng.uniform(0.36, 0.52), rng.uniform(-0.5, -0.3) - 0.25 * level)
    axes = (scale * 0.36 * trunk.half_width, scale * (0.34 - 0.15 * level) * trunk.half_depth)
    outline = blob(centre, axes, rng.uniform(0.0, 0.6), rng=rng, rough=0.12, lobes=6)
    stomach(belly, outline)


def _bowel(belly: Belly) -> None:
    _, rng, trunk, level, *_ = belly
    if level > 0.3:
        if level > 0.55:
            right = trunk.at(-0.76, rng.uniform(-0.1, 0.2))
            colon(belly, right, rng.uniform(20.0, 30.0))
        left = trunk.at(0.82, rng.uniform(0.0, 0.25))
        colon(belly, left, rng.uniform(12.0, 20.0))
    if level > 0.2:
        for u in rng.uniform(-0.55, 0.65, rng.integers(2, 6)):
            height = -0.82 + 0.25 * u * u + rng.uniform(-0.04, 0.04)
            colon(belly, trunk.at(u, height), rng.uniform(13.0, 22.0))
    if level < 0.35:
        colon(belly, trunk.at(0.72, -0.35), rng.uniform(13.0, 20.0))
    tries = int(np.interp(level, [0.1, 1.0], [12, 170]))
    low = np.interp(level, [0.0, 0.6], [0.3, 0.0])
    reach = (0.78 * trunk.half_width, 0.5 * trunk.half_depth)
    loops(belly, trunk.at(low, -0.22), reach, tries=tries, oral=bool(rng.random() < 0.2))

"""Random axial slices of the thorax, from the aortic arch to the dome of the liver."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..geometry import ImageGrid
from .canvas import Canvas
from .outlines import Outline, arc, blob, grown, spline, stretch, tube
from .skeleton import bone, ribs, scapula, sternum, vertebra
from .trunk import Trunk, back_muscles, fat_texture, paint_trunk
from .vessels import scattered, tree

__all__ = ["thorax"]

# Outlines of the mediastinum: x [mm] and depth, 0 behind the sternum, 1 at the vertebra's front.
_ARCH = np.array([
    (6, -0.03), (24, 0.1), (36, 0.36), (41, 0.62), (34, 0.9), (28, 1.12), (16, 1.35), (-14, 1.3), (-22, 1.05),
    (-28, 0.8), (-33, 0.5), (-30, 0.2), (-10, -0.02),
])  # fmt: skip
_HILA = np.array([
    (12, -0.03), (34, 0.1), (50, 0.34), (52, 0.52), (40, 0.72), (36, 0.95), (33, 1.15), (16, 1.4), (-16, 1.35),
    (-22, 1.05), (-36, 0.8), (-46, 0.58), (-42, 0.3), (-30, 0.1), (-12, -0.02),
])  # fmt: skip
_COLUMN = np.array([
    (34, 0.7), (40, 0.85), (36, 1.0), (34, 1.15), (16, 1.4), (-16, 1.35), (-20, 1.05), (-24, 0.85), (-22, 0.7),
])  # fmt: skip
_PERICARDIUM = np.array([
    (-44, 0.4), (-30, 0.2), (0, 0.1), (40, 0.09), (78, 0.24), (93, 0.45), (78, 0.62), (44, 0.75), (8, 0.82),
    (-28, 0.76), (-46, 0.58),
])  # fmt: skip


class _Chest:
    """Places inside one chest: (x [mm], depth) to mm, contrast, and what the steps share."""

    def __init__(self, canvas: Canvas, rng: np.random.Generator, trunk: Trunk) -> None:
        self.canvas, self.rng, self.trunk = canvas, rng, trunk
        self.scale = trunk.half_width / 132.0
        self.front = trunk.middle - trunk.half_depth
        self.back = trunk.spine[1] - 14.0
        self.contrast = bool(rng.random() < 0.5)
        self.blood = rng.uniform(150.0, 240.0) if self.contrast else rng.uniform(36.0, 46.0)
        self.wall = rng.uniform(85.0, 110.0) if self.contrast else self.blood + 9.0

    def at(self, points: Sequence[float] | Outline) -> Outline:
        """Positions [mm] of places given as (x, depth)."""
        return np.asarray(points, dtype=np.float64) * [self.scale, self.back - self.front] + [
            0.0,
            self.front,
        ]

    def vessel(self, outline: Outline, value: float | None = None) -> None:
        """Paint a vessel with its wall and a rim of fat."""
        self.canvas.paint(grown(outline, 2.2), -90.0, opacity=0.8)
        self.canvas.paint(grown(outline, 0.9), 45.0)
        blood = self.blood if value is None else value
        self.canvas.paint(outline, blood + 2.0 * self.canvas.field(7.0))

    def airway(self, outlines: list[Outline], wall: float) -> None:
        """Paint air-filled tubes that join, with their wall [mm]."""
        self.canvas.paint([grown(o, wall) for o in outlines], 40.0)
        self.canvas.paint(outlines, -985.0)


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
        canvas, rng, half_width=half_width, half_depth=half_width * rng.uniform(0.66, 0.74), fat=fat,
        lateral=lateral, front=rng.uniform(13.0, 18.0) + 6.0 * high,
        back=rng.uniform(27.0, 33.0), marbling=marbling, power=rng.uniform(2.3, 2.7), spine_depth=68.0, back_width=58.0,
    )  # fmt: skip
    chest = _Chest(canvas, rng, trunk)
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
    lungs = grown(trunk.cavity, -1.2)
    shape, name = _mediastinum(chest, level)
    air = canvas.mask(lungs) * (1.0 - canvas.mask(*shape))
    _lungs(chest, lungs, air, name)
    if level > 0.86:
        _liver_dome(chest, air)
    canvas.paint([grown(o, 1.0) for o in shape], 35.0, within=canvas.mask(trunk.cavity))
    canvas.paint(shape, fat_texture(canvas, -98.0), within=canvas.mask(trunk.cavity))
    if name == "heart":
        _heart(chest, shape[0])
    elif name == "hila":
        _pulmonary_arteries(chest)
    else:
        _arch(chest, level)
    _behind_the_heart(chest, name)
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


def _breasts(chest: _Chest) -> None:
    canvas, rng, trunk = chest.canvas, chest.rng, chest.trunk
    top = trunk.body[:, 1].min()
    outside = 1.0 - canvas.mask(trunk.wall)
    axes = (rng.uniform(42.0, 60.0), rng.uniform(20.0, 34.0))
    lateral = rng.uniform(72.0, 86.0)
    for side in (-1.0, 1.0):
        breast = blob(
            (side * lateral, top + 26.0), axes, side * 0.35, rng=rng, rough=0.05, power=2.2
        )
        canvas.paint(breast, 20.0, within=outside)
        canvas.paint(grown(breast, -2.0), fat_texture(canvas), within=outside)
        canvas.paint(
            grown(trunk.body, -2.0),
            fat_texture(canvas),
            within=outside * canvas.mask(grown(breast, 4.0)),
        )
        gland = np.clip(canvas.field(7.0) + 0.5 * canvas.field(3.0), -1.0, 1.2) * 70.0 - 40.0
        core = grown(breast, -rng.uniform(8.0, 13.0))
        canvas.paint(core, gland, within=outside, opacity=0.85)


def _chest_wall(chest: _Chest, cage: Outline, high: float) -> None:
    """Fat planes between the layers of muscle: pectorals, serratus, latissimus."""
    canvas, rng, trunk = chest.canvas, chest.rng, chest.trunk
    inside = canvas.mask(trunk.wall)
    plane = grown(cage, 6.0)
    for first, last in (
        (-1.3, -0.5),
        (-0.4, 0.9),
        (np.pi - 0.9, np.pi + 0.4),
        (np.pi + 0.5, np.pi + 1.3),
    ):
        line = stretch(plane, first, last)
        canvas.paint(tube(line, [0.5, 2.6 + 2.0 * rng.random(), 2.2, 0.5]), -85.0, within=inside)
        if high > 0.2:
            line = stretch(grown(cage, 15.0), first + 0.1, last - 0.1)
            canvas.paint(tube(line, [0.3, 2.2, 0.3]), -80.0, within=inside, opacity=high)
    armpit = [blob((side * (trunk.half_width + 12.0), trunk.middle - 18.0), (9.0, 26.0), rng=rng, rough=0.2)
              for side in (-1.0, 1.0)]  # fmt: skip
    if high > 0.3:
        canvas.paint(armpit, fat_texture(canvas), within=inside)
        nodes = [
            o
            for side in (-1.0, 1.0)
            for o in scattered(
                rng,
                (side * (trunk.half_width + 12.0), trunk.middle - 18.0),
                (6.0, 20.0),
                count=7,
                width=(2.0, 6.0),
            )
        ]
        canvas.paint(nodes, 45.0, within=inside)
    intercostal = grown(cage, -3.0)
    line = stretch(intercostal, -1.2, np.pi + 1.2)
    canvas.paint(tube(line, 1.0), -70.0, opacity=0.5)


def _mediastinum(chest: _Chest, level: float) -> tuple[list[Outline], str]:
    """Outlines of the mediastinum, the pericardium first, and the name of the level."""
    rng = chest.rng
    jitter = lambda points: points + rng.standard_normal(points.shape) * [1.5, 0.012]
    if level < 0.28:
        return [spline(chest.at(jitter(_ARCH)))], "arch"
    if level < 0.52:
        part = np.clip((level - 0.28) / 0.5, 0.0, 1.0)
        return [spline(chest.at(jitter(_HILA * [1.0 + 0.08 * part, 1.0])))], "hila"
    size = rng.uniform(0.86, 1.04)
    middle = np.array([12.0, 0.45])
    sac = spline(chest.at(middle + size * (jitter(_PERICARDIUM) - middle)))
    return [grown(sac, 2.5), spline(chest.at(jitter(_COLUMN))), *_fat_pads(chest)], "heart"


def _fat_pads(chest: _Chest) -> list[Outline]:
    """Fat in front of the heart: behind the sternum and in the angles beside it."""
    rng = chest.rng
    pads = [blob(chest.at((8.0, 0.06)), (34.0, 15.0), rng=rng, rough=0.1)]
    for x, depth in ((-32.0, 0.2), (68.0, 0.13)):
        axes = (rng.uniform(12.0, 26.0), rng.uniform(8.0, 16.0))
        pads.append(blob(chest.at((x, depth)), axes, np.sign(x) * 0.6, rng=rng, rough=0.15))
    return pads


def _lungs(chest: _Chest, lungs: Outline, air: NDArray[np.float32], name: str) -> None:
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
    canvas.paint(lungs, np.clip(parenchyma, -985.0, -600.0), within=air)
    if rng.random() < 0.35:
        hazy = np.clip(canvas.field(24.0) + 0.3 * canvas.field(7.0) - 1.0, 0.0, 1.0) * 260.0
        canvas.paint(lungs, parenchyma + hazy, within=air * (hazy > 0.0))
    for side in (-1.0, 1.0):
        _lung_vessels(chest, side, air, name)
        bow = rng.uniform(-0.1, 0.1)
        fissure = [
            trunk.at(side * u, 0.1 + bow + v)
            for u, v in ((0.3, 0.0), (0.55, 0.12), (0.8, 0.1), (0.98, 0.2))
        ]
        canvas.paint(tube(arc(fissure), 0.8), -600.0, within=air, opacity=0.5)
    for _ in range(rng.poisson(0.8)):
        place = trunk.at(rng.choice([-1.0, 1.0]) * rng.uniform(0.45, 0.85), rng.uniform(-0.6, 0.7))
        size = rng.uniform(1.8, 9.0)
        nodule = blob(place, (size, size * rng.uniform(0.75, 1.0)), rng=rng, rough=0.15, lobes=9)
        canvas.paint(grown(nodule, 0.8), -350.0, within=air, opacity=0.6)
        canvas.paint(nodule, rng.uniform(10.0, 60.0), within=air)


def _lung_vessels(chest: _Chest, side: float, air: NDArray[np.float32], name: str) -> None:
    canvas, rng, trunk = chest.canvas, chest.rng, chest.trunk
    hilum = chest.at((side * (38.0 if side < 0 or name != "heart" else 50.0), 0.68))
    outward = 0.0 if side > 0 else np.pi
    thick = {"arch": 4.0, "hila": 8.0, "heart": 6.5}[name]
    vessels: list[Outline] = []
    for turn in np.linspace(-1.4, 1.4, 5) + 0.2 * rng.standard_normal(5):
        vessels += tree(
            rng, hilum + 6.0 * rng.standard_normal(2), outward + turn, length=rng.uniform(16.0, 30.0),
            width=thick * rng.uniform(0.5, 1.0), generations=6, spread=0.7, thinnest=0.7, visible=0.72,
        )  # fmt: skip
    centre = trunk.at(side * 0.58, 0.05)
    reach = (0.45 * trunk.half_width, 0.95 * trunk.half_depth)
    for count, width, opacity in (
        (420, (0.4, 1.2), 0.5),
        (150, (0.7, 2.4), 0.75),
        (60, (0.9, 4.5), 1.0),
    ):
        dots = scattered(rng, centre, reach, count=count, width=width, root=hilum)
        canvas.paint(dots, 0.8 * chest.blood, within=air, opacity=opacity)
    canvas.paint(vessels, 0.8 * chest.blood, within=air)
    bronchi = [
        blob(hilum + [side * out, y], (0.5 * d * rng.uniform(1.0, 2.2), 0.5 * d), rng.uniform(0, 3))
        for out, y, d in zip(
            rng.uniform(2.0, 40.0, 6), 22.0 * rng.standard_normal(6), rng.uniform(1.8, 5.0, 6)
        )
    ]
    canvas.paint([grown(o, rng.uniform(0.8, 1.3)) for o in bronchi], 0.0, within=air)
    canvas.paint(bronchi, -960.0, within=air)


def _heart(chest: _Chest, outside: Outline) -> None:
    canvas, rng = chest.canvas, chest.rng
    sac = grown(outside, -2.5)
    canvas.paint(grown(sac, 0.6), 30.0)
    canvas.paint(sac, fat_texture(canvas, -92.0))
    muscle = grown(sac, -rng.uniform(2.5, 5.0))
    canvas.paint(muscle, chest.wall + 3.0 * canvas.field(7.0))
    inside = canvas.mask(grown(muscle, -2.0))
    right = chest.blood * (rng.uniform(0.8, 1.4) if chest.contrast else 1.0)
    s = chest.scale
    chambers = (
        ((54.0, 0.47), (27.0, 15.0), -0.45, chest.blood),
        ((20.0, 0.27), (36.0, 13.0), -0.12, right),
        ((-27.0, 0.46), (17.0, 23.0), 0.15, right),
        ((6.0, 0.69), (31.0, 12.0), 0.1, chest.blood),
    )
    for place, (a, b), angle, blood in chambers:
        chamber = blob(chest.at(place), (a * s, b * s), angle, rng=rng, rough=0.12, lobes=5)
        canvas.paint(chamber, blood + 3.0 * canvas.field(7.0), within=inside)
    for place, lean in (((-14.0, 0.26), 0.5), ((40.0, 0.69), -0.4), ((46.0, 0.2), 0.2)):
        groove = blob(
            chest.at(place),
            (rng.uniform(4.0, 9.0), rng.uniform(2.0, 4.0)),
            lean,
            rng=rng,
            rough=0.3,
        )
        canvas.paint(groove, -85.0, within=canvas.mask(sac), opacity=0.9)
        artery = scattered(rng, chest.at(place), (4.0, 2.0), count=1, width=(2.0, 3.5))
        canvas.paint(artery, chest.blood)
    if rng.random() < 0.3:
        plaque = chest.at((37.0 + rng.uniform(-4, 4), 0.2))
        canvas.paint(blob(plaque, (2.2, 1.1), rng.uniform(0, 3)), 480.0)


def _pulmonary_arteries(chest: _Chest) -> None:
    canvas, rng, s = chest.canvas, chest.rng, chest.scale
    lung_blood = chest.blood * (rng.uniform(0.9, 1.4) if chest.contrast else 1.0)
    trunk_at, bend = chest.at((24.0, 0.33)), chest.at((20.0, 0.52))
    right = arc(np.stack([trunk_at, bend, chest.at((-8.0, 0.6)), chest.at((-46.0, 0.62))]))
    left = arc(np.stack([trunk_at, chest.at((34.0, 0.52)), chest.at((50.0, 0.66))]))
    for outline in (tube(right, [26.0 * s, 22.0 * s, 18.0 * s]), tube(left, [24.0 * s, 17.0 * s])):
        chest.vessel(outline, lung_blood)
    chest.vessel(blob(trunk_at, (14.0 * s, 13.0 * s), rng=rng, rough=0.05), lung_blood)
    canvas.paint(tube(right, [24.0 * s, 20.0 * s, 16.0 * s]), lung_blood)
    chest.vessel(blob(chest.at((-10.0, 0.37)), (rng.uniform(14.5, 18.0),) * 2, rng=rng, rough=0.03))
    chest.vessel(blob(chest.at((-33.0, 0.42)), (9.5, 8.0), 0.4, rng=rng, rough=0.05), lung_blood)
    airways = []
    for side in (-1.0, 1.0):
        path = [(side * 9.0, 0.78), (side * 28.0, 0.76), (side * 46.0, 0.8)]
        airways.append(tube(arc([chest.at(p) for p in path]), [12.0, 10.0, 8.0]))
    if rng.random() < 0.5:
        airways.append(blob(chest.at((0.0, 0.78)), (13.0, 7.5)))
    chest.airway(airways, 1.4)
    nodes = scattered(rng, chest.at((0.0, 0.7)), (28.0, 12.0), count=6, width=(3.0, 8.0))
    canvas.paint(nodes, 45.0, within=(canvas.hu < -60.0) * (canvas.hu > -200.0))


def _arch(chest: _Chest, level: float) -> None:
    canvas, rng = chest.canvas, chest.rng
    if level > 0.12:
        path = np.stack(
            [chest.at(p) for p in ((-8.0, 0.36), (10.0, 0.45), (24.0, 0.66), (26.0, 0.88))]
        )
        chest.vessel(tube(arc(path), [26.0, 28.0, 26.0, 23.0]))
    else:
        for place, radius in (((-12.0, 0.42), 7.0), ((7.0, 0.46), 4.5), ((22.0, 0.62), 5.5)):
            chest.vessel(
                blob(chest.at(place), (radius, radius * rng.uniform(0.9, 1.1)), rng=rng, rough=0.04)
            )
        vein = np.stack([chest.at(p) for p in ((30.0, 0.22), (8.0, 0.24), (-18.0, 0.34))])
        chest.vessel(tube(arc(vein), [7.0, 8.0, 9.0]))
    chest.vessel(blob(chest.at((-24.0, 0.44)), (8.5, 7.0), 0.5, rng=rng, rough=0.05))
    radius = rng.uniform(8.0, 10.0)
    chest.airway([blob(chest.at((-3.0, 0.75)), (radius, radius * 0.92), rng=rng, rough=0.05)], 1.6)
    thymus = blob(chest.at((0.0, 0.16)), (16.0, 8.0), rng=rng, rough=0.2)
    canvas.paint(thymus, -20.0 + 20.0 * canvas.field(3.0), opacity=0.6 * rng.random())
    nodes = scattered(rng, chest.at((0.0, 0.6)), (26.0, 25.0), count=8, width=(2.5, 6.0))
    canvas.paint(nodes, 45.0, within=(canvas.hu < -60.0) * (canvas.hu > -200.0))


def _behind_the_heart(chest: _Chest, name: str) -> None:
    canvas, rng, (x, y) = chest.canvas, chest.rng, chest.trunk.spine
    gullet = blob(
        (x + rng.uniform(0.0, 8.0), y - rng.uniform(25.0, 29.0)),
        (8.5, 5.5),
        0.3,
        rng=rng,
        rough=0.1,
    )
    if name == "heart" or name == "hila":
        radius = rng.uniform(10.5, 13.5)
        chest.vessel(
            blob(
                (x + rng.uniform(19.0, 24.0), y - rng.uniform(10.0, 15.0)),
                (radius,) * 2,
                rng=rng,
                rough=0.03,
            )
        )
    canvas.paint(gullet, 42.0)
    if rng.random() < 0.5:
        canvas.paint(blob(gullet.mean(axis=0), (3.0, 1.6), 0.3), -700.0)
    chest.vessel(blob((x - 7.0, y - 20.0), (3.5, 3.2)))


def _liver_dome(chest: _Chest, air: NDArray[np.float32]) -> None:
    canvas, rng, trunk = chest.canvas, chest.rng, chest.trunk
    size = rng.uniform(0.55, 0.95)
    dome = blob(
        trunk.at(-0.55, -0.05), (size * 0.42 * trunk.half_width, size * 0.62 * trunk.half_depth),
        rng=rng, rough=0.05,
    )  # fmt: skip
    canvas.paint(grown(dome, 1.5), 45.0, within=air)
    liver = (108.0 if chest.contrast else 60.0) + 2.0 * canvas.field(3.0)
    canvas.paint(dome, liver, within=air)
    veins = scattered(rng, trunk.at(-0.55, -0.05), (25.0, 30.0), count=12, width=(2.0, 6.0))
    canvas.paint(veins, chest.blood * 0.9, within=air * canvas.mask(grown(dome, -4.0)))


def _heads_of_ribs(chest: _Chest) -> None:
    """Ribs that reach the vertebra in this slice."""
    rng, (x, y) = chest.rng, chest.trunk.spine
    for side in (-1.0, 1.0):
        if rng.random() < 0.6:
            path = arc(
                [
                    (x + side * 18.0, y + 9.0),
                    (x + side * 30.0, y + 17.0),
                    (x + side * 44.0, y + 21.0),
                ]
            )
            bone(chest.canvas, tube(path, [9.0, 6.5, 7.0]), shell=1.3, cortex=650.0, marrow=240.0)

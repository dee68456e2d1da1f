"""The mediastinum at three levels: aortic arch, pulmonary arteries, heart."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .canvas import Canvas
from .chest import Chest
from .outlines import Outline, arc, blob, grown, spline, tube
from .trunk import fat_texture
from .vessels import scattered

__all__ = ["arch", "behind_the_heart", "heart", "mediastinum", "pulmonary_arteries"]

# Outlines: x [mm] and depth, 0 behind the sternum, 1 at the vertebra's front.
_ARCH = np.array([
    (6, -0.03), (24, 0.1), (36, 0.36), (41, 0.62), (34, 0.9), (28, 1.12), (16, 1.35),
    (-14, 1.3), (-22, 1.05), (-28, 0.8), (-33, 0.5), (-30, 0.2), (-10, -0.02),
])  # fmt: skip
_HILA = np.array([
    (12, -0.03), (34, 0.1), (50, 0.34), (52, 0.52), (40, 0.72), (36, 0.95), (33, 1.15),
    (16, 1.4), (-16, 1.35), (-22, 1.05), (-36, 0.8), (-46, 0.58), (-42, 0.3), (-30, 0.1),
    (-12, -0.02),
])  # fmt: skip
_COLUMN = np.array([
    (34, 0.7), (40, 0.85), (36, 1.0), (34, 1.15), (16, 1.4), (-16, 1.35), (-20, 1.05),
    (-24, 0.85), (-22, 0.7),
])  # fmt: skip
_PERICARDIUM = np.array([
    (-44, 0.4), (-30, 0.2), (0, 0.1), (40, 0.09), (78, 0.24), (93, 0.45), (78, 0.62),
    (44, 0.75), (8, 0.82), (-28, 0.76), (-46, 0.58),
])  # fmt: skip


def mediastinum(chest: Chest, level: float) -> tuple[list[Outline], str]:
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


def _fat_pads(chest: Chest) -> list[Outline]:
    """Fat in front of the heart: behind the sternum and in the angles beside it."""
    rng = chest.rng
    pads = [blob(chest.at((8.0, 0.06)), (34.0, 15.0), rng=rng, rough=0.1)]
    for x, depth in ((-32.0, 0.2), (68.0, 0.13)):
        axes = (rng.uniform(12.0, 26.0), rng.uniform(8.0, 16.0))
        pads.append(blob(chest.at((x, depth)), axes, np.sign(x) * 0.6, rng=rng, rough=0.15))
    return pads


def heart(chest: Chest, outside: Outline) -> None:
    """Paint pericardium, myocardium, four chambers, grooves with coronary arteries."""
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
        axes = (rng.uniform(4.0, 9.0), rng.uniform(2.0, 4.0))
        groove = blob(chest.at(place), axes, lean, rng=rng, rough=0.3)
        canvas.paint(groove, -85.0, within=canvas.mask(sac), opacity=0.9)
        artery = scattered(rng, chest.at(place), (4.0, 2.0), count=1, width=(2.0, 3.5))
        canvas.paint(artery, chest.blood)
    if rng.random() < 0.3:
        plaque = chest.at((37.0 + rng.uniform(-4, 4), 0.2))
        canvas.paint(blob(plaque, (2.2, 1.1), rng.uniform(0, 3)), 480.0)


def pulmonary_arteries(chest: Chest) -> None:
    """Paint the pulmonary bifurcation, ascending aorta, cava and main bronchi."""
    canvas, rng, s = chest.canvas, chest.rng, chest.scale
    lung_blood = chest.blood * (rng.uniform(0.9, 1.4) if chest.contrast else 1.0)
    trunk_at = chest.at((24.0, 0.33))
    right = arc(chest.at([(24.0, 0.33), (20.0, 0.52), (-8.0, 0.6), (-46.0, 0.62)]))
    left = arc(chest.at([(24.0, 0.33), (34.0, 0.52), (50.0, 0.66)]))
    for outline in (tube(right, [26.0 * s, 22.0 * s, 18.0 * s]), tube(left, [24.0 * s, 17.0 * s])):
        chest.vessel(outline, lung_blood)
    chest.vessel(blob(trunk_at, (14.0 * s, 13.0 * s), rng=rng, rough=0.05), lung_blood)
    canvas.paint(tube(right, [24.0 * s, 20.0 * s, 16.0 * s]), lung_blood)
    chest.vessel(blob(chest.at((-10.0, 0.37)), (rng.uniform(14.5, 18.0),) * 2, rng=rng, rough=0.03))
    chest.vessel(blob(chest.at((-33.0, 0.42)), (9.5, 8.0), 0.4, rng=rng, rough=0.05), lung_blood)
    airways = []
    for side in (-1.0, 1.0):
        path = [(side * 9.0, 0.78), (side * 28.0, 0.76), (side * 46.0, 0.8)]
        airways.append(tube(arc(chest.at(path)), [12.0, 10.0, 8.0]))
    if rng.random() < 0.5:
        airways.append(blob(chest.at((0.0, 0.78)), (13.0, 7.5)))
    chest.airway(airways, 1.4)
    nodes = scattered(rng, chest.at((0.0, 0.7)), (28.0, 12.0), count=6, width=(3.0, 8.0))
    canvas.paint(nodes, 45.0, within=_fat(canvas))


def _fat(canvas: Canvas) -> NDArray[np.float32]:
    """Mask of what is fat so far: lymph nodes lie in it."""
    below, above = (-50.0 - canvas.hu) / 20.0, (canvas.hu + 180.0) / 20.0
    return np.clip(below, 0.0, 1.0) * np.clip(above, 0.0, 1.0)


def arch(chest: Chest, level: float) -> None:
    """Paint the aortic arch, or the vessels that rise from it, with trachea and nodes."""
    canvas, rng = chest.canvas, chest.rng
    if level > 0.12:
        path = chest.at([(-8.0, 0.36), (10.0, 0.45), (24.0, 0.66), (26.0, 0.88)])
        chest.vessel(tube(arc(path), [26.0, 28.0, 26.0, 23.0]))
    else:
        for place, radius in (((-12.0, 0.42), 7.0), ((7.0, 0.46), 4.5), ((22.0, 0.62), 5.5)):
            axes = (radius, radius * rng.uniform(0.9, 1.1))
            chest.vessel(blob(chest.at(place), axes, rng=rng, rough=0.04))
        vein = chest.at([(30.0, 0.22), (8.0, 0.24), (-18.0, 0.34)])
        chest.vessel(tube(arc(vein), [7.0, 8.0, 9.0]))
    chest.vessel(blob(chest.at((-24.0, 0.44)), (8.5, 7.0), 0.5, rng=rng, rough=0.05))
    radius = rng.uniform(8.0, 10.0)
    chest.airway([blob(chest.at((-3.0, 0.75)), (radius, radius * 0.92), rng=rng, rough=0.05)], 1.6)
    thymus = blob(chest.at((0.0, 0.16)), (16.0, 8.0), rng=rng, rough=0.2)
    canvas.paint(thymus, -20.0 + 20.0 * canvas.field(3.0), opacity=0.6 * rng.random())
    nodes = scattered(rng, chest.at((0.0, 0.6)), (26.0, 25.0), count=8, width=(2.5, 6.0))
    canvas.paint(nodes, 45.0, within=_fat(canvas))


def behind_the_heart(chest: Chest, name: str) -> None:
    """Paint descending aorta, oesophagus and azygos vein."""
    canvas, rng, (x, y) = chest.canvas, chest.rng, chest.trunk.spine
    place = (x + rng.uniform(0.0, 8.0), y - rng.uniform(25.0, 29.0))
    gullet = blob(place, (8.5, 5.5), 0.3, rng=rng, rough=0.1)
    if name in ("heart", "hila"):
        radius = rng.uniform(10.5, 13.5)
        place = (x + rng.uniform(19.0, 24.0), y - rng.uniform(10.0, 15.0))
        chest.vessel(blob(place, (radius, radius), rng=rng, rough=0.03))
    canvas.paint(gullet, 42.0)
    if rng.random() < 0.5:
        canvas.paint(blob(gullet.mean(axis=0), (3.0, 1.6), 0.3), -700.0)
    chest.vessel(blob((x - 7.0, y - 20.0), (3.5, 3.2)))

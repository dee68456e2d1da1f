"""The solid organs of the abdomen in one contrast phase: liver, spleen, kidneys, pancreas."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .canvas import Canvas
from .outlines import Outline, arc, blob, grown, lobulated, spline, tube
from .trunk import Trunk
from .vessels import scattered, tree

__all__ = ["Belly", "Phase", "contrast_phase", "kidneys", "liver", "pancreas", "spleen"]

# Outlines in units of the cavity's half size; +x patient left, +y posterior.
_LIVER_HIGH = np.array([
    (-0.98, 0.0), (-0.9, -0.5), (-0.6, -0.88), (-0.2, -0.97), (0.2, -0.9), (0.5, -0.72),
    (0.42, -0.5), (0.15, -0.38), (-0.02, -0.18), (-0.12, 0.05), (-0.2, 0.25), (-0.38, 0.62),
    (-0.68, 0.76), (-0.92, 0.42),
])  # fmt: skip
_LIVER_LOW = np.array([
    (-0.98, 0.05), (-0.93, -0.4), (-0.8, -0.66), (-0.62, -0.72), (-0.5, -0.62), (-0.44, -0.45),
    (-0.45, -0.3), (-0.48, -0.18), (-0.52, -0.05), (-0.56, 0.08), (-0.62, 0.22), (-0.72, 0.42),
    (-0.84, 0.5), (-0.94, 0.3),
])  # fmt: skip
_SPLEEN = np.array([
    (0.95, -0.12), (1.0, 0.2), (0.9, 0.55), (0.68, 0.82), (0.5, 0.86), (0.47, 0.72),
    (0.63, 0.5), (0.73, 0.2), (0.8, -0.08),
])  # fmt: skip


@dataclass(frozen=True)
class Phase:
    """CT numbers [HU] of one contrast phase."""

    blood: float
    vein: float
    liver: float
    spleen: float
    cortex: float
    medulla: float
    pancreas: float
    wall: float


class Belly(NamedTuple):
    """One abdomen in the making: what its organs are painted on, and where."""

    canvas: Canvas
    rng: np.random.Generator
    trunk: Trunk
    level: float  # 0 at the dome of the liver, 1 below the kidneys
    phase: Phase
    room: NDArray[np.float32]  # mask of the cavity without the spine


def contrast_phase(rng: np.random.Generator) -> Phase:
    """Draw CT numbers without contrast, or in the portal venous phase."""
    u = rng.uniform(-1.0, 1.0, 8)
    if rng.random() < 0.45:
        return Phase(42 + 4 * u[0], 42 + 4 * u[0], 60 + 5 * u[2], 48 + 3 * u[3], 34 + 2 * u[4],
                      31 + 2 * u[5], 40 + 4 * u[6], 42 + 4 * u[7])  # fmt: skip
    return Phase(165 + 25 * u[0], 160 + 20 * u[1], 108 + 10 * u[2], 122 + 10 * u[3],
                  185 + 20 * u[4], 150 + 25 * u[5], 95 + 10 * u[6], 78 + 10 * u[7])  # fmt: skip


def _jittered(rng: np.random.Generator, points: Outline, size: float) -> Outline:
    return points + size * rng.standard_normal(points.shape)


def _in_body(trunk: Trunk, points: Outline) -> Outline:
    return points * [trunk.half_width, trunk.half_depth] + [0.0, trunk.middle]


def _parenchyma(canvas: Canvas, level: float) -> NDArray[np.float32]:
    return level + 2.0 * canvas.field(3.0) + 2.0 * canvas.field(16.0)


def liver(belly: Belly) -> None:
    """Paint the liver with fissure, vessels, occasional lesions and the gallbladder."""
    canvas, rng, trunk, level, phase, room = belly
    low = np.clip((level - 0.1) / 0.65, 0.0, 1.0) ** 1.3
    points = (1.0 - low) * _LIVER_HIGH + low * _LIVER_LOW
    outline = grown(spline(_in_body(trunk, _jittered(rng, points, 0.02))), -1.0)
    canvas.paint(grown(outline, 1.5), -100.0, within=room)
    canvas.paint(outline, _parenchyma(canvas, phase.liver), within=room, organ=True)
    inside = canvas.mask(grown(outline, -3.0)) * room
    contrast = phase.vein - phase.liver
    branches: list[Outline] = []
    hilum = trunk.at(-0.22 - 0.25 * low, -0.12)
    for direction in np.pi + np.array([-1.0, -0.4, 0.15, 0.7]) + 0.2 * rng.standard_normal(4):
        branches += tree(
            rng, hilum, direction, length=rng.uniform(22.0, 40.0),
            width=rng.uniform(5.0, 10.0) * (1 - 0.5 * low), generations=4, spread=0.8, thinnest=1.2,
            visible=0.6,
        )  # fmt: skip
    branches += scattered(
        rng, trunk.at(-0.55, -0.1), trunk.at(0.45, 0.7), count=26, width=(1.5, 5.5)
    )
    canvas.paint(branches, phase.liver + 0.6 * contrast, within=inside)
    if low < 0.5 and rng.random() < 0.8:
        fissure = _in_body(trunk, np.array([(-0.02, -0.95), (-0.03, -0.6), (-0.1, -0.3)]))
        canvas.paint(tube(arc(fissure), [0.5, 2.0, 5.0]), -70.0, within=inside)
    for _ in range(rng.poisson(0.9)):
        place = trunk.at(rng.uniform(-0.85, -0.3), rng.uniform(-0.6, 0.5))
        size = rng.uniform(3.0, 15.0)
        lesion = blob(place, (size, size * rng.uniform(0.8, 1.0)), rng=rng, rough=0.08)
        target = rng.choice([8.0, phase.liver - 25.0, phase.liver + 30.0])
        canvas.paint(grown(lesion, 1.2), target, within=inside, opacity=0.5)
        canvas.paint(lesion, target + 2.0 * canvas.field(3.0), within=inside)
    if 0.25 < level < 0.65 and rng.random() < 0.75:
        place = trunk.at(-0.42 - 0.1 * low, -0.42)
        axes = (rng.uniform(10.0, 17.0), rng.uniform(14.0, 26.0))
        bladder = blob(place, axes, rng.uniform(-0.5, 0.5), rng=rng, rough=0.05)
        canvas.paint(grown(bladder, 1.8), phase.wall, within=room, organ=True)
        canvas.paint(bladder, rng.uniform(4.0, 16.0), within=room)


def spleen(belly: Belly) -> None:
    """Paint the spleen."""
    canvas, rng, trunk, level, phase, room = belly
    size = np.interp(level, [0.0, 0.1, 0.4, 0.62], [0.85, 1.0, 1.0, 0.6]) * rng.uniform(0.85, 1.05)
    anchor = np.array([0.95, 0.35])
    points = anchor + size * (_jittered(rng, _SPLEEN, 0.02) - anchor)
    outline = grown(spline(_in_body(trunk, points)), -1.5)
    canvas.paint(grown(outline, 1.8), -100.0, within=room)
    canvas.paint(outline, _parenchyma(canvas, phase.spleen), within=room, organ=True)


def kidneys(belly: Belly) -> None:
    """Paint kidneys with cortex, pyramids, sinus, pelvis, renal veins and occasional cysts."""
    canvas, rng, trunk, level, phase, room = belly
    x, y = trunk.spine
    for side in (-1.0, 1.0):
        centre_level = 0.66 if side < 0 else 0.58
        size = np.sqrt(max(0.0, 1.0 - ((level - centre_level) / 0.38) ** 2)) * rng.uniform(0.9, 1.1)
        if size < 0.35:
            continue
        turn = side * rng.uniform(0.5, 0.9)
        centre = np.array([x + side * rng.uniform(63.0, 70.0), y + rng.uniform(4.0, 14.0)])
        shape = blob((0.0, 0.0), (size * 26.0, size * 31.0), rng=rng, rough=0.04, power=2.2)
        hilum = blob((-side * size * 24.0, -2.0), (size * 14.0, size * 9.0), rng=rng, rough=0.1)
        pyramids = [
            blob((size * 14.0 * np.cos(a), size * 18.0 * np.sin(a)), (size * 5.5, size * 4.5), a)
            for a in np.arange(0.0, 2 * np.pi, 0.75) + rng.uniform(0.0, 0.7)
        ]
        put = lambda o, c=centre, t=turn: (
            o @ np.array([[np.cos(t), np.sin(t)], [-np.sin(t), np.cos(t)]]) + c
        )
        kidney = put(shape)
        canvas.paint(grown(kidney, 3.0), -106.0, within=room)
        canvas.paint(kidney, phase.cortex + 2.0 * canvas.field(3.0), within=room, organ=True)
        canvas.paint([put(p) for p in pyramids], phase.medulla, within=room, opacity=0.9)
        if size > 0.7:
            axes = (size * 11.0, size * 9.5)
            sinus = [put(blob((-side * size * 5.0, 0.0), axes, rng=rng, rough=0.25))]
            if abs(level - centre_level) < 0.2:
                sinus.append(put(hilum))
            canvas.paint(sinus, -85.0 + 8.0 * canvas.field(3.0), within=room)
            pelvis = arc(np.array([(3.0, 3.0), (14.0, 1.0), (26.0, 4.0)]) * [-side * size, 1.0])
            filling = rng.choice([12.0, phase.vein])
            canvas.paint(put(tube(pelvis, [2.0, 4.0, 3.0])), filling, within=room)
            middle = (-side * size * 4.0, 0.0)
            calices = scattered(rng, middle, (8.0, 7.0), count=5, width=(2.0, 4.0))
            canvas.paint([put(o) for o in calices], 20.0, within=room)
        if abs(level - centre_level) < 0.2:
            root = np.array([x + side * 16.0, y - 26.0])
            end = put(np.array([[-side * size * 16.0, -4.0]]))[0]
            vein = arc([end, 0.5 * (root + end) + [0.0, -4.0], root])
            canvas.paint(tube(vein, [4.0, 5.0, 6.0]), phase.vein, within=room)
        if rng.random() < 0.2:
            edge = kidney[rng.integers(len(kidney))]
            canvas.paint(blob(edge, (rng.uniform(4.0, 12.0),) * 2), 8.0, within=room, organ=True)


def pancreas(belly: Belly) -> None:
    """Paint the pancreas, lobulated, with the splenic vein behind it."""
    canvas, rng, trunk, _, phase, room = belly
    x, y = trunk.spine
    path = np.array([(-34.0, -36.0), (-8.0, -52.0), (20.0, -50.0), (48.0, -38.0), (70.0, -22.0)])
    path = arc(path * rng.uniform(0.9, 1.1) + [x, y] + 3.0 * rng.standard_normal((5, 2)))
    width = np.array([24.0, 15.0, 13.0, 14.0, 12.0]) * rng.uniform(0.8, 1.15)
    gland = tube(path, width)
    lobes = lobulated(gland, rng, 1.6, 9.0)
    canvas.paint(grown(gland, 2.5), -100.0, within=room)
    texture = phase.pancreas + 5.0 * canvas.field(3.0)
    texture -= 30.0 * np.maximum(canvas.field(2.2) - 1.0, 0.0)
    canvas.paint(lobes, texture, within=room, organ=True)
    vein = path[len(path) // 4 :] + np.array([0.0, 8.0])
    canvas.paint(tube(vein, [9.0, 7.0, 6.0]), phase.vein, within=room)

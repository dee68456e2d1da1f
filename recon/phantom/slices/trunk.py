"""What thorax and abdomen share: skin, subcutaneous fat, the muscular wall, the back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .canvas import Canvas
from .outlines import Outline, arc, blob, grown, stretch, tube

__all__ = ["Trunk", "back_muscles", "fat_texture", "muscle_texture", "paint_trunk"]


@dataclass(frozen=True)
class Trunk:
    """Outlines of a trunk and where its spine lies, in mm."""

    body: Outline  # skin
    wall: Outline  # outer face of the muscles
    cavity: Outline  # inner face of the muscles
    spine: tuple[float, float]  # middle of the vertebral body
    half_width: float  # half the size of the cavity
    half_depth: float
    middle: float  # y of the cavity's middle

    def at(self, u: float, v: float) -> tuple[float, float]:
        """Position [mm] of a place given in units of the cavity's half size."""
        return u * self.half_width, self.middle + v * self.half_depth


def fat_texture(canvas: Canvas, level: float = -105.0) -> NDArray[np.float32]:
    """Fat [HU] with faint septa."""
    return level + 5.0 * canvas.field(3.0) + 5.0 * canvas.field(16.0)


def muscle_texture(
    canvas: Canvas, level: float = 55.0, marbling: float = 0.5
) -> NDArray[np.float32]:
    """Muscle [HU] with fatty streaks, the more the older the patient."""
    streaks = np.maximum(canvas.field(2.2) * 0.8 + canvas.field(7.0) - 1.2, 0.0)
    return level + 3.0 * canvas.field(5.0) - 60.0 * marbling * streaks


def paint_trunk(
    canvas: Canvas,
    rng: np.random.Generator,
    *,
    half_width: float,
    half_depth: float,
    fat: float,
    lateral: float,
    front: float,
    back: float,
    marbling: float,
    power: float,
    spine_depth: float = 80.0,
    back_width: float = 80.0,
) -> Trunk:
    """Paint skin, subcutaneous fat and the muscular wall; return their outlines.

    Parameters
    ----------
    half_width, half_depth : float
        Half the size of the body [mm].
    fat : float
        Mean thickness of the subcutaneous fat [mm].
    lateral, front, back : float
        Thickness [mm] of the wall's muscles at the side, in front and beside the spine.
    marbling : float
        Amount of fat in the muscles, 0 to 1.
    power : float
        Exponent of the body's superellipse.
    spine_depth : float
        Distance [mm] from the muscles' back to the middle of the vertebral body.
    back_width : float
        Half width [mm] of the muscles beside the spine.
    """
    body = blob((0.0, 0.0), (half_width, half_depth), rng=rng, rough=0.025, lobes=6, power=power)
    lying = np.clip(body[:, 1] / half_depth, 0.0, 1.0)
    body[:, 1] += 0.13 * half_depth * lying * (1.0 - lying)  # the back is flattened by the table
    u, v = (body / [half_width, half_depth]).T
    behind = np.maximum(v, 0.0)
    groove = 5.0 * np.exp(-((body[:, 0] / 14.0) ** 2)) * (behind > 0.5)
    body[:, 1] -= groove
    count = len(body)
    phi = np.arange(count) * (2 * np.pi / count)
    lumps = 1.0 + 0.18 * np.sin(2 * phi + rng.uniform(0, 6))
    lumps += 0.1 * np.sin(5 * phi + rng.uniform(0, 6))
    where = 0.62 + 0.55 * np.abs(u) * behind
    where += 0.5 * np.maximum(-v, 0.0) ** 2 * rng.uniform(0.5, 1.3)
    thickness = np.maximum(fat * lumps * where - groove, 3.0)
    wall = grown(body, -thickness)
    beside = np.exp(-(np.abs(wall[:, 0] / back_width) ** 3)) * np.clip(2.2 * v - 0.5, 0.0, 1.0)
    before = np.clip(-1.4 * v - 0.1, 0.0, 1.0)
    muscle = lateral + (front - lateral) * before + (back - lateral) * beside
    muscle = muscle * (1.0 + 0.08 * np.sin(4 * phi + rng.uniform(0, 6)))
    cavity = grown(wall, -muscle)
    canvas.paint(body, 15.0 + 10.0 * canvas.field(3.0))
    canvas.paint(grown(body, -rng.uniform(1.6, 2.4)), fat_texture(canvas))
    _septa(canvas, rng, body, thickness)
    canvas.paint(wall, muscle_texture(canvas, 55.0, marbling))
    low, high = cavity.min(axis=0), cavity.max(axis=0)
    spine = (0.0, float(wall[:, 1].max()) - spine_depth * rng.uniform(0.95, 1.05))
    return Trunk(
        body=body,
        wall=wall,
        cavity=cavity,
        spine=spine,
        half_width=float(high[0] - low[0]) / 2,
        half_depth=float(high[1] - low[1]) / 2,
        middle=float(high[1] + low[1]) / 2,
    )


def _septa(
    canvas: Canvas, rng: np.random.Generator, body: Outline, thickness: NDArray[np.float64]
) -> None:
    """Fascia within the subcutaneous fat and a few veins cut across."""
    fascia = grown(body, -thickness * rng.uniform(0.45, 0.6))
    for _ in range(5):
        start = rng.uniform(-np.pi, np.pi)
        line = stretch(fascia, start, start + rng.uniform(0.3, 0.9))
        canvas.paint(tube(line, [0.3, 0.9, 0.3]), -40.0, opacity=0.6)
    dots = []
    for _ in range(26):
        k = rng.integers(len(body))
        inward = body[k] * (1.0 - (rng.uniform(0.3, 0.9) * thickness[k]) / np.hypot(*body[k]))
        dots.append(blob(inward, (rng.uniform(0.6, 1.6), rng.uniform(0.6, 1.1)), rng.uniform(0, 3)))
    canvas.paint(dots, 10.0, opacity=0.8)


def back_muscles(
    canvas: Canvas, rng: np.random.Generator, trunk: Trunk, *, marbling: float, lumbar: bool
) -> None:
    """Paint the compartment behind the spine: fat planes, erector spinae, quadratus, psoas."""
    x0, y0 = trunk.spine
    deep = float(trunk.wall[:, 1].max())
    muscle = muscle_texture(canvas, 56.0, marbling)
    wide = 76.0 if lumbar else 60.0
    half = 0.5 * (deep - y0 - 18.0)
    middle = deep - half - 3.0
    inside = canvas.mask(grown(trunk.wall, -2.5))
    for side in (-1.0, 1.0):
        place, axes = (x0 + side * 0.5 * wide, middle + 1.0), (0.56 * wide, half + 3.0)
        bed = blob(place, axes, side * 0.14, power=2.5)
        canvas.paint(bed, fat_texture(canvas, -90.0), within=inside)
    for side in (-1.0, 1.0):
        place = (x0 + side * 0.62 * wide, middle + 0.08 * half)
        axes = (0.36 * wide, 0.94 * half)
        column = blob(place, axes, side * 0.2, rng=rng, rough=0.1, power=2.4)
        canvas.paint(column, muscle, within=inside)
        beside = (x0 + side * 0.24 * wide, middle)
        near = blob(beside, (0.21 * wide, half), side * 0.1, rng=rng, rough=0.12)
        canvas.paint(grown(near, 0.9), -50.0, within=inside, opacity=0.7)
        canvas.paint(near, muscle, within=inside)
        for _ in range(4):
            at = np.array(place) + rng.uniform(-0.6, 0.6, 2) * axes
            lean = np.pi / 2 + 0.5 * rng.standard_normal(2)
            steps = np.stack([np.cos(lean), np.sin(lean)], axis=1) * (0.4 * half)
            cleft = arc(np.stack([at - steps[0], at, at + steps[1]]))
            faint = rng.uniform(0.1, 0.6) * (0.4 + marbling)
            canvas.paint(tube(cleft, [0.3, 1.3, 0.3]), -40.0, within=inside, opacity=faint)
        if lumbar:
            place = (x0 + side * 66.0, y0 + 20.0)
            flank = blob(place, (17.0, 9.0), side * 0.6, rng=rng, rough=0.08, power=2.3)
            canvas.paint(grown(flank, 1.5), -90.0, within=inside)
            canvas.paint(flank, muscle, within=inside)
            place = (x0 + side * rng.uniform(34.0, 38.0), y0 + rng.uniform(2.0, 7.0))
            axes = (rng.uniform(13.0, 19.0), rng.uniform(17.0, 24.0))
            psoas = blob(place, axes, -side * 0.35, rng=rng, rough=0.06)
            canvas.paint(grown(psoas, 1.8), -95.0)
            canvas.paint(psoas, muscle, organ=True)

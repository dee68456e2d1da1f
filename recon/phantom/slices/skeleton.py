"""Bones with a cortical shell: vertebrae, ribs, sternum, shoulder blades."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .canvas import Canvas
from .outlines import Outline, arc, blob, grown, placed, stretch, tube

__all__ = ["bone", "ribs", "scapula", "sternum", "vertebra"]


def bone(
    canvas: Canvas,
    outlines: Outline | Sequence[Outline],
    *,
    shell: float,
    cortex: float,
    marrow: float,
) -> None:
    """Paint a bone: a cortical shell [mm, HU] round marrow [HU] with trabecular texture."""
    several = [outlines] if isinstance(outlines, np.ndarray) else list(outlines)
    canvas.paint(several, cortex + 0.12 * cortex * canvas.field(7.0))
    trabeculae = marrow + 0.16 * abs(marrow) * (canvas.field(1.6) + 0.7 * canvas.field(7.0))
    canvas.paint([grown(o, -shell) for o in several], trabeculae)


def vertebra(
    canvas: Canvas, rng: np.random.Generator, centre: ArrayLike, *, width: float, lumbar: bool
) -> None:
    """Paint a vertebra: body, pedicles, laminae, spinous and transverse processes, canal.

    Parameters
    ----------
    centre : (x, y)
        Middle of the vertebral body [mm].
    width : float
        Width of the body [mm].
    lumbar : bool
        Lumbar shape, or thoracic with processes pointing backwards.
    """
    cx, cy = (float(c) for c in np.asarray(centre))
    depth = width * rng.uniform(0.74, 0.86)
    canal = np.array([0.5 * rng.uniform(20.0, 25.0), 0.5 * rng.uniform(15.0, 18.0)])
    back = cy + 0.5 * depth
    canal_y = back + canal[1] - 0.5
    behind = canal_y + canal[1]  # the canal
    tip = behind + rng.uniform(24.0, 34.0)
    arch: list[Outline] = []
    for side in (-1.0, 1.0):
        root = (cx + side * 0.38 * width, back - 5.0)
        joint = (cx + side * (canal[0] + 6.0), canal_y + 0.5)
        if lumbar:
            end = (cx + side * rng.uniform(36.0, 44.0), canal_y + rng.uniform(-5.0, 4.0))
        else:
            end = (cx + side * rng.uniform(29.0, 35.0), canal_y + rng.uniform(8.0, 15.0))
        arch.append(tube(arc([root, joint]), [9.0, 8.0]))
        process = [joint, ((joint[0] + end[0]) / 2, joint[1] + 1), end]
        arch.append(tube(arc(process), [9.0, 7.0, 7.5]))
        lamina = [joint, (cx + side * 9.0, behind + 2.0), (cx, behind + 5.0)]
        arch.append(tube(arc(lamina), [9.0, 7.0, 8.0]))
        if lumbar:
            facet = (joint[0] + side * 3.0, joint[1] + 6.0)
            arch.append(blob(facet, (7.5, 8.5), rng=rng, rough=0.1))
    sway = rng.uniform(-2.0, 2.0)
    spine = [(cx, behind + 3.0), (cx + sway / 2, (tip + canal_y + canal[1]) / 2), (cx + sway, tip)]
    arch.append(tube(arc(spine), [9.0, 6.5, 5.5, 8.0]))
    cortex, marrow = rng.uniform(520.0, 760.0), rng.uniform(130.0, 260.0)
    bone(canvas, arch, shell=1.6, cortex=cortex, marrow=marrow + 90.0)
    if lumbar:
        for side in (-1.0, 1.0):
            x = cx + side * (canal[0] + 9.0)
            gap = [(x - side * 3.0, canal_y + 0.5), (x, canal_y + 5.0), (x - side, canal_y + 11.0)]
            canvas.paint(tube(arc(gap), 1.1), 60.0)
    canvas.paint(blob((cx, canal_y), canal, power=2.4), -70.0)
    sac = blob((cx, canal_y - 0.5), canal * [0.8, 0.82], rng=rng, rough=0.05)
    canvas.paint(sac, 18.0)
    if not lumbar:
        canvas.paint(blob((cx, canal_y - 0.5), (5.0, 3.8)), 42.0)
    body = blob((0.0, 0.0), (0.5 * width, 0.5 * depth), rng=rng, rough=0.03, power=2.35)
    body[:, 1] -= 0.09 * depth * np.exp(-((body[:, 0] / (0.24 * width)) ** 2)) * (body[:, 1] > 0)
    body = placed(body, (cx, cy))
    bone(canvas, body, shell=rng.uniform(1.1, 1.7), cortex=cortex, marrow=marrow)
    canvas.paint(blob((cx, cy), (0.36 * width, 0.3 * depth)), marrow - 45.0, opacity=0.35)
    if rng.random() < 0.35:
        vein = arc([(cx, back - 2.0), (cx + sway, cy + 0.12 * depth)])
        canvas.paint(tube(vein, [3.0, 1.5]), 60.0, opacity=0.8)


def ribs(
    canvas: Canvas,
    rng: np.random.Generator,
    cage: Outline,
    directions: NDArray[np.float64],
    *,
    cartilage_above: float = 10.0,
) -> None:
    """Paint obliquely cut ribs along the outline of the rib cage.

    Parameters
    ----------
    cage : outline
        Middle line of the chest wall [mm].
    directions : array
        Where ribs lie, from -π to π [rad]; +x is 0, posterior is π/2.
    cartilage_above : float
        Ribs whose direction has a sine below minus this are cartilage.
    """
    cortex, marrow = rng.uniform(620.0, 900.0), rng.uniform(150.0, 320.0)
    for direction in directions:
        if -np.sin(direction) > cartilage_above:
            length, thickness = rng.uniform(0.16, 0.26), rng.uniform(11.0, 14.0)
            path = stretch(cage, direction - length / 2, direction + length / 2)
            gristle = tube(path, [0.6 * thickness, thickness, thickness, 0.7 * thickness])
            canvas.paint(gristle, 105.0 + 12.0 * canvas.field(7.0))
            if rng.random() < 0.4:
                canvas.paint(grown(gristle, -1.5), 60.0, opacity=0.6)
            continue
        length = rng.uniform(0.10, 0.24)
        thickness = rng.uniform(6.5, 9.0)
        path = stretch(cage, direction - length / 2, direction + length / 2)
        path = path + 1.5 * rng.standard_normal(2)
        outline = tube(path, [0.55 * thickness, thickness, thickness, 0.6 * thickness])
        bone(canvas, outline, shell=rng.uniform(1.1, 1.7), cortex=cortex, marrow=marrow)


def sternum(canvas: Canvas, rng: np.random.Generator, centre: ArrayLike) -> None:
    """Paint the breastbone at ``centre`` [mm]."""
    axes = (rng.uniform(15.0, 23.0), rng.uniform(5.0, 6.5))
    outline = blob(centre, axes, rng=rng, rough=0.12, power=2.8)
    cortex, marrow = rng.uniform(380.0, 520.0), rng.uniform(90.0, 170.0)
    bone(canvas, outline, shell=1.2, cortex=cortex, marrow=marrow)


def scapula(
    canvas: Canvas,
    rng: np.random.Generator,
    cage: Outline,
    side: float,
    *,
    spread: float,
    depth: float,
) -> None:
    """Paint one shoulder blade on the back of the rib cage, between the muscles that hold it.

    Parameters
    ----------
    cage : outline
        Middle line of the chest wall [mm].
    side : float
        +1 for the patient's left (right in the picture), -1 for the right.
    spread : float
        Angle that the blade spans, seen from the chest's middle [rad].
    depth : float
        Thickness [mm] of the wall outside the ribs.
    """
    first = rng.uniform(0.2, 0.4)

    def behind(share: float, start: float, end: float) -> Outline:
        a, b = first + start * spread, first + end * spread
        if side < 0:
            a, b = np.pi - a, np.pi - b
        return stretch(grown(cage, 4.0 + share * (depth - 4.0)), a, b)

    muscle = 56.0 + 5.0 * canvas.field(5.0)
    canvas.paint(tube(behind(0.5, -0.1, 1.1), np.array([0.2, 0.9, 1.0, 0.8, 0.2]) * depth), -85.0)
    canvas.paint(tube(behind(0.22, 0.0, 1.0), np.array([0.1, 0.4, 0.4, 0.1]) * depth), muscle)
    canvas.paint(tube(behind(0.78, -0.05, 0.95), np.array([0.1, 0.4, 0.44, 0.1]) * depth), muscle)
    cortex = rng.uniform(600.0, 850.0)
    blade = tube(behind(0.48, 0.0, 1.0), [9.0, 4.5, 3.2, 3.0, 3.0, 5.5])
    bone(canvas, blade, shell=1.2, cortex=cortex, marrow=260.0)
    if depth > 22.0 and rng.random() < 0.6:
        root, end = behind(0.5, 0.3, 0.5)[0], behind(0.95, 0.0, 0.2)[0]
        ridge = tube(arc([root, 0.5 * (root + end) + 1.0, end]), [4.0, 4.0, 7.0])
        bone(canvas, ridge, shell=1.2, cortex=cortex, marrow=260.0)

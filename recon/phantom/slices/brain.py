"""The cerebrum: grey and white matter, sulci, deep nuclei, ventricles, falx."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .canvas import Canvas
from .outlines import Outline, arc, blob, grown, lobulated, spline, tube

__all__ = ["Head", "cerebrum"]

_CSF, _GREY, _WHITE = 7.0, 38.0, 29.0  # HU


class Head(NamedTuple):
    """One head in the making: what it is painted on, its size and its age."""

    canvas: Canvas
    rng: np.random.Generator
    width: float  # half the inner size of the skull [mm]
    length: float
    level: float  # 0 at the base of the skull, 1 at the vertex
    age: float  # 0 young, 1 old


def cerebrum(head: Head, inner: Outline) -> None:
    """Paint the brain inside the skull at one level, the more shrunken the older."""
    canvas, rng, width, length, level, age = head
    brain = lobulated(grown(inner, -(0.3 + 1.6 * age)), rng, 0.3 + 0.5 * age, 14.0)
    inside = canvas.mask(brain)
    grey = _GREY + 1.0 * canvas.field(3.0) + 0.6 * canvas.field(24.0)
    white = _WHITE + 0.8 * canvas.field(3.0) + 0.9 * canvas.field(24.0) - 2.5 * age
    canvas.paint(brain, grey)
    for side in (-1.0, 1.0):
        place, axes = (side * 0.48 * width, 0.0), (0.40 * width, 0.84 * length)
        core = blob(place, axes, rng=rng, rough=0.10, lobes=14, power=2.3)
        canvas.paint(core, white, within=inside)
    folds, widths = [], []
    count = len(brain)
    at = 0.0
    while at < count:
        k = int(at) % count
        start = brain[k]
        inward = np.arctan2(-start[1] * 0.8, -start[0])
        inward += 0.35 * rng.standard_normal()
        folds.append(_fold(rng, start, inward, rng.uniform(11.0, 24.0)))
        widths.append((0.4 + 1.5 * age) * rng.uniform(0.5, 1.5))
        at += rng.uniform(8.0, 16.0)
    midline = np.linspace(-0.97, 0.97, 15) * length
    for y in midline:
        for side in (-1.0, 1.0):
            if level < 0.72 and abs(y) < 0.42 * length:
                continue
            start = np.array([side * 1.5, y + rng.uniform(-4.0, 4.0)])
            outward = (0.0 if side > 0 else np.pi) + 0.4 * rng.standard_normal()
            folds.append(_fold(rng, start, outward, rng.uniform(8.0, 17.0)))
            widths.append((0.35 + 1.1 * age) * rng.uniform(0.4, 1.2))
    canvas.paint([tube(f, [8.5, 8.0, 6.5]) for f in folds], grey, within=inside)
    canvas.paint(tube(np.array([[0.0, -length], [0.0, -0.42 * length]]), 7.0), grey, within=inside)
    canvas.paint(tube(np.array([[0.0, 0.42 * length], [0.0, length]]), 7.0), grey, within=inside)
    if level < 0.72:
        _deep_nuclei(head, grey, white)
    sulci = [tube(f, [w * 1.3, w, 0.5 * w]) for f, w in zip(folds, widths)]
    canvas.paint(sulci, _CSF + 3.0, within=inside)
    if level < 0.62:
        _sylvian(head, inside)
    _ventricles(head)
    _midline(head, inside)
    if rng.random() < 0.2:
        _lesion(head, inside)


def _fold(
    rng: np.random.Generator, start: NDArray[np.float64], direction: float, length: float
) -> Outline:
    """Middle line of a sulcus that winds inward."""
    sway = rng.uniform(0.3, 0.9) * rng.choice([-1.0, 1.0])
    turns = direction + sway * np.array([0.0, 0.5, 1.0, 0.6]) + 0.2 * rng.standard_normal(4)
    steps = np.stack([np.cos(turns), np.sin(turns)], axis=1) * (length / 4)
    return arc(np.concatenate([start[None], start + np.cumsum(steps, axis=0)]))


def _deep_nuclei(head: Head, grey: NDArray[np.floating], white: NDArray[np.floating]) -> None:
    canvas, rng, width, length, level, _ = head
    canvas.paint(blob((0.0, 0.0), (0.3 * width, 0.4 * length), rng=rng, rough=0.05), white)
    if level > 0.66:
        return
    for side in (-1.0, 1.0):
        nuclei = [
            blob((side * x * width, y * length), axes, side * turn, rng=rng, rough=rough)
            for x, y, axes, turn, rough in (
                (0.17, -0.26, (6.0, 11.0), 0.25, 0.08),
                (0.36, -0.12, (8.0, 17.0), -0.25, 0.1),
                (0.17, 0.08, (9.5, 14.0), -0.35, 0.08),
            )
        ]
        canvas.paint(nuclei, grey + 1.5)
        insula = arc(np.array([(0.53, -0.32), (0.5, -0.1), (0.54, 0.12)]) * [side * width, length])
        canvas.paint(tube(insula, 5.0), grey)


def _sylvian(head: Head, inside: NDArray[np.float32]) -> None:
    canvas, rng, width, length, _, age = head
    for side in (-1.0, 1.0):
        w = (1.2 + 3.5 * age) * rng.uniform(0.7, 1.3)
        places = np.array([(1.02, -0.18), (0.78, -0.16), (0.6, -0.1), (0.6, 0.1), (0.66, 0.2)])
        trunk = arc(places * [side * width, length] + 1.5 * rng.standard_normal((5, 2)))
        canvas.paint(tube(trunk, [w, w, 1.6 * w, 1.2 * w, 0.6 * w]), _CSF, within=inside)
        places = np.array([(0.6, -0.1), (0.58, -0.26), (0.64, -0.36)])
        branch = arc(places * [side * width, length])
        canvas.paint(tube(branch, [1.3 * w, w, 0.5 * w]), _CSF, within=inside)


def _ventricles(head: Head) -> None:
    canvas, rng, _, length, level, age = head
    if level > 0.78:
        return
    size = (0.7 + 1.1 * age) * rng.uniform(0.8, 1.2)
    if level > 0.58:
        for side in (-1.0, 1.0):
            places = np.array([(8.0, -0.36), (7.0, -0.05), (12.0, 0.18), (20.0, 0.38)])
            body = arc(places * [side, length])
            canvas.paint(tube(body, np.array([2.5, 7.0, 7.5, 8.0, 3.0]) * size), _CSF - 1.0)
        septum = tube(np.array([[0.0, -0.3 * length], [0.0, 0.1 * length]]), 1.2)
        canvas.paint(septum, 30.0)
        return
    for side in (-1.0, 1.0):
        horn = arc(np.array([(13.0, -0.42), (7.0, -0.3), (2.5, -0.15)]) * [side, length])
        canvas.paint(tube(horn, np.array([4.0, 7.5, 3.0]) * size), _CSF - 1.0)
        if level > 0.36:
            places = np.array([(18.0, 0.2), (25.0, 0.3), (25.0, 0.45), (21.0, 0.58)])
            atrium = arc(places * [side, length])
            canvas.paint(tube(atrium, np.array([3.0, 8.0, 6.0, 2.0]) * size), _CSF - 1.0)
            if rng.random() < 0.6:
                plexus = blob((side * 24.0, 0.33 * length), (2.2, 3.0), rng=rng, rough=0.25)
                canvas.paint(plexus, rng.uniform(90.0, 350.0), opacity=0.9)
    slit = tube([(0.0, -0.12 * length), (0.0, 0.14 * length)], [2 * size, 3 * size, 1.5 * size])
    canvas.paint(slit, _CSF)
    if level < 0.42:
        turn = np.linspace(0.0, 2 * np.pi, 10, endpoint=False) + 0.94
        points = np.tile([15.0, 8.0], 5)[:, None] * np.stack([np.cos(turn), np.sin(turn)], axis=1)
        star = spline(points - [0.0, 0.02 * length])
        canvas.paint(star, _CSF + 2.0, opacity=0.9)
        stem = blob((0.0, 0.14 * length), (17.0, 13.0), rng=rng, rough=0.06, power=2.4)
        canvas.paint(stem, _GREY - 4.0)
        cistern = arc([(-13.0, 0.31 * length), (0.0, 0.27 * length), (13.0, 0.31 * length)])
        canvas.paint(tube(cistern, [1.0, 3.0, 1.0]), _CSF)
    elif rng.random() < 0.6:
        pineal = blob((rng.uniform(-1.0, 1.0), 0.2 * length), (2.4, 2.0), rng=rng, rough=0.2)
        canvas.paint(pineal, rng.uniform(120.0, 420.0))


def _midline(head: Head, inside: NDArray[np.float32]) -> None:
    canvas, rng, _, length, level, age = head
    gap = 0.6 + 2.2 * age
    ends = ((-1.05, -0.46), (0.6, 1.05)) if level < 0.78 else ((-1.05, 1.05),)
    for first, last in ends:
        s = np.linspace(first, last, 7) * length
        line = arc(np.stack([0.8 * rng.standard_normal(7), s], axis=1))
        canvas.paint(tube(line, [gap * 1.6, gap, gap]), _CSF + 2.0, within=inside)
        canvas.paint(tube(line, 1.1), rng.uniform(48.0, 60.0))
        if level > 0.72 and rng.random() < 0.25:
            k = len(line) // 5
            canvas.paint(tube(line[k : k + 10], 1.6), 420.0)
    sinus = spline([(-4.0, 1.01 * length), (0.0, 0.95 * length), (4.0, 1.01 * length)])
    canvas.paint(sinus, 52.0, within=inside)


def _lesion(head: Head, inside: NDArray[np.float32]) -> None:
    """An old infarct, or a fresh haemorrhage with oedema around it."""
    canvas, rng, width, length, *_ = head
    x = rng.choice([-1.0, 1.0]) * rng.uniform(0.3, 0.7) * width
    place, size = (x, rng.uniform(-0.5, 0.6) * length), rng.uniform(5.0, 16.0)
    axes = (size, size * rng.uniform(0.6, 1.0))
    core = blob(place, axes, rng.uniform(0.0, 3.0), rng=rng, rough=0.2)
    fresh = rng.random() < 0.5
    canvas.paint(grown(core, 4.0), 22.0, within=inside, opacity=0.8)
    canvas.paint(core, (66.0 if fresh else 14.0) + 2.0 * canvas.field(3.0), within=inside)

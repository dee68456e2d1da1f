"""Projections of a body that is wider than the detector, continued beyond it.

The ramp filter is not local: a row that ends in the middle of a body gives a bright rim and wrong
values inside. Beyond either end each row is continued by the chords of a circle of water that meets
it in value and slope (Hsieh et al., Med. Phys. 31:2385, 2004). What is seen inside becomes
quantitative to some tens of HU, and nothing outside the field of view does.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import torch

from ..geometry import FanBeam, Geometry

__all__ = ["extrapolate", "widened"]

_MU_WATER = 0.02  # 1/mm; the circle's size follows it, the continuation's start does not
_WIDEST = math.radians(80.0)


def _extra(geometry: Geometry) -> int:
    """Columns added on either side: half the detector, less where the fan would open too wide."""
    extra = (geometry.n_cols + 1) // 2
    if isinstance(geometry, FanBeam) and geometry.detector == "arc":
        widest = float(np.abs(geometry.fan_angles).max())
        extra = min(extra, int((_WIDEST - widest) * geometry.src_det / geometry.col_pitch))
    return max(extra, 0)


def widened(geometry: Geometry) -> Geometry:
    """Return the scanner with a detector wide enough for what :func:`extrapolate` returns."""
    return replace(geometry, n_cols=geometry.n_cols + 2 * _extra(geometry))


def extrapolate(p: torch.Tensor, geometry: Geometry) -> torch.Tensor:
    """Continue line integrals (..., views, cols) to the columns of :func:`widened`.

    Value and slope at an end come from a straight line through its last columns, 1/32 of the
    detector and at least 4. A circle that would not end within the added columns is faded out over
    the last quarter of them.

    Examples
    --------
    >>> import torch
    >>> from recon import ParallelBeam
    >>> beam = ParallelBeam(angles=[0.0], n_cols=8, col_pitch=1.0)
    >>> extrapolate(torch.zeros(1, 8), beam).shape
    torch.Size([1, 16])
    """
    extra = _extra(geometry)
    t = widened(geometry).rays()[1].ravel()
    right = _beyond(p, t[extra : len(t) - extra], t[len(t) - extra :])
    # the left end is the right end of the mirrored scan
    t = -t[::-1]
    left = _beyond(p.flip(-1), t[extra : len(t) - extra], t[len(t) - extra :])
    return torch.cat([left.flip(-1), p, right], dim=-1)


def _beyond(row: torch.Tensor, own: np.ndarray, added: np.ndarray) -> torch.Tensor:
    """Continue rows (..., cols), measured up to ``own[-1]`` [mm], to the places ``added``."""
    count = min(max(4, row.shape[-1] // 32), row.shape[-1])
    x = torch.from_numpy(own[-count:] - own[-1]).to(row)
    mean = x.mean()
    slope = (row[..., -count:] * (x - mean)).sum(-1) / ((x - mean) ** 2).sum()
    value = (row[..., -count:].mean(-1) - slope * mean).clamp(min=0)
    # half the chord, and how far outside the circle's centre the row ends
    half = value / (2 * _MU_WATER)
    off = (-slope * half / (2 * _MU_WATER)).clamp(min=-half / 2)
    radius2 = half**2 + off**2
    ahead = torch.from_numpy(added - own[-1]).to(row)
    chord = (radius2[..., None] - (off[..., None] + ahead) ** 2).clamp(min=0).sqrt()
    fade = torch.ones_like(ahead)
    last = len(fade) // 4
    if last:
        fade[-last:] = torch.cos(torch.linspace(0, math.pi / 2, last + 1).to(row)[1:]) ** 2
    return 2 * _MU_WATER * chord * fade

"""Compile every kernel once, so that the first real call does not wait: `python -m recon.warm`.

The compiled code lies beside the sources and is used again until they, or the processor, change.
"""

from __future__ import annotations

import math
import sys
import time

import numpy as np
import torch

from .dose import insert_noise, sample_transmission
from .geometry import FanBeam, ImageGrid, ParallelBeam
from .operator import operator

__all__ = ["warm"]


def warm() -> float:
    """Run every kernel on a tiny problem; return the seconds that took."""
    start = time.monotonic()
    grid = ImageGrid(shape=(16, 16), spacing=(2.0, 2.0))
    turn = np.arange(24) * (2 * math.pi / 24)
    fan = {"angles": turn, "n_cols": 32, "col_pitch": 4.0, "src_iso": 200.0, "src_det": 400.0}
    geometries = {
        "fan beam, arc": FanBeam(detector="arc", **fan),
        "fan beam, flat": FanBeam(detector="flat", **fan),
        "parallel beam": ParallelBeam(angles=turn[:12], n_cols=32, col_pitch=2.0),
    }
    for name, geometry in geometries.items():
        A = operator(geometry, grid, backend="numba")
        for images in (1, 16):
            began = time.monotonic()
            mu = torch.full((images, 16, 16), 0.02, requires_grad=True)
            p = A(mu)
            (A.fbp(p).sum() + A.T(p).sum()).backward()
            _say(f"{name}, {images} image{'s' * (images > 1)}", began)
    began = time.monotonic()
    p = torch.ones(2, 24, 32)
    sample_transmission(p, photons=1e4, electronic_noise=3.0, seed=0)
    insert_noise(p, photons=1e4, dose_fraction=0.5, electronic_noise=3.0, seed=0)
    _say("noise", began)
    return time.monotonic() - start


def _say(what: str, began: float) -> None:
    print(f"  {what:<24} {time.monotonic() - began:5.1f} s", file=sys.stderr, flush=True)


if __name__ == "__main__":
    print(f"kernels ready in {warm():.0f} s", file=sys.stderr)

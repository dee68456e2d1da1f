"""Compile every kernel once, so that the first real call does not wait: `python -m recon.warm`.

The compiled code lies beside the sources and is used again until they, or the processor, change.
"""

from __future__ import annotations

import math
import sys
import time

import numpy as np
import torch

# as any program does: through the face
from . import (
    FanBeam,
    HelicalScan,
    ImageGrid,
    ParallelBeam,
    insert_noise,
    operator,
    reconstruct,
    sample_transmission,
    simulate_scan,
    starved_rays,
)
from .phantom import body, random_slice

__all__ = ["warm"]


def warm() -> float:
    """Run every kernel on a tiny problem; return the seconds that took."""
    start = time.monotonic()
    turn = np.arange(24) * (2 * math.pi / 24)
    fan = FanBeam(angles=turn, n_cols=32, col_pitch=4.0, src_iso=200.0, src_det=400.0)
    parallel = ParallelBeam(angles=turn[:12], n_cols=32, col_pitch=2.0)
    # off the centre, one image has no symmetry to fill the lanes with: both widths are compiled
    grid = ImageGrid(shape=(16, 16), spacing=(2.0, 2.0), centre=(1.0, 0.0))
    for images in (1, 16):
        began = time.monotonic()
        for geometry in (fan, parallel):
            A = operator(geometry, grid, backend="numba")
            mu = torch.full((images, 16, 16), 0.02, requires_grad=True)
            p = A(mu)
            (A.fbp(p).sum() + A.T(p).sum()).backward()
        _say(f"R, Rᵀ and FBP, {images} image{'s' * (images > 1)}", began)
    began = time.monotonic()
    operator(fan, grid).fbp_covariance(torch.ones(24, 32))
    _say("covariance of the noise", began)
    began = time.monotonic()
    p = torch.ones(2, 24, 32)
    sample_transmission(p, photons=1e4, electronic_noise=3.0, seed=0)
    insert_noise(p, photons=1e4, dose_fraction=0.5, electronic_noise=3.0, seed=0)
    starved_rays(p, photons=1e4, electronic_noise=3.0)
    _say("noise", began)
    began = time.monotonic()
    random_slice("head", seed=0, grid=ImageGrid(shape=(32, 32), spacing=(8.0, 8.0)))
    _say("phantoms", began)
    began = time.monotonic()
    helix = HelicalScan(
        angles=np.arange(96) * (2 * math.pi / 24), z=np.arange(96) / 6, src_iso=200.0,
        src_det=400.0, n_rows=8, n_cols=32, row_pitch=1.1, col_pitch=8.0, views_per_rotation=24,
    )  # fmt: skip
    scan = simulate_scan(
        body("water", 0.02).views(helix), helix, mas=100, kvp=120, mu_water=0.02, name="warm",
        seed=0,
    )  # fmt: skip
    reconstruct(scan, grid=grid, z=[8.0], slice_thickness=1.0)
    _say("helical scans", began)
    return time.monotonic() - start


def _say(what: str, began: float) -> None:
    print(f"  {what:<26} {time.monotonic() - began:5.1f} s", file=sys.stderr, flush=True)


if __name__ == "__main__":
    print(f"kernels ready in {warm():.0f} s", file=sys.stderr)

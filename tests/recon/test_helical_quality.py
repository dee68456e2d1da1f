"""Image quality of helical reconstructions at full size: the requirements, each with its number."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helical_scans import (
    MU,
    ball_height,
    rod_errors,
    scan_of,
    small_helix,
    water_mask,
)
from wire import falls_to

from recon.geometry import ImageGrid
from recon.helical import covered, reconstruct
from recon.phantom.exact.ellipsoids import Ellipsoid, EllipsoidPhantom, water_with_inserts
from recon.scan.scanners import discovery_helical, flash_helical

pytestmark = pytest.mark.slow

TOLERANCES = {
    # all five are the requirements; measured over the six scans below:
    # 0.21 to 0.35 HU
    "water, rms [HU]": 0.5,
    # 0.03 HU
    "insert [HU]": 0.5,
    # 0.002 mm
    "height of a ball [mm]": 0.05,
    # 0.06 HU
    "banding [HU]": 0.1,
    # 0.73
    "slice profile with and without z-flight, ratio": 0.75,
    # the requirement; measured 0.02 % near the axis
    "MTF10 with and without flight, rel": 0.03,
    # 100 mm off the axis each focal spot has half the views that the detail there needs: 3.7 %
    "MTF10 100 mm off the axis, rel": 0.045,
    # float32 sums in another order; measured 0.0004
    "older processors [HU]": 0.02,
    # at the very ends of the range; measured 1 HU
    "ends of the range, rms [HU]": 3.0,
}

GRID = ImageGrid(shape=(256, 256), spacing=(1.0, 1.0))
SCANS = {
    "z-flight": lambda length: flash_helical(length=length),
    "table out": lambda length: flash_helical(length=length, table="out"),
    "no flight": lambda length: flash_helical(length=length, focal_spot="FFSNONE"),
    "pitch 0.6": lambda length: flash_helical(length=length, pitch=0.6),
    "pitch 1.4": lambda length: flash_helical(length=length, pitch=1.4),
    "discovery": lambda length: discovery_helical(length=length),
}


@pytest.mark.parametrize("name", SCANS)
def test_water_rods_and_ball_of_a_full_scan(name: str) -> None:
    geometry = SCANS[name](105.0)
    z = np.arange(-16, 16) * 0.6 + 0.3
    scan = scan_of(water_with_inserts(MU), geometry)
    images = reconstruct(scan, grid=GRID, z=z, slice_thickness=1.0)
    water = images[:, water_mask(GRID, 8.0)]
    found = {
        "rms": float(np.sqrt((water**2).mean())),
        "rods": float(np.abs(rod_errors(images, GRID, 4.0)).max()),
        "ball": abs(ball_height(images, GRID, z)),
        "banding": float(np.ptp(water.mean(axis=1))),
    }
    print(name, found)
    assert found["rms"] <= TOLERANCES["water, rms [HU]"]
    assert found["rods"] <= TOLERANCES["insert [HU]"]
    assert found["ball"] <= TOLERANCES["height of a ball [mm]"]
    assert found["banding"] <= TOLERANCES["banding [HU]"]


def test_a_focal_spot_that_is_ignored_or_flipped_shows() -> None:
    geometry = flash_helical(length=70.0)
    scan = scan_of(water_with_inserts(MU), geometry)
    z = np.arange(-8, 8) * 0.6
    rms = {}
    for name, sign in (("as it is", 1.0), ("ignored", 0.0), ("flipped", -1.0)):
        told = flash_helical(length=70.0)
        changes = {k: sign * getattr(told, k) for k in ("shift_z", "shift_radius")}
        wrong = small_helix(
            length=1.0, angles=told.angles, z=told.z, n_rows=64, n_cols=736,
            col_pitch=told.col_pitch, views_per_rotation=1152, col_offset=told.col_offset,
            shift_angle=told.shift_angle, **changes,
        )  # fmt: skip
        images = reconstruct(scan.changed(geometry=wrong), grid=GRID, z=z, slice_thickness=1.0)
        rms[name] = float(np.sqrt((images[:, water_mask(GRID, 8.0)] ** 2).mean()))
    print(rms)
    assert rms["ignored"] > 1.5 * rms["as it is"]
    assert rms["flipped"] > 1.5 * rms["ignored"]


def _profile_width(focal_spot: str) -> float:
    """Full width at half maximum along z of a disc of 0.1 mm in air [mm]."""
    disc = Ellipsoid(centre=(0.0, 0.0, 0.013), axes=(30.0, 30.0, 0.05), value=MU)
    scan = scan_of(
        EllipsoidPhantom([disc]), flash_helical(length=60.0, focal_spot=focal_spot), (5, 1)
    )
    z = np.arange(-40, 41) * 0.05
    grid = ImageGrid(shape=(8, 8), spacing=(0.7, 0.7))
    images = reconstruct(scan, grid=grid, z=z, slice_thickness=0.3)
    profile = images.mean(axis=(1, 2)) + 1000.0
    top = int(profile.argmax())
    half = profile[top] / 2
    right = np.interp(-half, -profile[top:], z[top:])
    return float(right - np.interp(half, profile[: top + 1], z[: top + 1]))


def test_z_flight_sharpens_the_slice_profile() -> None:
    flying, resting = _profile_width("FFSZ"), _profile_width("FFSNONE")
    print(f"{flying:.3f} mm with, {resting:.3f} mm without, ratio {flying / resting:.3f}")
    assert flying <= TOLERANCES["slice profile with and without z-flight, ratio"] * resting


def _mtf10(focal_spot: str, at: tuple[float, float]) -> float:
    """Frequency [lp/cm] at which the MTF of a wire along z has fallen to 10 %."""
    wire = Ellipsoid(centre=(*at, 0.0), axes=(0.05, 0.05, np.inf), value=1.0)
    scan = scan_of(
        EllipsoidPhantom([wire]), flash_helical(length=70.0, focal_spot=focal_spot), (1, 21)
    )
    pixel = 0.15
    grid = ImageGrid(shape=(128, 128), spacing=(pixel, pixel), centre=(round(at[0]), round(at[1])))
    images = reconstruct(scan, grid=grid, z=np.arange(8) * 2.0 - 7, slice_thickness=1.0)
    spread = images.mean(axis=0, dtype=np.float64) + 1000.0
    f = np.fft.fftfreq(1024, pixel)
    shift = f[None, :] * (at[0] - grid.x[0]) + f[:, None] * (at[1] - grid.y[0])
    transfer = (np.fft.fft2(spread, (1024, 1024)) * np.exp(2j * np.pi * shift)).real
    ring = (np.hypot(f[:, None], f[None, :]) / 0.02).astype(int)
    total = np.bincount(ring.ravel(), transfer.ravel())[:80] / np.bincount(ring.ravel())[:80]
    return falls_to(0.1, 10 * (np.arange(80) + 0.5) * 0.02, total / total[0])


@pytest.mark.parametrize(
    ("at", "property_"),
    [
        ((3.3, -2.1), "MTF10 with and without flight, rel"),
        ((80.4, 60.7), "MTF10 100 mm off the axis, rel"),
    ],
)
def test_flight_keeps_the_resolution_in_the_plane(at: tuple[float, float], property_: str) -> None:
    flying, resting = _mtf10("FFSZ", at), _mtf10("FFSNONE", at)
    print(f"MTF10 at {at}: {flying:.3f} with, {resting:.3f} lp/cm without")
    assert flying == pytest.approx(resting, rel=TOLERANCES[property_])


@pytest.mark.parametrize("pitch", [0.6, 1.0, 1.4])
def test_the_whole_range_is_reconstructed(pitch: float) -> None:
    geometry = flash_helical(length=90.0, pitch=pitch)
    spacing = 3.8 if pitch < 1.4 else 2.6  # 250 mm from the axis are too far for that pitch
    grid = ImageGrid(shape=(128, 128), spacing=(spacing, spacing))
    low, high = covered(geometry, grid)
    cylinder = Ellipsoid(centre=(20.0, -10.0, 0.0), axes=(170.0, 140.0, np.inf), value=MU)
    images = reconstruct(
        scan_of(EllipsoidPhantom([cylinder]), geometry), grid=grid, z=[low, 0.0, high],
        slice_thickness=1.0,
    )  # fmt: skip
    x, y = np.meshgrid(grid.x, grid.y)
    inside = np.hypot((x - 20) / 155, (y + 10) / 125) < 1
    rms = np.sqrt((images[:, inside] ** 2).mean(axis=1))
    print(f"pitch {pitch}: {low:.1f} to {high:.1f} mm, rms {rms.round(2)} HU")
    assert rms.max() < TOLERANCES["ends of the range, rms [HU]"]


_PORTABLE = """
import numpy as np, torch
from helical_scans import MU, scan_of, small_helix
from recon.geometry import ImageGrid
from recon.helical.plan import plan_helical
from recon.helical.slabs import reconstruct_slabs
from recon.phantom.exact.ellipsoids import water_with_inserts
scan = scan_of(water_with_inserts(MU), small_helix(length=40.0, views=288, coarse=4))
grid = ImageGrid(shape=(24, 28), spacing=(10.0, 8.0), centre=(7.0, -3.0))
plan = plan_helical(scan.geometry, grid)
kernel, tensors = (
    next(reconstruct_slabs(scan, plan, grid, np.array([0.0, 0.6]), 1.5, "hann", device=device))[1]
    for device in (None, torch.device("cpu"))
)
inside = np.hypot(grid.x[None, :], grid.y[:, None]) <= plan.radius
print(1000 / MU * np.abs(kernel - tensors)[:, inside].max())
"""


def test_processors_without_wide_registers_agree(tmp_path: Path) -> None:
    here = Path(__file__).parent
    older = {
        "NUMBA_CPU_NAME": "haswell",
        "NUMBA_CPU_FEATURES": "+avx2,+fma,+avx,+sse4.2",
        "NUMBA_CACHE_DIR": str(tmp_path),
        "PYTHONPATH": os.pathsep.join([str(here), str(here.parents[1])]),
    }
    done = subprocess.run(
        [sys.executable, "-c", _PORTABLE], env={**os.environ, **older}, capture_output=True,
        text=True, check=True,
    )  # fmt: skip
    assert float(done.stdout) < TOLERANCES["older processors [HU]"]

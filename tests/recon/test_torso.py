"""A real torso, scanned on a helix and reconstructed, comes back as itself."""

from dataclasses import replace

import numpy as np
import pytest
from real_data import DATA, needs
from scipy.ndimage import maximum_filter, minimum_filter

from recon.ctpd.read import read_scan
from recon.geometry import ImageGrid
from recon.helical import covered, reconstruct
from recon.phantom.volumes.files import read_volume
from recon.phantom.volumes.voxels import VoxelPhantom
from recon.scan.scanners import flash_helical
from recon.scan.simulate import simulate_scan

REAL_VOLUME = DATA / "volume" / "torso_3mm.npz"
WATER = 0.0193
TORSO = {
    # the requirement, over soft tissue away from lungs, air and bone; measured 6.1, and 10.9 at
    # half the resolution: texture of neighbouring voxels that elements and window smooth
    "rms [HU]": 15.0,
    # tissues are where they were and as dense; measured 0.3
    "bias [HU]": 1.5,
}

pytestmark = [pytest.mark.data, needs("volume/torso_3mm.npz")]


def departure(scan, phantom, **options):
    """Error [HU] in voxels of soft tissue among soft tissue, in the central 80 % of z."""
    slices, rows, cols = phantom.hu.shape
    sz, sy, sx = phantom.spacing
    grid = ImageGrid(shape=(rows, cols), spacing=(sy, sx))
    z = (np.arange(slices) - (slices - 1) / 2) * sz
    middle = slice(round(0.1 * slices), slices - round(0.1 * slices))
    low, high = covered(scan.geometry, grid)
    assert low <= z[middle][0] and z[middle][-1] <= high
    found = reconstruct(scan, grid=grid, z=z[middle], slice_thickness=1.0, **options)
    hu = np.maximum(phantom.hu, -1000)
    soft = (np.abs(hu) <= 150) & (minimum_filter(hu, 3) >= -200) & (maximum_filter(hu, 3) <= 300)
    assert soft[middle].mean() > 0.2
    return (found - hu[middle])[soft[middle]]


def test_a_torso_of_half_the_resolution_comes_back():
    """Voxels of 6 mm, on a Flash whose elements are three times as large and views as far apart."""
    fine = read_volume(REAL_VOLUME, mu_water=WATER).hu[12:52, :100]
    hu = fine.reshape(20, 2, 50, 2, 61, 2).mean(axis=(1, 3, 5))
    phantom = VoxelPhantom(hu=hu, spacing=(6.0, 6.0, 6.0), mu_water=WATER)
    g = flash_helical(length=phantom.size[0] + 38.4, views_per_rotation=384)
    g = replace(
        g, n_cols=245, col_pitch=3 * g.col_pitch, col_offset=g.col_offset / 3, n_rows=22,
        row_pitch=3 * g.row_pitch,
    )  # fmt: skip
    scan = simulate_scan(
        phantom.views(g), g, mas=200, kvp=120, mu_water=WATER, name="torso", seed=None
    )
    error = departure(scan, phantom)
    assert np.sqrt(np.mean(error**2)) < TORSO["rms [HU]"]
    assert abs(error.mean()) < TORSO["bias [HU]"]


@pytest.mark.slow
def test_the_torso_comes_back(tmp_path):
    """Through the command and its files, 64 rows, with the flying focal spot."""
    from analysis.main import main

    out = tmp_path / "scan"
    assert main(["phantom", "--volume", str(REAL_VOLUME), "--no-noise", "--out", str(out)]) == 0
    error = departure(read_scan(out), read_volume(REAL_VOLUME, mu_water=WATER))
    assert np.sqrt(np.mean(error**2)) < TORSO["rms [HU]"]
    assert abs(error.mean()) < TORSO["bias [HU]"]

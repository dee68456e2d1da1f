"""Images that were taken to a lower exposure have the noise of scans at that exposure."""

import numpy as np
import pytest

from analysis.scanner.low_dose import low_dose_slices, thinned_slices
from recon import ImageGrid, flash_axial
from recon.phantom import random_slice

COUNT = 64
SAME_VARIANCE = 0.02  # of 64 slices each; by chance they differ by some tenths of a per cent


@pytest.mark.slow
@pytest.mark.parametrize(("own", "low"), [(200.0, 100.0), (40.0, 8.0)])
def test_the_variance_is_that_of_a_scan(own: float, low: float, record_property) -> None:
    grid = ImageGrid(shape=(128, 128), spacing=(3.0, 3.0))
    hu = random_slice("abdomen", seed=3, grid=grid)
    scan = {"kvp": 120.0, "slice_thickness": 1.5, "geometry": flash_axial(576)}
    many = np.repeat(hu[None], COUNT, axis=0).astype(np.float32)
    measured = low_dose_slices(many, grid.spacing, mas=own, seed=1, **scan)
    thinned = thinned_slices(measured, grid.spacing, image_mas=own, mas=low, seed=2, **scan)
    direct = low_dose_slices(many, grid.spacing, mas=low, seed=3, **scan)
    inside = hu > -300
    ratio = thinned.var(0, ddof=1)[inside].mean() / direct.var(0, ddof=1)[inside].mean()
    print(f"{own:g} to {low:g} mAs: variance over that of scans {ratio:.4f}")
    record_property("ratio", round(float(ratio), 4))
    assert abs(ratio - 1.0) < SAME_VARIANCE

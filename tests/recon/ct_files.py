"""CT series to be written, and what is to be known of the real slice that tests read."""

import numpy as np
import pytest

from recon.dicom.write import write_series

TWO_EXPOSURES = pytest.mark.filterwarnings("ignore:.*exposure .0018,1152.")
"""The real slice states two exposures, of which the reader warns."""


def scene(slices=3, rows=20, cols=30, seed=0):
    """Air, tissue and metal with an off-centre asymmetric block; values with fractions."""
    hu = np.random.default_rng(seed).uniform(-1000, 3000, (slices, rows, cols)).astype(np.float32)
    hu[:, 3:9, 20:28] = 60.4
    return hu


def write(folder, hu=None, **changes):
    hu = scene() if hu is None else hu
    setting = {
        "spacing": (0.7, 0.8),
        "slice_thickness": 1.5,
        "positions": [(-12.5, -7.25, 10.0 + k) for k in range(len(hu))],
        "series_description": "10 mAs, hann",
        "kvp": 120.0,
        "mas": 10.0,
        "kernel": "hann",
        **changes,
    }
    return write_series(folder, hu, **setting)

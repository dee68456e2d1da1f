"""What noise a slice under study has: that of the exposure it states, or none."""

import math

import pytest

from analysis import session
from analysis.session.departures import departures
from ctxai.weights.sets import WeightSet
from recon.dicom.images import read_images


def scene(folder, weights):
    return session.open_scene(folder, number=None, roi=None, kvp=None, weights=weights)


def test_a_phantom_is_noise_free_and_says_so(tiny_weights, tmp_path):
    weights = WeightSet(tiny_weights.folder)
    point = session.working_point(weights) | {"spacing_mm": 5.0}  # an abdomen is 300 mm wide
    folder = session.draw_phantom("abdomen", tmp_path, seed=1, point=point)
    images = read_images(folder)
    assert images.mas is None and math.isnan(images.exposures[0])
    found = scene(folder, weights)
    assert found.image_mas is None
    assert found.scanner(lambda x: x, seed=1).added_share(10.0) == 1.0
    assert any("noise-free" in text for text in departures(found, [10.0], weights))


def test_a_slice_has_the_noise_of_the_exposure_that_it_states(tiny_weights, ct_folder):
    found = scene(ct_folder, tiny_weights)
    assert found.image_mas == 150.0
    scanner = found.scanner(lambda x: x, seed=1)
    assert scanner.image_mas == 150.0 and scanner.added_share(15.0) == pytest.approx(0.9)
    below, above = (departures(found, [mas], tiny_weights) for mas in (15.0, 150.0))
    assert not any("noise-free" in text for text in below)
    assert any("150 mAs are no less than the image's own" in text for text in above)

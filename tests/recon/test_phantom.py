"""Random slices against what CT of a body looks like: weight, width, tissues, place."""

from __future__ import annotations

import numpy as np
import pytest
from tolerances import PHANTOM

from recon.errors import DataError
from recon.geometry import ImageGrid
from recon.phantom import ANATOMIES, random_slice

BODY = ImageGrid(shape=(400, 400), spacing=(1.0, 1.0))
HEAD = ImageGrid(shape=(256, 256), spacing=(1.0, 1.0))


def share(hu: np.ndarray, low: float, high: float) -> float:
    """Share of the body's pixels with a CT number from low to high."""
    inside = hu > -980.0
    return float(((hu >= low) & (hu <= high)).sum() / inside.sum())


@pytest.fixture(scope="module")
def slices() -> dict[str, list[np.ndarray]]:
    return {
        anatomy: [
            random_slice(anatomy, seed=seed, grid=HEAD if anatomy == "head" else BODY)
            for seed in range(12)
        ]
        for anatomy in ANATOMIES
    }


@pytest.mark.parametrize("anatomy", ["thorax", "abdomen", "head"])
def test_slices_hold_ct_numbers_within_air_all_round(slices, anatomy):
    for hu in slices[anatomy]:
        assert hu.dtype == np.float32 and hu.flags.c_contiguous
        assert np.isfinite(hu).all()
        assert hu.min() >= -1000.0
        assert 400.0 < hu.max() < 1800.0  # cortical bone is there, metal is not
        edge = np.concatenate([hu[0], hu[-1], hu[:, 0], hu[:, -1]])
        assert (edge == -1000.0).all()  # nothing is cut off by the field of view


def test_bodies_weigh_what_bodies_weigh(slices):
    """Water-equivalent mass of 1 cm of body: 350 to 900 g in adults, 150 to 320 g in heads."""
    for anatomy, low, high in (("thorax", 300, 800), ("abdomen", 400, 1000), ("head", 150, 340)):
        masses = [float((hu + 1000.0).sum()) / 1000.0 / 100.0 for hu in slices[anatomy]]
        assert low < min(masses) and max(masses) < high
        assert np.std(masses) > 0.04 * np.mean(masses)  # sizes differ


def test_adults_are_as_wide_as_adults(slices):
    for anatomy in ("thorax", "abdomen"):
        widths = [int((hu > -500.0).any(axis=0).sum()) for hu in slices[anatomy]]
        assert min(widths) > 260 and max(widths) < 390
        assert max(widths) - min(widths) > 30


def test_tissues_of_the_thorax(slices):
    for hu in slices["thorax"]:
        assert 0.15 < share(hu, -940.0, -700.0) < 0.6  # lung
        assert 0.05 < share(hu, -130.0, -60.0) < 0.6  # fat
        assert 0.1 < share(hu, 20.0, 90.0) < 0.6  # muscle, blood
        assert 0.005 < share(hu, 200.0, 1500.0) < 0.15  # bone, contrast
        lung = hu[(hu > -940.0) & (hu < -700.0)]
        assert -900.0 < np.median(lung) < -790.0
        assert lung.std() > 12.0  # parenchyma has texture


def test_tissues_of_the_abdomen(slices):
    for hu in slices["abdomen"]:
        assert 0.1 < share(hu, -130.0, -60.0) < 0.65  # fat
        assert 0.2 < share(hu, 0.0, 130.0) < 0.8  # muscle, organs
        assert 0.004 < share(hu, 200.0, 1500.0) < 0.12  # bone
        assert share(hu, -930.0, -300.0) < 0.1  # only lung bases and edges of gas


def test_tissues_of_the_head(slices):
    for hu in slices["head"]:
        assert 0.3 < share(hu, 0.0, 60.0) < 0.85  # brain, cerebrospinal fluid, muscle
        assert 0.08 < share(hu, 300.0, 1600.0) < 0.4  # skull
        brain = hu[(hu > 20.0) & (hu < 45.0)]
        assert 3.0 < brain.std() < 8.0  # grey differs from white by about 8 HU


@pytest.mark.parametrize("anatomy", ["thorax", "abdomen", "head"])
def test_a_seed_is_one_patient(slices, anatomy):
    grid = HEAD if anatomy == "head" else BODY
    again = random_slice(anatomy, seed=3, grid=grid)
    assert np.array_equal(again, slices[anatomy][3])
    for other in slices[anatomy][:3] + slices[anatomy][4:]:
        assert np.abs(other - again).mean() > 10.0


@pytest.mark.parametrize("anatomy", ["thorax", "abdomen", "head"])
def test_two_grids_show_the_same_patient(anatomy):
    step = 0.5 if anatomy == "head" else 0.78
    fine = random_slice(anatomy, seed=5, grid=ImageGrid(shape=(512, 512), spacing=(step, step)))
    coarse = random_slice(
        anatomy, seed=5, grid=ImageGrid(shape=(256, 256), spacing=(2 * step, 2 * step))
    )
    difference = fine.reshape(256, 2, 256, 2).mean(axis=(1, 3)) - coarse
    body = coarse > -980.0
    assert np.abs(difference[body]).mean() < PHANTOM["two grids, mean absolute [HU]"]
    assert abs(difference.mean()) < PHANTOM["two grids, bias [HU]"]


def test_a_moved_grid_shows_the_same_patient_moved():
    moved = ImageGrid(shape=(400, 400), spacing=(1.0, 1.0), centre=(12.0, -7.0))
    here = random_slice("abdomen", seed=2, grid=BODY)
    there = random_slice("abdomen", seed=2, grid=moved)
    difference = there[17:390, 5:380] - here[10:383, 17:392]  # the same points of the same patient
    assert np.abs(difference).max() < PHANTOM["moved grid [HU]"]


def test_orientation_of_the_patient(slices):
    """The liver is on the patient's right, left in the picture; the spine is below."""
    bone = np.mean([hu > 250.0 for hu in slices["abdomen"]], axis=0)
    rows = np.arange(400) - 199.5
    middle = bone[:, 185:215].sum(axis=1)
    assert (middle * rows).sum() / middle.sum() > 20.0
    organs = np.mean([(hu > 30.0) & (hu < 130.0) for hu in slices["abdomen"]], axis=0)
    assert organs[100:220, 60:160].sum() > 1.2 * organs[100:220, 240:340].sum()


@pytest.mark.parametrize(
    ("anatomy", "seed", "grid"),
    [
        ("pelvis", 1, BODY),
        ("thorax", -1, BODY),
        ("thorax", 1.5, BODY),
        ("abdomen", 1, ImageGrid(shape=(256, 256), spacing=(1.0, 1.0))),
        ("head", 1, ImageGrid(shape=(256, 256), spacing=(1.0, 0.8))),
    ],
)
def test_impossible_slices_are_refused(anatomy, seed, grid):
    with pytest.raises(DataError):
        random_slice(anatomy, seed=seed, grid=grid)

"""What a study notes of another scan than that of the training: whose pixels, whose exposure."""

from dataclasses import replace

import pytest

from analysis.session.departures import departures
from analysis.session.scene import open_scene


@pytest.fixture
def scene(ct_folder, tiny_weights):
    """A slice of 2 mm pixels; the set was trained at 1 mm, 10 mAs and 1.5 mm slices."""
    return open_scene(ct_folder, number=None, roi=(36, 42), kvp=None, weights=tiny_weights)


def test_pixels_are_resampled_for_the_networks_of_the_set_and_for_no_other(scene, tiny_weights):
    [said] = departures(scene, [10.0], tiny_weights)
    assert "2 × 2 mm" in said and "resampled to the 1 mm that the networks were trained at" in said
    own = open_scene(
        scene.images.files[0].parent, number=None, roi=(36, 42), kvp=None, weights=tiny_weights,
        native=True,
    )  # fmt: skip
    assert own.patch.grid.spacing == (2.0, 2.0)
    assert departures(own, [10.0], tiny_weights) == []


def test_what_else_is_another_scan(scene, tiny_weights):
    """Of several exposures each is told; samplers of a network of one's own are for the first."""
    at = replace(scene, kvp=100.0)
    told = departures(at, [10.0, 20.0, 160.0], tiny_weights)
    assert [text.split(":")[0] for text in told] == [
        "tube voltage 100 kV", "exposure 20 mAs", "exposure 160 mAs",
        "pixels of 2 × 2 mm", "an exposure above the image's own 150 mAs",
    ]  # fmt: skip
    told = departures(replace(at, native=True), [20.0, 10.0], tiny_weights)
    assert told == ["exposure 10 mAs: the networks were trained at 20 mAs"]

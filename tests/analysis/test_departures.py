"""What a study notes of another scan than that of the training: whose pixels, whose exposure."""

from dataclasses import replace

import pytest

from analysis.session.departures import departures, of_one_scan
from analysis.session.scene import open_scene
from ctxai import WeightSet


@pytest.fixture
def scene(ct_folder, tiny_weights):
    """A slice of 2 mm pixels; the set was trained at 1 mm, 10 mAs and 1.5 mm slices."""
    return open_scene(ct_folder, number=None, roi=(36, 42), kvp=None, weights=tiny_weights)


def test_the_patch_keeps_the_pixels_of_the_slice_and_that_is_said_of_the_set(scene, tiny_weights):
    assert scene.patch.grid.spacing == (2.0, 2.0)
    [said] = departures(scene, [10.0], tiny_weights)
    assert said == "pixels of 2 mm: the denoiser was trained at 1 mm"
    assert departures(replace(scene, own=True), [10.0], tiny_weights) == []


def test_what_else_is_another_scan(scene, tiny_weights):
    """Of several exposures each is told; samplers of a network of one's own are for the first."""
    at = replace(scene, kvp=100.0)
    told = departures(at, [10.0, 20.0, 160.0], tiny_weights)
    assert [text.split(":")[0] for text in told] == [
        "pixels of 2 mm", "tube voltage 100 kV", "exposure 20 mAs", "exposure 160 mAs",
        "160 mAs are no less than the image's own 150 mAs",
    ]  # fmt: skip
    told = departures(replace(at, own=True), [20.0, 10.0], tiny_weights)
    assert told == ["exposure 10 mAs: the samplers are trained at 20 mAs"]


def test_what_lies_beyond_the_scans_that_samplers_learnt_from_is_said(
    scene, tiny_weights, tmp_path
):
    known = tiny_weights.manifest["recipe"] | {
        "scans": {"spacing_mm": [0.4, 1.2], "slice_thickness_mm": [0.75, 5.0],
                  "mas_mm": [6.0, 500.0], "kvp": [80.0, 140.0]}
    }  # fmt: skip
    weights = WeightSet(tmp_path)
    weights.seal(recipe=known, figures={})
    told = departures(scene, [10.0, 3.0], weights)
    beyond = [text for text in told if "learnt from" in text]
    assert [text.split(":")[0] for text in beyond] == [
        "pixels of 2 mm", "exposure times thickness 4.5 mAs mm",
    ]  # fmt: skip
    assert "learnt from 0.4 to 1.2 mm" in beyond[0] and "6 to 500 mAs mm" in beyond[1]


def test_a_sampler_of_one_scan_alone_is_named(scene, tiny_weights):
    models = {
        layer: tiny_weights.load_model("yang", layer, "x", sampler="cinn")
        for layer in ("1", "output")
    }
    models["output"].facts["scans"] = {"spacing_mm": [0.4, 1.2]}
    [said] = of_one_scan(scene, 10.0, models)
    assert said.startswith("layer 1: its sampler (VAE_x + cINN) learnt from pixels of 1 mm")
    assert of_one_scan(replace(scene, own=True), 10.0, models) == []

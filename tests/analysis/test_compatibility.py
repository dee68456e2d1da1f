"""The test of one output: right for the true anatomy, and able to see a lesion, either way."""

import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from scipy.stats import kstest

from analysis.lesions.lesion import Lesion
from analysis.target_domain.compatibility import (
    ALPHA,
    NULL_DRAWS,
    NullOutputs,
    compatibility,
    most_different,
)
from recon.errors import DataError
from recon.geometry import ImageGrid

GRID = ImageGrid(shape=(24, 24), spacing=(1.0, 1.0))
REPEATS, GROUPS = 60, 5
FOUR_SIGMA = 6.3e-5  # the chance that a right program is four standard errors off, either way


def outputs(n, seed):
    """Correlated noise whose sd varies over the patch, (n, 24, 24) [HU]."""
    white = np.random.default_rng(seed).normal(0.0, 30.0, (n, *GRID.shape))
    smooth = gaussian_filter(white, (0, 0.8, 0.8), mode="wrap")
    return torch.from_numpy((smooth * np.linspace(0.5, 1.5, 24)).astype(np.float32))


def null_hypothesis(draws):
    """p of scans of the true anatomy: five beside each null and output."""
    p = []
    for repeat in range(REPEATS):
        images = outputs(1 + NULL_DRAWS + GROUPS * draws, repeat)
        null = NullOutputs(images[0], images[1 : 1 + NULL_DRAWS], seed=repeat)
        scans = images[1 + NULL_DRAWS :].reshape(GROUPS, draws, *GRID.shape)
        p += null.p_values(scans).tolist()
    return np.array(p)


@pytest.mark.parametrize("draws", [1, 8])
def test_p_is_uniform_for_the_true_anatomy(draws):
    """300 anatomies: 5 ± 1.3 % are rejected at 5 %, and p is uniform within its scatter."""
    p = null_hypothesis(draws)
    assert abs(np.mean(p <= ALPHA) - ALPHA) < 4 * (ALPHA * (1 - ALPHA) / len(p)) ** 0.5
    assert kstest(p, "uniform").pvalue > FOUR_SIGMA


def test_power_rises_with_contrast():
    """Outputs of a slice with a lesion, each told from the slice without, or not."""
    contrasts, told = (0.001, 20.0, 60.0), []
    for repeat in range(6):
        images = outputs(1 + NULL_DRAWS + 12, 1000 + repeat)
        null = NullOutputs(images[0], images[1 : 1 + NULL_DRAWS], seed=1)
        lesions = (Lesion(contrast=c, radius=3.0, place=(-6.0, 0.0)).on(GRID) for c in contrasts)
        scans = images[1 + NULL_DRAWS :]
        told.append([np.mean(null.p_against_truth(scans + c, 8) <= ALPHA) for c in lesions])
    power = np.mean(told, 0)  # .05, .6 and 1; 72 outputs
    assert power[0] < 0.2 < power[1] < 0.9 < power[2]


@pytest.mark.parametrize("strength", [0.6, 1.4])
def test_an_output_that_is_too_close_is_refused_as_one_that_is_too_far(strength):
    images = outputs(NULL_DRAWS + 8 + 6, 3)
    null = NullOutputs(images[0], images[:NULL_DRAWS], seed=1)
    found = null.p_against_truth(strength * images[-6:], 8)
    assert np.mean(found <= ALPHA) > 0.8 > np.mean(null.p_against_truth(images[-6:], 8) <= ALPHA)


def test_scans_of_another_noise_show_in_the_level():
    """Each scan of an anatomy among its others: 5 % are refused, more where its noise is other."""
    images = outputs(1 + NULL_DRAWS + 64, 4)
    null = NullOutputs(images[0], images[1 : 1 + NULL_DRAWS], seed=1)
    scans = images[1 + NULL_DRAWS :].reshape(8, 8, *GRID.shape)
    assert np.mean(null.p_of_scans(scans) <= ALPHA) < 0.15
    assert np.mean(null.p_of_scans(1.3 * scans) <= ALPHA) > 0.5
    with pytest.raises(DataError, match="no others"):
        null.p_of_scans(scans[:, :1])
    with pytest.raises(DataError, match="redrawn"):
        null.p_against_truth(images[:1], NULL_DRAWS)


def test_a_small_change_is_seen_by_the_local_statistic_most():
    images = outputs(1 + NULL_DRAWS + 8, 6)
    null = NullOutputs(images[0], images[1 : 1 + NULL_DRAWS], seed=1)
    spot = torch.zeros(24, 24)
    spot[10:14, 2:6] = 45.0  # where the noise is low
    ratio = np.exp(null.statistics(images[-8:] + spot) - null.statistics(images[-8:])).mean(0)
    assert ratio[0] > 1.5 and ratio[0] > max(ratio[3], 1.0)
    assert null.p_values((images[-8:] + spot)[None])[0] <= ALPHA
    assert (null.p_values((images[-8:] - spot)[None]) <= ALPHA).all()  # whichever its sign


def test_anatomies_are_compatible_as_far_as_their_scans_fit():
    """Three that are y itself, one that holds a lesion; a lesion is told, scans of y are not."""
    images = outputs(1 + NULL_DRAWS + 4 * 8 + 12, 9)
    null = NullOutputs(images[0], images[1 : 1 + NULL_DRAWS], seed=1)
    lesion = Lesion(contrast=60.0, radius=3.0, place=(0.0, 0.0)).on(GRID)
    xprime = images[1 + NULL_DRAWS :][:32].reshape(4, 8, *GRID.shape).clone()
    ybar = torch.stack([torch.zeros(GRID.shape), 0.2 * lesion, 0.1 * lesion, lesion])
    xprime[3] += lesion
    found = compatibility(
        null, xprime=xprime, ybar=ybar, y=torch.zeros(GRID.shape), with_lesion=images[-12:] + lesion
    )
    assert found.p[3] == 1 / (1 + NULL_DRAWS) and (found.p[:3] > ALPHA).all()
    assert (found.share.value, found.share.count) == (0.75, 4) and found.most_different == [1, 2, 0]
    assert found.level.count == 32 and found.level.value <= 5 / 32  # 1.6 at 5 %
    assert (found.power.value, found.power.count) == (1.0, 12)
    assert (found.null_draws, found.draws) == (NULL_DRAWS, 8)


def test_p_counts_the_output_itself():
    """No output is less probable than one in as many as there are, itself among them."""
    images = outputs(19 + 4, 8)
    null = NullOutputs(images[0] + 500.0, images[:19], seed=1)
    assert null.p_values(images[None, 19:]).tolist() == [1 / 20]
    assert null.p_of_scans(images[None, 19:]).min() >= 1 / 20


@pytest.mark.slow
def test_p_of_the_true_anatomy_is_uniform_over_many_patches_of_scans():
    """245 patches of five phantoms, Chen's output at 10 mAs: as the synthetic noise above."""
    from analysis.numbers import apply
    from analysis.scanner.low_dose import low_dose_slices
    from ctxai import SHIPPED
    from recon.geometry import flash_axial
    from recon.phantom import random_slice

    f, _ = SHIPPED.load("chen")
    grid, draws, p = ImageGrid(shape=(168, 168), spacing=(2.0, 2.0)), 8, []
    for k in range(5):
        y = random_slice("abdomen", seed=k, grid=grid)
        x = low_dose_slices(
            np.stack([y] * (1 + NULL_DRAWS + draws)), grid.spacing, mas=10.0, kvp=120.0,
            slice_thickness=1.5, seed=k, geometry=flash_axial(views=288),
        )  # fmt: skip
        out = apply(f, torch.from_numpy(x))
        for row, col in np.ndindex(7, 7):
            images = out[:, 24 * row : 24 * row + 24, 24 * col : 24 * col + 24]
            null = NullOutputs(images[0], images[1 : 1 + NULL_DRAWS], seed=k)
            p += null.p_values(images[None, 1 + NULL_DRAWS :]).tolist()
    assert len(p) == 245
    assert 0.03 <= np.mean(np.array(p) <= ALPHA) <= 0.07
    assert kstest(p, "uniform").pvalue > 0.01


def test_most_different_are_compatible_ones_in_order():
    y = torch.zeros(4, 4)
    ybar = torch.stack([y + c for c in (1.0, 9.0, 3.0, 5.0)])
    assert most_different(ybar, y, np.array([0.5, 0.01, 0.2, 0.9]), count=2) == [3, 2]
    with pytest.raises(DataError, match="redrawn"):
        NullOutputs(y, ybar, seed=1)


def test_noise_makes_no_anatomy_differ():
    """A grain of 40 HU weighs less than an organ that is off by 5 HU."""
    y = torch.zeros(16, 16)
    grain = 40.0 * ((torch.arange(16)[:, None] + torch.arange(16)) % 2 * 2.0 - 1.0)
    organ = torch.zeros(16, 16)
    organ[4:12, 4:12] = 5.0
    assert most_different(torch.stack([grain, organ]), y, np.array([0.5, 0.5])) == [1, 0]


def test_the_script_refuses_bad_input_in_one_line(tmp_path, capsys, monkeypatch):
    script = runpy.run_path(str(Path(__file__).parents[2] / "scripts/target_domain_study.py"))
    words = ["study", "--images", str(tmp_path / "none"), "--out", str(tmp_path / "out")]
    monkeypatch.setattr(sys, "argv", words)
    assert script["main"]() == 2
    assert "none" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    words[1:3] = ["--phantom", "head", "--mas", "-1"]
    monkeypatch.setattr(sys, "argv", words)
    assert script["main"]() == 2
    assert "-1" in capsys.readouterr().err

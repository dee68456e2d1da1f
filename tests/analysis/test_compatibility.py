"""The test of compatibility: right under the null hypothesis, and able to see a lesion."""

import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from scipy.stats import kstest

from analysis.lesions.lesion import Lesion
from analysis.target_domain.compatibility import ALPHA, NULL_DRAWS, NullOutputs, most_different
from recon.errors import DataError
from recon.geometry import ImageGrid

GRID = ImageGrid(shape=(24, 24), spacing=(1.0, 1.0))
REPEATS, GROUPS = 100, 5
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
    """500 anatomies: 5 ± 1 % are rejected at 5 %, and p is uniform within its scatter."""
    p = null_hypothesis(draws)
    assert abs(np.mean(p <= ALPHA) - ALPHA) < 4 * (ALPHA * (1 - ALPHA) / len(p)) ** 0.5
    assert kstest(p, "uniform").pvalue > FOUR_SIGMA


def test_power_rises_with_contrast():
    """On average over 32 outputs: what one of them shows at 20 HU hangs on its own noise there."""
    contrasts, told = (0.001, 20.0, 60.0), []
    for repeat in range(32):
        images = outputs(1 + NULL_DRAWS + 4 * 4, 1000 + repeat)
        null = NullOutputs(images[0], images[1 : 1 + NULL_DRAWS], seed=1)
        scans = images[1 + NULL_DRAWS :].reshape(4, 4, *GRID.shape)
        lesions = (Lesion(contrast=c, radius=3.0, place=(-6.0, 0.0)).on(GRID) for c in contrasts)
        told.append([np.mean(null.p_values(scans + lesion) <= ALPHA) for lesion in lesions])
    power = np.mean(told, 0)  # measured .05, .57 ± .07 and 1
    assert power[0] < 0.2 < power[1] < 0.9 < power[2]


def test_a_small_change_is_seen_by_the_local_statistic_alone():
    images = outputs(1 + NULL_DRAWS + 8, 6)
    null = NullOutputs(images[0], images[1 : 1 + NULL_DRAWS], seed=1)
    spot = torch.zeros(24, 24)
    spot[10:14, 2:6] = 45.0  # where the noise is low
    before, after = null.statistics(images[-8:]), null.statistics(images[-8:] + spot)
    assert (after[:, 0] / before[:, 0]).mean() < 1.35
    assert (after[:, 1] / before[:, 1]).mean() > 1.5
    assert null.p_values((images[-8:] + spot)[None])[0] <= ALPHA


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
    words[1:3] = ["--phantom", "head", "--mas", "300"]
    monkeypatch.setattr(sys, "argv", words)
    assert script["main"]() == 2
    assert "1 to 200 mAs" in capsys.readouterr().err

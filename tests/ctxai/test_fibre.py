"""Fibre projection against closed forms: linear filters, whose row and null space are known."""

import numpy as np
import pytest
import torch
from tolerances import FIBRE
from torch import nn
from torch.nn import functional as F

from ctxai.sampling.fibre import _gauss_newton_step, project_to_fibre
from recon.errors import DataError


def low_pass(x):
    """2×2 means: the row space is constant on the blocks, the null space sums to 0 in each."""
    return F.avg_pool2d(x, 2)


def block_mean(x):
    return F.interpolate(low_pass(x), scale_factor=2)


def images(n, side, *, seed, scale=100.0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(n, 1, side, side, generator=generator, dtype=dtype)


def rms(values):
    return values.flatten(1).square().mean(1).sqrt()


def test_linear_filter_moves_the_row_space_and_nothing_else():
    anchor, start = images(1, 32, seed=1), images(6, 32, seed=2)
    z = low_pass(anchor)
    result = project_to_fibre(low_pass, start, z, tolerance=0.5, anchor=anchor)
    assert result.converged.all() and not result.pulled.any()
    assert (rms(low_pass(result.x) - z) <= 0.5).all()
    assert torch.allclose(result.residual, rms(low_pass(result.x) - z), atol=1e-4)
    moved = result.x - start
    assert (moved - block_mean(moved)).abs().max() < FIBRE["null space moved [HU]"]
    needed = block_mean(anchor - start)  # the closed form at tolerance 0
    assert (rms(moved - needed) <= 0.5 + 1e-3).all()


def test_damped_step_is_the_closed_form():
    """The step on a diagonal operator is ``Jᵀ(JJᵀ + λ)⁻¹ r``; it stops where that is enough."""
    gain = torch.tensor([3.0, 1.0, 0.5, 0.1, 3.0, 1.0, 0.5, 0.1], dtype=torch.float64)
    gain = gain.reshape(1, 1, 2, 4) / 3.0

    def times(w):
        return gain * w

    residual = images(2, 4, seed=3, dtype=torch.float64)[:, :, :2]
    for damping in (0.03, 1e-12):
        step, left = _gauss_newton_step(times, times, residual, torch.zeros(2), damping, 8)
        expected = gain * residual / (gain**2 + damping)
        assert (step - expected).abs().max() < FIBRE["damped step [HU]"] * 1e3
        assert (left - rms(residual - times(step))).abs().max() < FIBRE["damped step [HU]"] * 1e3
    enough = 0.7 * rms(residual)
    early, left = _gauss_newton_step(times, times, residual, enough, 0.03, 8)
    assert (rms(residual - times(early)) <= enough).all()
    assert torch.allclose(rms(residual - times(early)), left)
    assert (rms(early) < rms(gain * residual / (gain**2 + 0.03))).all()


def test_no_damping_and_any_tolerance_reach_the_closed_form():
    """A diagonal operator of any unit: with λ → 0 the iteration ends at z divided by the gains."""
    gain = 1e4 * torch.tensor([3.0, 1.0, 0.5, 0.1, 3.0, 1.0, 0.5, 0.1], dtype=torch.float64)
    gain = gain.reshape(1, 1, 2, 4)
    start = images(1, 4, seed=3, dtype=torch.float64)[:, :, :2]
    z = gain * images(1, 4, seed=4, dtype=torch.float64)[:, :, :2]
    # z is some 1e6, which 64 bits hold to 1e-10; the smallest gain, 1e3, makes 1e-9 of this
    tolerance, reached = 1e-6, start
    for _ in range(3):  # ten steps each, which leave .3 of the residual or less: 6e-6 a call
        exact = project_to_fibre(lambda x: gain * x, reached, z, tolerance=tolerance, damping=1e-12)
        reached = exact.x
    assert exact.converged.all()
    assert (reached - z / gain).abs().max() < FIBRE["damped step [HU]"] * 1e3


KERNEL = np.outer([1.0, 3.0, 3.0, 1.0], [1.0, 2.0, 1.0, 0.0]) / 32.0
"""A blur that also shifts, blind to the highest frequency along rows and along columns."""


def fir(x):
    """A linear denoiser: periodic convolution, so that Fourier modes are its singular vectors."""
    kernel = torch.tensor(KERNEL, dtype=x.dtype).reshape(1, 1, 4, 4)
    return F.conv2d(F.pad(x, (1, 2, 1, 2), mode="circular"), kernel)


def test_fir_of_64_ends_on_the_fibre_and_keeps_what_it_cannot_see():
    anchor, start = images(1, 64, seed=6, scale=40.0), images(4, 64, seed=7, scale=40.0)
    z = fir(anchor)
    result = project_to_fibre(fir, start, z, tolerance=0.1, anchor=anchor)
    assert result.converged.all() and not result.pulled.any()
    assert (rms(fir(result.x) - z) <= 0.1).all()

    gain = torch.fft.fft2(torch.tensor(KERNEL), s=(64, 64)).abs()
    before, after, aim = (torch.fft.fft2(x.double())[:, 0] for x in (start, result.x, anchor))
    blind, clear = gain < 1e-6, gain > 0.3
    assert blind.sum() >= 127  # one row and one column of frequencies at least
    kept = (after - before).abs()[:, blind].max() / 64
    assert kept < FIBRE["null space moved [HU]"]
    arrived = (after - aim)[:, clear].abs().square().mean().sqrt() / 64
    assert arrived < 0.1 / 0.3  # a residual of 0.1 HU divided by the smallest of these gains


def test_tolerance_of_each_sample_and_order_do_not_matter():
    anchor, start = images(1, 32, seed=8), images(5, 32, seed=9)
    tolerance = torch.tensor([0.3, 1.0, 3.0, 10.0, 30.0])
    z = fir(anchor)
    together = project_to_fibre(fir, start, z, tolerance=tolerance, anchor=anchor)
    assert (rms(fir(together.x) - z) <= tolerance).all()
    chunked, single = (
        project_to_fibre(fir, start, z, tolerance=tolerance, anchor=anchor, chunk=chunk)
        for chunk in (2, 1)
    )
    alone = torch.cat(
        [
            project_to_fibre(fir, s[None], z, tolerance=float(t), anchor=anchor).x
            for s, t in zip(start, tolerance)
        ]
    )
    for other in (chunked.x, single.x, alone):
        gap = (together.x - other).abs().max()
        assert gap < FIBRE["batched against one by one [HU]"]


def test_layer_of_any_scale_gives_the_same_images():
    anchor, start = images(1, 32, seed=10), images(2, 32, seed=11)
    plain = project_to_fibre(fir, start, fir(anchor), tolerance=1.0, anchor=anchor)
    scaled = project_to_fibre(
        lambda x: 1e-4 * fir(x), start, 1e-4 * fir(anchor), tolerance=1e-4, anchor=anchor
    )
    assert (plain.x - scaled.x).abs().max() < 0.05


def test_sample_on_the_fibre_stays_untouched():
    anchor = images(1, 32, seed=12)
    result = project_to_fibre(fir, anchor, fir(anchor), tolerance=0.1, anchor=anchor)
    assert torch.equal(result.x, anchor)


def test_relu_network_reaches_its_fibre_by_its_own_steps():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 4, 3, padding=1))

    def phi(x):
        return net(x / 100.0)

    anchor = images(1, 16, seed=13)
    start = anchor + images(4, 16, seed=14, scale=30.0)
    with torch.no_grad():
        z = phi(anchor)
        before = rms(phi(start) - z)
    result = project_to_fibre(phi, start, z, tolerance=0.1 * before, anchor=anchor)
    assert (result.residual <= 0.1 * before).all()
    assert not result.pulled.any()
    assert not result.x.requires_grad


def test_what_cannot_be_reached_is_pulled_to_the_anchor():
    """A staircase has no derivative: only the segment to the anchor leads back."""
    anchor, start = images(1, 8, seed=15), images(3, 8, seed=16)

    def staircase(x):
        return torch.round(x / 10.0)

    z = staircase(anchor)
    result = project_to_fibre(staircase, start, z, tolerance=1.0, anchor=anchor)
    assert result.pulled.all() and not result.converged.any()
    assert (rms(staircase(result.x) - z) <= 1.0).all()
    travelled = rms(result.x - anchor) / rms(start - anchor)
    assert ((travelled > 0.02) & (travelled < 0.9)).all()  # not simply replaced by the anchor
    without = project_to_fibre(staircase, start, z, tolerance=1.0)
    assert not without.converged.any() and not without.pulled.any()


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"tolerance": 0.0}, "tolerance"),
        ({"tolerance": -1.0}, "tolerance"),
        ({"damping": 0.0}, "damping"),
        ({"chunk": 0}, "chunk"),
        ({"z": torch.zeros(1, 1, 7, 7)}, "representation"),
        ({"anchor": 5e3 + torch.zeros(1, 1, 8, 8)}, "anchor"),
    ],
)
def test_bad_input_is_refused(change, word):
    arguments = {"x": images(2, 8, seed=1), "z": torch.zeros(1, 1, 4, 4), "tolerance": 1.0}
    arguments |= change
    x, z = arguments.pop("x"), arguments.pop("z")
    with pytest.raises(DataError, match=word):
        project_to_fibre(low_pass, x, z, **arguments)

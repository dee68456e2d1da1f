"""Curves, spectra, ranks, latents and the evidence of a layer, where the answer is known."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from analysis.fidelity.curve import DiversityCurve, diversity_curve
from analysis.fidelity.evidence import LayerEvidence
from analysis.fidelity.statistics import (
    deviation_by_scale,
    fixed_features,
    joint_rank,
    latent_figures,
    miss_relative_to_sd,
    noise_power_ratio,
    rank_histogram,
)
from analysis.fidelity.verdict import Evidence, SampleNumbers, judge_invariances
from analysis.numbers import Spread, ideal_coverage
from analysis.report.wording import sample_words
from ctxai.representation.cinn import ConditionalINN
from ctxai.representation.linear import LinearAutoencoder
from ctxai.representation.vae import VAE
from ctxai.sampling.model import InvarianceModel
from ctxai.sampling.placed import PlacedModel
from ctxai.wiretap.wiretap import Wiretap
from recon.errors import DataError

# 60 images × 40 samples of white noise in rings of 20 pixels and more: 3 %, three times
SPECTRUM = 0.1
# what a tolerance takes from each pixel of a block: sums of 4 pixels in float32, 16 samples
CURVE = 0.02
# four standard errors, of eight features: χ² of 9 degrees of freedom below 40 for 500 images,
# which finds what χ² below 22 (p > .01) finds of 200
FLAT = 6.3e-5 / 8


def normal(*shape, seed=1):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def low_pass(x):
    """2×2 means, as large as the image: 3 of 4 dimensions are unseen."""
    return F.interpolate(F.avg_pool2d(x, 2), scale_factor=2)


def test_curve_of_a_linear_layer_is_the_closed_form():
    """What 2×2 means do not see stays; what they see shrinks to the tolerance."""
    x, starts = 50.0 * normal(16, 16), 50.0 * normal(16, 16, 16, seed=2)
    curve = diversity_curve(low_pass, x, starts, (1.0, 4.0, 8.0))
    assert curve.tolerance == [1.0, 4.0, 8.0] and curve.pulled == [0, 0, 0]
    assert all(c <= t for c, t in zip(curve.consistency, curve.tolerance))
    unseen = starts - low_pass(starts[:, None])[:, 0]
    apart = float(unseen.double().var(0).mean().sqrt())
    for tolerance, sd in zip(curve.tolerance, curve.sd, strict=True):
        # each seen component keeps at most its residual, and those differ between samples
        most = (apart**2 + (tolerance * 1.2) ** 2) ** 0.5
        assert apart * (1 - CURVE) < sd < most
    assert curve.sd == sorted(curve.sd)
    assert curve.sd[0] < curve.sd_at(curve.consistency[1]) == pytest.approx(curve.sd[1])


def test_curve_is_read_only_where_it_was_measured():
    curve = DiversityCurve([1.0, 3.0], [0.9, 2.7], [10.0, 13.0], [0, 0])
    assert curve.sd_at(1.8) == pytest.approx(11.5)
    with pytest.raises(DataError, match="not measured there"):
        curve.sd_at(3.0)
    with pytest.raises(DataError, match="at least 2"):
        diversity_curve(low_pass, torch.zeros(4, 4), torch.zeros(1, 4, 4))


def test_samples_that_no_tolerance_held_back_keep_their_spread():
    """They reach 4 HU where 12 are allowed: from there to 12 HU their spread is their own."""
    curve = DiversityCurve([1.0, 6.0, 12.0], [0.9, 3.8, 4.0], [10.0, 12.0, 13.0], [0, 0, 0])
    assert curve.sd_at(8.0) == curve.sd_at(12.0) == 13.0
    with pytest.raises(DataError, match="not measured there"):
        curve.sd_at(12.1)


def test_spectrum_tells_smooth_samples_from_noise():
    noise = normal(60, 48, 48)
    same = noise_power_ratio(normal(40, 48, 48, seed=2), noise)
    assert (same - 1.0).abs().max() < SPECTRUM * 2
    blurred = F.avg_pool2d(normal(40, 52, 52, seed=3), 5, 1)
    ratio = noise_power_ratio(blurred, noise)
    assert ratio[0] > 5 * ratio[2] and ratio[-1] < 0.1


def test_ranks_of_exact_samples_are_flat_and_of_narrow_or_shifted_ones_are_not():
    features = fixed_features((24, 24))
    images = normal(500, 25, 24, 24, seed=4)
    read = torch.einsum("fhw,inhw->inf", features, images)
    exact = rank_histogram(read[:, 0], read[:, 1:], seed=1)
    assert exact.counts.shape == (8, 10) and (exact.counts.sum(1) == 500).all()
    assert (exact.p > FLAT).all()
    narrow = rank_histogram(read[:, 0], 0.5 * read[:, 1:], seed=1)
    shifted = rank_histogram(read[:, 0], read[:, 1:] + 0.7, seed=1)
    assert (narrow.p < 1e-4).all() and (shifted.p < 1e-4).all()
    ends = narrow.counts[:, [0, -1]].sum(1)
    assert (ends > narrow.counts[:, 4:6].sum(1)).all()
    with pytest.raises(DataError, match="too few images"):
        rank_histogram(read[:20, 0], read[:20, 1:], seed=1)


def test_ties_count_as_flat():
    same = rank_histogram(torch.zeros(500, 1), torch.zeros(500, 24, 1), seed=1)
    assert same.p[0] > FLAT


def model_of(f, layer="output", side=16):
    torch.manual_seed(0)
    vae = VAE(shape=(side, side), latent=6, widths=(8,), scale=100.0)
    tap = Wiretap(f, layer)
    shape = tuple(tap.phi(torch.zeros(1, 1, side, side)).shape[1:])
    cinn = ConditionalINN(latent=6, condition_shape=shape, blocks=2, hidden=8, embedding=4)
    return InvarianceModel(wiretap=tap, vae=vae, cinn=cinn)


def test_latents_that_the_flow_maps_to_normal_numbers_are_called_normal():
    model = model_of(low_pass)
    x = 100.0 * normal(300, 1, 16, 16)
    with torch.no_grad():
        latent = model.vae.encode(x).loc
        model.cinn.fit_scales(latent, low_pass(x))
        before = latent_figures(model, model.represent(x), x, seed=1)
    assert before.inversion < 1e-4
    assert abs(before.mean) < 0.3 and before.ks < 0.5
    far = latent_figures(model, model.represent(x), 10.0 * x, seed=1)
    assert far.ks > before.ks and far.sd > 2 * before.sd


def evidence_of(f, *, facts=None, **change):
    x = 50.0 * normal(16, 16)
    given = {"layer": "output", "tolerance_hu": 3.0, "seed": 1} | change
    redrawn = x + 40.0 * normal(14, 16, 16, seed=5)
    model = model_of(f, given["layer"])
    model.facts |= facts or {}
    return x, LayerEvidence(PlacedModel.alone(model, x), redrawn, **given)


def judged(*spreads, **numbers):
    """A verdict on samples as data, and in words."""
    found = SampleNumbers(*spreads, **numbers)
    verdict = judge_invariances(found)
    return verdict, sample_words(found, verdict)


def test_evidence_of_a_low_pass():
    """Deviations that 2×2 means do not see are near-null altogether, smooth ones not at all."""
    x, layer = evidence_of(low_pass)
    assert layer.noise.dimension == pytest.approx(192, abs=12)
    fine = normal(6, 16, 16, seed=7)
    fine = 60.0 * (fine - low_pass(fine[:, None])[:, 0])
    unseen = layer.of(x + fine, projected=True)
    seen = layer.of(x + low_pass(fine[:, None].abs())[:, 0])
    assert unseen.energy == pytest.approx(1.0, abs=1e-3) and unseen.gain < 1e-3
    assert seen.energy < 1e-3 and seen.gain == pytest.approx(1.0, rel=1e-3)
    assert unseen.white_energy == pytest.approx(0.75, abs=0.05) and not unseen.injective
    # the reference keeps the unseen 3/4 of 40 HU of noise; 60 HU are 1.5 times as much
    assert layer.reference.sd == pytest.approx(40.0 * 0.75**0.5, rel=0.1)
    assert unseen.sd_ratio == pytest.approx(1.5, rel=0.15)
    assert unseen.dimension == pytest.approx(192, abs=12)
    assert layer.latents.inversion < 1e-3
    assert len(unseen.noise_power) == len(seen.noise_power) == 5


@pytest.mark.parametrize(("kept", "incomplete"), [(2, True), (16, False)])
def test_an_incomplete_autoencoder_is_called_incomplete(kept, incomplete):
    """128 of 256 numbers of white noise lose half of its variance, and what f sees of that."""
    x, redrawn = 50.0 * normal(16, 16), 50.0 * normal(14, 16, 16, seed=5)
    linear = LinearAutoencoder(shape=(16, 16), kept=kept, scale=100.0)
    tap = Wiretap(low_pass, "output")
    cinn = ConditionalINN(
        latent=linear.latent, condition_shape=(1, 16, 16), blocks=1, hidden=4, embedding=4
    )
    model = InvarianceModel(wiretap=tap, vae=linear, cinn=cinn)
    placed = PlacedModel.alone(model, x)
    layer = LayerEvidence(placed, redrawn, layer="output", tolerance_hu=3.0, seed=1)
    lost = 50.0 * (1 - kept / 16) ** 0.5
    assert layer.rebuilt["rebuilt [HU]"] == pytest.approx(lost, rel=0.05, abs=1e-3)
    found = layer.of(x + normal(3, 16, 16))
    assert (found.rebuilt_change > 3.0) == incomplete
    spread = Spread(2.9, 2.0, 3.0, 24)
    _, words = judged(spread, spread, covered=0.8, tolerance_hu=3.0, evidence=found)
    assert any("autoencoder is incomplete" in reason for reason in words.reasons) == incomplete


def test_a_deviation_is_parted_by_scale():
    """The parts of a sum of three waves are the waves; the squares add up to the variance."""
    step = torch.arange(64) * 2 * torch.pi
    amplitudes = {"noise": (3.0, 20), "tissue": (5.0, 8), "organ": (11.0, 2)}
    wave = sum(a * torch.sin(step * k / 64) for a, k in amplitudes.values()).expand(64, 64)
    parts = deviation_by_scale(torch.stack([wave, -wave]))
    for name, (amplitude, _) in amplitudes.items():  # a sine's rms, and two samples' n - 1
        assert parts[name] == pytest.approx(amplitude, rel=1e-4)
    white = deviation_by_scale(normal(40, 32, 32))
    assert sum(part**2 for part in white.values()) == pytest.approx(
        float(normal(40, 32, 32).var(0).mean()), rel=1e-4
    )


def test_the_joint_rank_of_exact_samples_is_uniform():
    """200 images of correlated texture: Kolmogorov–Smirnov below 2.2/√200 at four sigma."""
    images = F.avg_pool2d(normal(200, 20, 12, 12, seed=6), 3, 1)

    def ranks(scale, shift=0.0):
        return torch.tensor([joint_rank(one[0], scale * one[1:] + shift) for one in images])

    def off(values):
        steps = torch.arange(1, 201) / 200
        return float((values.sort().values - steps).abs().max())

    assert off(ranks(1.0)) < 0.156
    # the mean of 200 ranks scatters by .02 around ½ where samples are exact
    assert float(ranks(0.8).mean()) > 0.6 and float(ranks(1.25).mean()) < 0.4
    assert float(ranks(1.0, shift=0.5).mean()) > 0.6


@pytest.mark.parametrize("scale", [0.5, 1.0, 2.0])
def test_the_miss_relative_to_the_spread(scale):
    draws = normal(25, 64, 64, seed=8)
    expected = ((1 + scale**2 / 24) / (scale**2 * (1 + 1 / 24))) ** 0.5
    assert miss_relative_to_sd(scale * draws[1:], draws[0]) == pytest.approx(expected, rel=0.06)


@pytest.mark.parametrize(("active", "alarm"), [(0, True), (6, False)])
def test_active_dimensions_are_told_and_a_collapse_is_a_reason(active, alarm):
    x, layer = evidence_of(low_pass, facts={"active_dimensions": active})
    assert layer.active == active
    found = layer.of(x + normal(3, 16, 16))
    spread = Spread(2.9, 2.0, 3.0, 24)
    _, words = judged(spread, spread, covered=0.8, evidence=found)
    assert any(f"collapsed: {active} of 6" in reason for reason in words.reasons) == alarm


def test_a_layer_that_keeps_everything_is_as_good_as_injective():
    net = nn.Sequential(nn.Conv2d(1, 2, 1), nn.ReLU(), nn.Conv2d(2, 1, 1)).requires_grad_(False)
    with torch.no_grad():  # x = relu(x) - relu(-x)
        net[0].weight.copy_(torch.tensor([1.0, -1.0]).reshape(2, 1, 1, 1))
        net[0].bias.zero_()
        net[2].weight.copy_(torch.tensor([1.0, -1.0]).reshape(1, 2, 1, 1))
        net[2].bias.zero_()
    x, layer = evidence_of(net, layer="1")
    found = layer.of(x + normal(3, 16, 16))
    assert found.injective and found.dimension == 0 and layer.reference is None
    noise = Spread(35.0, 30.0, 40.0, 24)
    for distance, holds in ((30.0, True), (60.0, False)):
        spread = Spread(distance, distance, distance, 24)
        verdict, words = judged(spread, noise, covered=0.8, evidence=found)
        assert verdict.kind == "injective" and verdict.holds == holds
        assert words.label == "as good as injective"
        assert any("0 of 256 dimensions" in reason for reason in words.reasons)


def test_the_verdict_weighs_the_spread_at_equal_tolerance():
    spread, noise = Spread(2.9, 2.0, 3.0, 24), Spread(35.0, 30.0, 40.0, 24)
    facts = {"energy": 0.8, "gain": 0.1, "white_energy": 0.5, "white_gain": 0.4}
    facts |= {"dimension": 2000.0, "entries": 4096}
    for ratio, width, label in (
        (0.9, "right", "invariances"),
        (0.2, "too_narrow", "invariances, but too narrow"),
        (2.1, "too_wide", "invariances, but too wide"),
    ):
        evidence = Evidence(**facts, sd_ratio=ratio)
        verdict, words = judged(
            spread, noise, covered=ideal_coverage(24), tolerance_hu=3.0, evidence=evidence
        )
        assert (verdict.kind, verdict.spread) == ("invariances", width)
        assert words.label == label and verdict.holds
        assert any(f"{ratio:.2f} times" in reason for reason in words.reasons)


def test_a_reference_that_was_pulled_towards_x_judges_no_spread():
    """Of scans that Gauss–Newton does not bring to the fibre, the spread says nothing."""
    x, layer = evidence_of(lambda x: x.clamp(-30.0, 30.0))  # no derivative beyond, and no way back
    assert layer.reference.pulled > 1 and not layer.reference.converged
    found = layer.of(x + 40.0 * normal(6, 16, 16), projected=True)
    assert found.sd_ratio is None
    assert (found.reference_pulled, found.reference_count) == (layer.reference.pulled, 8)
    spread, noise = Spread(2.9, 2.0, 3.0, 24), Spread(35.0, 30.0, 40.0, 24)
    verdict, words = judged(
        spread, noise, covered=ideal_coverage(24), tolerance_hu=3.0, evidence=found
    )
    assert verdict.spread == "right"
    assert any(f"{found.reference_pulled} of 8 scans" in reason for reason in words.reasons)
    converged = evidence_of(low_pass)[1]
    assert converged.reference.pulled == 0 and converged.reference.converged
    assert converged.of(x + 40.0 * normal(6, 16, 16), projected=True).reference_pulled == 0

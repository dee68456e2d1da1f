"""Studies with samplers whose truth is known: perfect ones pass, wrong ones are told."""

import pytest
import torch
from tolerances import STUDIES
from torch import nn

from analysis.figures.images import fit_window
from analysis.invariances.study import invariance_study
from analysis.lesions.lesion import Lesion, site_lesion
from analysis.report.alterations import alteration_table, alterations_figure, circle_of
from analysis.report.record import study_of
from analysis.scanner.slice_scanner import SliceScanner, derived_seed
from analysis.target_domain.kalman import KalmanUpdate
from analysis.target_domain.study import target_domain_study
from ctxai.sampling.model import InvarianceModel
from ctxai.wiretap.wiretap import Wiretap
from recon.errors import DataError
from recon.geometry import ImageGrid, flash_axial

MAS = 20.0
COMMON = {"denoiser": "known", "mas": MAS, "progress": False}


@pytest.fixture(scope="module")
def scanner(body):
    grid = ImageGrid(shape=(16, 16), spacing=(1.0, 1.0), centre=(5.0, -4.0))
    return SliceScanner(
        body, (2.0, 2.0), kvp=120.0, slice_thickness=1.5, patch_grid=grid, seed=1,
        geometry=flash_axial(views=288),
    )  # fmt: skip


class Decoder:
    """Stands for a VAE: images made from v by a known law."""

    shape, channels, latent, unit = (16, 16), 1, 6, "HU"

    def __init__(self, law):
        self.law = law

    def decode(self, latent):
        return self.law(latent)[:, None]

    def encode(self, images):
        return torch.distributions.Normal(torch.zeros(len(images), 6), 1.0)


class Passing:
    """Stands for a cINN that leaves v as it is."""

    latent = 6

    def __call__(self, latent, z):
        return latent, torch.zeros(len(latent))

    def inverse(self, v, z):
        return v


@pytest.fixture
def as_drawn(monkeypatch):
    """Anatomies that stay as the sampler draws them: what is looked for in them is known."""
    monkeypatch.setattr(KalmanUpdate, "of_outputs", lambda self, missed: 0.0 * missed)


def known(law, f, domain, layer="output"):
    return InvarianceModel(Wiretap(f, layer), Decoder(law), Passing(), domain)


def smooth(x):
    """A linear denoiser: the mean over 3 × 3 pixels."""
    padded = torch.nn.functional.pad(x, (1, 1, 1, 1), mode="reflect")
    return torch.nn.functional.avg_pool2d(padded, 3, stride=1)


def targets(*args, **how):
    return study_of(target_domain_study(*args, **how))


def invariances(*args, **how):
    return study_of(invariance_study(*args, **how))


def value(study, id, **where):
    rows = [
        row for row in study.metrics
        if row["id"] == id and all(row[k] == w for k, w in where.items())
    ]  # fmt: skip
    assert len(rows) == 1, (id, [row["quantity"] for row in rows])
    return float(rows[0]["value"])


def test_the_true_anatomy_is_a_target_of_itself(scanner):
    truth = known(lambda v: scanner.y.expand(len(v), 16, 16), smooth, "y")
    # with 100 of both, .8 is four standard errors below what the truth gives: .99 and .95
    study = targets(truth, scanner, n=100, draws=4, null_groups=100, seed=2, **COMMON)
    assert study.facts["verdict"]["holds"]
    ratio = value(study, "target_distance_median") / value(study, "truth_distance_median")
    assert abs(ratio - 1) < STUDIES["distance of the truth to itself, rel"]
    assert value(study, "share_inside") > 0.8
    assert value(study, "compatible_share") > 0.8
    power = value(study, "test_power")
    assert 0.0 <= power <= 1.0
    found = study.facts["compatibility"]
    assert found["power_low"] <= power <= found["power_high"]
    _, told, _, rays, _ = study.facts["verdict"]["reasons"][-5:]
    assert f"blindly, in {power:.0%}" in told
    assert "d' 0 to 0" in rays  # the rays of the same anatomy are the same
    assert value(study, "power_expected") <= value(study, "power_bound")
    assert value(study, "lesion_d_output") <= value(study, "lesion_d_rays")
    assert abs(value(study, "power_known") - value(study, "power_expected")) < 0.15
    assert value(study, "test_level") < 0.15  # 400 scans, four of a kind
    assert value(study, "told_one") == 0.0  # there is nothing to tell
    assert value(study, "yardstick_d") > 1.0  # noise alone tells two scans of one anatomy apart
    assert value(study, "alterations") <= 5  # one by chance
    assert value(study, "alterations_hidden") == 0.0
    assert (study.arrays["telling_d"] < 1e-3).all() and (study.arrays["rays_d_organ"] < 1e-3).all()
    assert study.arrays["compatibility_p"].shape == (100,)
    assert value(study, "target_sd") < 1e-3
    xprime, rescanned = study.arrays["xprime"], study.arrays["rescanned"]
    assert xprime.shape == (100, 4, 16, 16)
    again = smooth(torch.from_numpy(rescanned)[:, None])[:, 0].numpy()
    assert abs(xprime[:, 0] - again).max() < 1e-3  # the pictures show what was denoised


def test_another_anatomy_is_told_from_the_truth(scanner):
    """A block of 80 HU in the patch stays in the linear denoiser's output and is seen there."""
    block = torch.zeros(16, 16)
    block[4:12, 4:12] = 80.0
    wrong = known(lambda v: (scanner.y + block).expand(len(v), 16, 16), smooth, "y")
    study = targets(wrong, scanner, n=8, draws=4, seed=2, **COMMON)
    assert not study.facts["verdict"]["holds"]
    assert value(study, "share_inside") == 0.0
    assert value(study, "compatible_share") == 0.0
    assert study.facts["compatibility"]["most_different"] == []
    assert value(study, "target_bias") == pytest.approx(40.0, rel=1e-3)  # 80 HU on a quarter
    assert value(study, "alterations") == 8.0 and value(study, "alterations_hidden") == 0.0
    mean = study.arrays["xprime"].mean((0, 1)) - study.arrays["y"]
    assert 60.0 < mean[6:10, 6:10].mean() < 100.0


def test_the_same_anatomies_are_scanned_at_another_exposure(scanner):
    """They are drawn from f(x) of the first scan: a sampler that copies z shows which it was."""
    copying = known(lambda v: None, smooth, "y")
    copying.generate = lambda v, z: z.expand(len(v), 1, 16, 16)
    how = COMMON | {"mas": 4 * MAS}
    study = targets(copying, scanner, sampled_at=MAS, n=2, draws=2, seed=2, **how)
    first = targets(copying, scanner, n=2, draws=2, seed=2, **COMMON)
    assert (study.arrays["ybar"] == first.arrays["ybar"]).all()
    assert (study.arrays["ybar"][0] == first.arrays["fx"]).all()
    assert study.facts["sampled_at_mas"] == MAS and study.mas == 4 * MAS
    ratio = study.arrays["rays_d"] / first.arrays["rays_d"]
    assert ratio == pytest.approx(2.0, rel=0.02)  # d' ∝ √mAs, but for electronic noise
    assert "drawn for the scan at 20 mAs" in study.facts["verdict"]["reasons"][-1]


def test_an_anatomy_that_looks_like_a_lesion_is_named(scanner, as_drawn):
    lesion = site_lesion(contrast=-90.0, radius=1.5, grid=scanner.patch_grid)
    hidden = lesion.on(scanner.patch_grid)
    noise = 10.0 * torch.randn(5, 16, 16, generator=torch.Generator().manual_seed(3))
    noise[2] += hidden
    like = known(lambda v: scanner.y + noise[: len(v)], smooth, "y")
    study = targets(like, scanner, n=5, draws=1, seed=2, **COMMON)
    assert study.arrays["lesion_likeness"].argmax() == 2
    [row] = [r for r in study.metrics if r["id"] == "lesion_likeness"]
    assert float(row["value"]) > 0.85
    assert row["meaning"].endswith("ȳ 3")  # counted from 1, as in the report


def test_a_lesion_that_the_output_hides_is_found_shown_and_placed(scanner, as_drawn):
    """One ȳ of three has a small lesion, and f is the mean over 9 × 9 pixels, which takes 91 %."""

    def wide(x):
        return torch.nn.functional.avg_pool2d(
            torch.nn.functional.pad(x, (4, 4, 4, 4), mode="reflect"), 9, stride=1
        )

    grid = scanner.patch_grid
    lesion = Lesion(contrast=600.0, radius=1.5, place=(float(grid.x[9]), float(grid.y[6])))
    anatomies = scanner.y.repeat(3, 1, 1)
    anatomies[1] += lesion.on(grid)
    study = targets(
        known(lambda v: anatomies[: len(v)], wide, "y"), scanner, n=3, draws=2, null_groups=3,
        differentiable=True, seed=2, **COMMON,
    )  # fmt: skip
    assert value(study, "alterations") == value(study, "alterations_hidden") == 1.0
    assert value(study, "alteration_p_least") == pytest.approx(1 / 200)
    [row] = [row for row in study.metrics if row["id"] == "alteration_d_largest"]
    assert row["meaning"].endswith("ȳ 2") and float(row["value"]) > 5.0
    assert study.arrays["alteration_d"].argmax() == study.arrays["alteration_p"].argmin() == 1
    first = study.facts["alterations"][0]
    assert first["place_mm"] == pytest.approx(lesion.place) and 300.0 < first["contrast"] < 900.0
    assert circle_of(study, first)[:2] == pytest.approx((6.0, 9.0))
    caption, table = alteration_table(study)
    assert "1 of 3 sampled anatomies alter anatomy" in caption and "hides 1" in caption
    assert (table[0][0], table[0][2]) == ("ȳ 2", "hidden")
    assert {row[2] for row in table[1:]} == {"no alteration"}
    # f passes what is wide and not what is fine
    assert value(study, "gain_lesion_contrast") < value(study, "gain_tissue_density")
    assert value(study, "invisible_noise_level") > value(study, "invisible_tissue_density")
    assert alterations_figure(study, fit_window(study.arrays["y"]))[1:4] == b"PNG"


def test_x_is_not_among_the_scans_it_is_compared_with(scanner):
    same = known(lambda v: scanner.y.expand(len(v), 16, 16), lambda x: x, "y")
    study = targets(same, scanner, n=3, draws=2, null_groups=3, seed=1, **COMMON)
    assert study.arrays["distance"].min() > 5.0
    assert study.arrays["null_distance"].min() > 5.0
    assert (study.arrays["fx"] == study.arrays["x"]).all()  # the identity changes nothing, 0 HU
    assert len(set(study.arrays["distance"].ravel().tolist())) == 6


def fresh_scans(scanner):
    """A perfect sampler for f that sees nothing but the anatomy: other scans of it."""
    scans = scanner.low_dose(MAS, draws=64, seed=derived_seed(99, "samples"))
    return lambda v: scans[: len(v)]


def test_fresh_scans_have_ideal_coverage_and_the_noise_s_distance(scanner):
    model = known(fresh_scans(scanner), smooth, "x")
    study = invariances(
        {"output": model}, scanner, n=25, tolerance_hu=None, redraws=64, seed=1, **COMMON
    )
    ratio = value(study, "output_change_median") / value(study, "redrawn_change_median")
    assert abs(ratio - 1) < STUDIES["distance of fresh scans, rel"]
    assert abs(value(study, "coverage_of_x") - 0.83) < STUDIES["coverage of fresh scans"]
    sd = value(study, "sample_sd") / value(study, "redrawn_sd")
    assert abs(sd - 1) < STUDIES["sd of fresh scans, rel"]
    assert "layer-output/projected" not in study.arrays


def test_projected_samples_keep_the_tolerance_and_share_v(scanner):
    law = fresh_scans(scanner)
    models = {"input": known(law, smooth, "x", "input"), "output": known(law, smooth, "x")}
    study = invariances(
        models, scanner, n=6, projected=4, tolerance_hu=2.0, tolerance=0.5, seed=1, **COMMON
    )
    arrays = study.arrays
    assert (arrays["layer-input/plain"] == arrays["layer-output/plain"]).all()
    assert arrays["layer-output/projected"].shape == (4, 16, 16)
    assert arrays["layer-output/projected_distance"].max() <= 2.0
    assert value(study, "layer_change", layer="input", sampler="VAE_x + cINN, projected") <= 0.5
    verdicts = study.facts["verdicts"]
    assert verdicts["output, projected"]["holds"]


def test_a_tolerance_and_what_it_is_judged_by_are_one_reference(scanner, monkeypatch):
    """Whatever else is redrawn for the output, the layer's reference is drawn once."""
    redraw = type(scanner).redraw

    def uneven(self, count, seed, **how):
        scans = redraw(self, count, seed, **how)
        x = self.low_dose(seed=seed, **how)[0]
        return torch.cat([scans[:16], x + 0.1 * (scans[16:] - x)])

    monkeypatch.setattr(type(scanner), "redraw", uneven)
    f = nn.Sequential(nn.AvgPool2d(3, 1, 1), nn.Identity())
    study = invariances(
        {"0": known(fresh_scans(scanner), f, "x", "0")},
        scanner,
        n=6,
        tolerance_hu=None,
        tolerance=0.3,
        seed=1,
        **COMMON,
    )
    name = {"layer": "0", "sampler": "VAE_x + cINN, projected"}
    assert 0.2 < value(study, "layer_change", **name) <= 0.3


def test_misuse_is_refused(scanner):
    law = lambda v: scanner.y.expand(len(v), 16, 16)
    x_model, y_model = (known(law, smooth, domain) for domain in "xy")
    with pytest.raises(DataError, match="targets"):
        target_domain_study(x_model, scanner, n=1, seed=1, **COMMON)
    with pytest.raises(DataError, match="domain 'x'"):
        invariance_study({"output": y_model}, scanner, n=1, seed=1, **COMMON)
    with pytest.raises(DataError, match="too few"):
        target_domain_study(y_model, scanner, n=1, draws=0, seed=1, **COMMON)
    with pytest.raises(DataError, match="no layer"):
        invariance_study({}, scanner, n=1, seed=1, **COMMON)


def test_untrained_networks_are_measured_and_found_wanting(scanner, untrained):
    """The plain recipe at no budget: whatever it gives is measured and said."""
    model = InvarianceModel(Wiretap(smooth, "output"), *untrained, "x")
    study = invariances({"output": model}, scanner, n=4, seed=1, **COMMON)
    assert not study.facts["verdicts"]["output, plain"]["holds"]
    assert study.facts["verdicts"]["output, projected"]["holds"]

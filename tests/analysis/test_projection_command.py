"""`ctxai projection-domain`: what it leaves behind, and how it refuses."""

import csv
import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
import zarr

from analysis.lesions.lesion import Lesion
from analysis.main import main
from analysis.observers.human import Observed
from analysis.projection_domain import could_hide
from analysis.projection_domain.losses import Estimate
from analysis.projection_domain.pair import Pair, change_detectability
from analysis.projection_domain.readers import Reading, read_images
from analysis.projection_domain.study import projection_study
from analysis.report.lost import hide_table, reader_rows
from analysis.report.pair_figure import projection_figure
from analysis.report.pair_words import table
from analysis.report.record import study_of
from analysis.runs.quantities import BY_ID
from analysis.runs.store import read_run
from analysis.scanner.slice_scanner import SliceScanner
from recon.errors import DataError
from recon.geometry import ImageGrid, flash_axial

LESION = Lesion(contrast=6.0, radius=3.0, place=(22.5, -11.5))


def refusals(said):
    """What a command said on stderr, but for its notes."""
    return [line for line in said.strip().splitlines() if not line.startswith("ctxai: note:")]


@pytest.fixture(scope="module")
def pair(body):
    grid = ImageGrid(shape=(16, 16), spacing=(1.0, 1.0), centre=(22.0, -12.0))
    scanner = SliceScanner(
        body, (2.0, 2.0), kvp=120.0, slice_thickness=1.5, patch_grid=grid, seed=1,
        geometry=flash_axial(views=96),
    )  # fmt: skip
    return Pair(scanner, scanner.y + LESION.on(grid))


@pytest.fixture(scope="module")
def results(pair):
    def smooth(x):
        padded = torch.nn.functional.pad(x, (1, 1, 1, 1), mode="reflect")
        return torch.nn.functional.avg_pool2d(padded, 3, stride=1)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(could_hide, "SIDE", 12)
        return projection_study(
            smooth, pair, denoiser="mean", mas=[2.0, 20.0], full_mas=100.0, draws=20,
            lesion=LESION, seed=2, progress=False,
        )  # fmt: skip


@pytest.fixture(scope="module")
def studies(results):
    return [study_of(result) for result in results]


def test_a_study_says_what_was_there_and_who_lost_it(studies):
    low, high = studies
    stages = low.arrays["stages"]
    assert stages.shape == (4, 7)
    # rays: d' follows the root of the exposure where electronic noise is small
    assert stages[0, 0] / stages[1, 0] == pytest.approx(50**0.5, rel=0.02)
    assert (stages[1] >= stages[2] * 0.999).all() and (stages[1] >= stages[3] * 0.999).all()
    assert low.facts["inequality_holds"]
    assert sum(low.facts["shares_of_full_dose"].values()) == pytest.approx(1.0)
    curve = high.arrays["curve"]
    assert curve.shape[0] == 4 and curve[0, 0] == 1.0 and curve[0, -1] == pytest.approx(100.0)
    assert (curve[1:, 1:] > curve[1:, :-1]).all()  # more dose, more to see
    tau = low.arrays["tolerance_curve"]
    assert (tau[1:, 1:] <= tau[1:, :-1]).all()
    limits = [float(low.facts["detected_at_mas"][k]) for k in ("rays", "image", "output")]
    assert 1.0 < limits[0] <= limits[1] * 1.01 <= limits[2] * 1.02


def test_human_observers_stay_below_the_ideal_one_here(studies):
    """AUC of CHO and NPW against the ideal observer of the rays, within their intervals."""
    rows = [row for s in studies for row in s.metrics if "_auc_" in row["id"]]
    assert len(rows) == 8
    for row in rows:
        low = float(row["meaning"].split("interval ")[1].split(" to ")[0])
        assert low <= float(row["should_be"].split()[2].rstrip(",")) + 0.01
        assert 0.4 < float(row["value"]) <= 1.0


def human(d, auc, width=0.0):
    """An observer's numbers with intervals of a half-width."""
    return Observed(d, (d - width, d + width), auc, (auc - width, min(1.0, auc + width)))


@pytest.mark.parametrize(
    ("seen", "best", "above"),
    [
        (human(2.0, 0.92, 0.1), 1.0, True),
        (human(2.0, 0.92, 0.1), 1.95, False),  # within the interval
        (human(0.5, 0.64, 0.1), 1.0, False),
        (human(4.5, 1.0), 5.0, False),  # all ranked correctly: no width, and above auc(5)
        (human(5.5, 1.0), 5.0, True),
    ],
)
def test_a_human_observer_above_the_ideal_one_is_flagged(
    seen, best, above, pair, results, monkeypatch
):
    monkeypatch.setattr("analysis.projection_domain.readers.observe", lambda *_, **__: seen)
    readings, _ = read_images(lambda x: x, pair, 2.0, 12, 1)
    stages = results[0].stages.copy()
    stages[1, 0] = best
    assert replace(results[0], readings=readings, stages=stages).human_below_ideal is not above


def test_the_words_say_whether_human_observers_can_be_right(results, studies):
    assert all(study.facts["human_below_ideal"] for study in studies)
    told = studies[0].facts["verdict"]
    assert told["holds"] and any("none of them is above" in reason for reason in told["reasons"])
    impossible = [Reading(r.reader, r.stage, human(1e3, 1.0)) for r in results[0].readings]
    told = study_of(replace(results[0], readings=impossible)).facts["verdict"]
    assert not told["holds"] and any("one of them is above" in reason for reason in told["reasons"])


def test_shares_of_what_reached_a_stage_are_beside_those_of_the_full_dose(studies):
    for study in studies:
        rows = {row["id"]: float(row["value"]) for row in study.metrics}
        _, rays, image, output = study.arrays["stages"][:, 0]
        for stage, before, behind in (("reconstruction", rays, image), ("network", image, output)):
            share = 1 - behind**2 / before**2
            lost = rows[f"lost_share_{stage}"]
            assert lost == pytest.approx(share, rel=1e-3)
        told = f"network lost {100 * share:.2g} % of what reached it"
        assert told in study.facts["verdict"]["sentence"]
        assert f"network lost {share:.1%} of what reached it" in table(study)
        # hardly anything of the full dose reaches it: by that measure it could not lose much
        assert lost > 4 * rows["full_dose_share_network"]


def test_a_lesion_is_recovered_and_costs_something_to_hide(studies):
    """The mean over 3 × 3 pixels keeps the contrast of a core of radius 2.5 but for its edge."""
    for study in studies:
        rows = {row["id"]: row for row in study.metrics}
        image, output = (
            float(rows[f"contrast_recovery_{s}"]["value"]) for s in ("image", "output")
        )
        assert 0.75 < output < image < 1.05
        assert study.facts["hidden"]
        own, cost = rows["hidden_lesion_d"], rows["hiding_cost"]
        assert float(own["value"]) == pytest.approx(study.arrays["tolerance_curve"][1, 0], rel=1e-3)
        assert 0.5 < float(cost["value"]) / float(own["value"]) < 1.0
        tau = float(cost["meaning"].split("τ = ")[1].split(" HU")[0])
        assert 0.0 < tau < 0.1 * LESION.contrast and "τ = 0.1 HU" in own["meaning"]


def test_table_and_picture(studies):
    text = table(studies[0])
    assert "there: rays at 100 mAs" in text and "left by mean" in text and "d' = 2.77" in text
    assert len(text.splitlines()) == 8
    assert projection_figure(studies[0], spacing=1.0)[1:4] == b"PNG"


def test_two_readers_say_who_lost_the_lesion(results, studies):
    """The chain of the study, its rows, and the table of the report hold the same numbers."""
    for result, study in zip(results, studies, strict=True):
        rows = {row["id"]: row for row in study.metrics}
        ideal, reader = result.chains
        assert (ideal.observer, reader.observer) == ("ideal", "cho")
        for chain in result.chains:
            k = chain.tolerances.index(result.tolerance_hu)
            found = {
                name: float(rows[f"chain_{chain.observer}_{name}"]["value"])
                for name in ("d_full_dose", "d_rays", "d_image", "lost_dose", "of_network")
            }
            wanted = [*np.sqrt([chain.full, chain.rays, chain.image[k]]), 0, 0]
            wanted[3:] = chain.losses[k].dose.value, chain.losses[k].of_network.value
            assert list(found.values()) == pytest.approx(wanted, rel=1e-3, abs=1e-6)
        # the lesion of the study, projected finely: the same to a few percent as in its pixels
        of_pixels = study.arrays["stages"][:, 0]
        for stage, d in zip(("full_dose", "rays", "image", "output"), of_pixels, strict=True):
            assert float(rows[f"chain_ideal_d_{stage}"]["value"]) == pytest.approx(d, rel=0.1)
        assert rows["chain_ideal_d_output"]["outcome"] == "met"
        assert float(rows["chain_cho_d_rays"]["value"]) < float(rows["d_whole_rays"]["value"])
        table = reader_rows(study)
        assert len(table) == 2 * len(ideal.tolerances)
        [(_, cells, loser)] = [r for r in table if r[0] == "ideal observer, τ = 1 HU"]
        assert cells[1] == f"{ideal.rays**0.5:.3g}" and "arithmetic" in cells[4]
        k = ideal.tolerances.index(1.0)
        assert loser == (ideal.losses[k].loser or "")


@pytest.mark.parametrize(
    ("ends", "said"),
    [
        ((0.8, 0.9), "the network lost more of what reached it (0.85 (0.8 to 0.9))"),
        ((-0.5, 0.0), "the reconstruction lost more of what reached it"),
        ((0.0, 0.9), "it is undecided whether the network"),
    ],
)
def test_who_lost_more_is_said_where_the_intervals_allow_it(ends, said, results):
    [chain, _] = results[0].chains
    loss = replace(chain.losses[0], of_network=Estimate(sum(ends) / 2, *ends))
    loss = replace(loss, of_reconstruction=Estimate.exact(0.3))
    study = study_of(replace(results[0], chains=[replace(chain, losses=(loss,) * 5)]))
    told = study.facts["verdict"]["sentence"]
    assert f"For the ideal observer {said}" in told.replace("observer,", "observer")
    assert "the dose took 98 % (arithmetic" in told
    losers = {row[2] for row in reader_rows(study)}
    assert losers == {"" if "undecided" in said else said.split()[1]}


def test_what_could_hide_is_hidden(studies):
    """d' in the rays is that of the pair's own rays; the disc is there, and f shows less than τ."""
    for study in studies:
        rows = {row["id"]: row for row in study.metrics}
        assert study.facts["could_hide"]["window"] == [12, 12]
        for name in ("worst", "hidden"):
            change = study.arrays[name]
            assert not change[:2].any() and not change[:, -2:].any() and change.any()
        shown = np.sqrt(np.mean(study.arrays["worst_output"].astype(float) ** 2))
        assert float(rows["worst_change"]["value"]) == pytest.approx(shown, rel=1e-3)
        assert float(rows["worst_linear"]["value"]) == pytest.approx(shown, rel=0.01)  # f is linear
        assert {rows[i]["outcome"] for i in ("worst_rays_d", "could_hide_rays_d")} == {"met"}
        assert rows["could_hide_output"]["outcome"] == "met"
        sizes = [float(rows[f"could_hide_contrast{end}"]["value"]) for end in ("", "_rays")]
        assert 0.0 < sizes[0] < sizes[1]
        assert 0.0 < float(rows["could_hide_contrast_alone"]["value"]) < sizes[1]
        caption, table = hide_table(study)
        assert "12 × 12 pixels" in caption and table[-1][1] == f"{sizes[0]:.3g}"


def test_rays_see_the_worst_change_as_the_pair_does(pair, results):
    for result in results:
        for found in (result.could_hide.change, result.could_hide.lesion):
            [d] = change_detectability(pair.scanner, found.anatomy[None], result.scanned.mas)
            assert d == pytest.approx(1.0, abs=0.02)


def test_exposures_outside_the_curve_are_refused(pair):
    for mas in (0.5, 200.0):
        with pytest.raises(DataError, match="range"):
            projection_study(lambda x: x, pair, denoiser="f", mas=[mas], full_mas=100.0, seed=1)


def viewer_data(page):
    return json.loads(re.search(r"id='viewer-data'>(.*?)</script>", page, re.S).group(1))


def test_the_words_follow_the_numbers(results, studies):
    low, high = (study.facts["verdict"] for study in studies)
    assert low["holds"] and (low["kind"], low["label"]) == ("lost_by_dose", "lost by the dose")
    share = studies[1].facts["shares_of_full_dose"]
    assert f"the dose took {100 * share['dose']:.2g} %" in high["sentence"]
    broken = replace(results[0], stages=results[0].stages * [[1.0], [1.0], [9.0], [9.0]])
    told = study_of(broken).facts["verdict"]
    assert not broken.inequality_holds and not told["holds"]
    assert any("cannot be" in reason for reason in told["reasons"])


def words(tiny_weights, out, *more):
    return [
        "projection-domain", "--denoiser", "chen", "--weights", str(tiny_weights.folder),
        "--out", str(out), *map(str, more),
    ]  # fmt: skip


def test_the_command_leaves_a_whole_run(ct_folder, tiny_weights, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(could_hide, "SIDE", 8)
    out = tmp_path / "out"
    more = ("--images", ct_folder, "--mas", 30, "--draws", 12, "--roi", 36, 42)
    assert main(words(tiny_weights, out, *more)) == 0
    printed = capsys.readouterr().out
    assert "there: rays at 150 mAs" in printed and str(out / "mas-030.png") in printed
    record = json.loads((out / "run.json").read_text())
    facts = record["studies"][0]
    assert facts["inequality_holds"] and facts["full_mas"] == 150.0
    assert record["configuration"]["contrast"] == 20.0 and record["inputs"]
    rows = list(csv.DictReader((out / "metrics.csv").read_text().splitlines()))
    assert all(row["unit"] and row["should_be"] and row["meaning"] for row in rows)
    assert {row["id"] for row in rows} <= BY_ID.keys()
    [said] = [row["meaning"] for row in rows if row["id"] == "verdict"]
    assert facts["verdict"]["sentence"] in said and facts["verdict"]["reasons"][-1] in said
    group = zarr.open_group(str(out / "samples.zarr"), mode="r")["projection-domain-chen-mas-030"]
    assert group["stages"].shape == (4, 7) and group["signal"].shape == (16, 16)
    assert read_run(out).studies[0].kind == "projection-domain"
    assert (out / "mas-030.png").stat().st_size > 10_000
    page = (out / "report.html").read_text()
    assert str(out / "report.html") in printed and "http://" not in page
    for told in (
        "who lost the difference", "lost by the dose", "How much there is at each stage",
        "there: rays at 150 mAs", "an invertible network loses nothing", "which may rise",
        "Two readers of the lesion", "reader with noise of his own, τ = 10 HU",
        "could hide at 30 mAs",
        "8 × 8 pixels in the middle", "largest change of the output",
        "no stage holds more than the rays do", "How to repeat it", "data:image/png;base64",
    ):  # fmt: skip
        assert told in page, told
    [one] = viewer_data(page)["sets"]
    labels = [tile["label"] for column in one["columns"] for tile in column]
    assert {"ȳ", "ȳ - y", "R⁻¹R(ȳ - y)", "J R⁻¹R(ȳ - y)", "δ that hides it from f"} <= set(labels)
    assert main(["report", str(out)]) == 0
    assert (out / "report.html").read_text() == page


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ([], "--images"),
        (["--images", "x", "--phantom", "abdomen"], "--phantom"),
        (["--images", "x", "--tolerance-hu", "0"], "--tolerance-hu"),
        (["--phantom", "abdomen", "--radius", "-1"], "radius"),
        (["--images", "x", "--draws", "3"], "--draws"),
        (["--images", "x", "--other", "sample", "--sample", "0"], "--sample"),
        (["--images", "x", "--sample", "2"], "--other sample"),
        (["--images", "x", "--mas", "0"], "--mas"),
    ],
)
def test_bad_usage_is_one_line(more, expected, tiny_weights, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(words(tiny_weights, out, *more)) == 2
    error = refusals(capsys.readouterr().err)
    assert len(error) == 1 and expected in error[0]
    assert not out.exists()


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (["--full-mas", "-5"], "--full-mas"),
        (["--full-mas", "nan"], "--full-mas"),
        (["--full-mas", "5"], "5 mAs, the full dose"),
        (["--mas", "1e9"], "150 mAs, the full dose"),
        (["--radius", "100"], "larger than the patch"),
        (["--contrast", "1e9"], "contrast"),
    ],
)
def test_what_cannot_be_studied_is_refused_before_the_study(
    more, expected, ct_folder, tiny_weights, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr("analysis.projection_domain.pair.Pair", None)
    test_bad_usage_is_one_line(
        ["--images", ct_folder, *more], expected, tiny_weights, tmp_path, capsys
    )


def test_a_phantom_is_not_left_behind_by_a_refusal(tiny_weights, tmp_path, capsys):
    more = ["--phantom", "head", "--full-mas", "0"]
    test_bad_usage_is_one_line(more, "--full-mas", tiny_weights, tmp_path, capsys)

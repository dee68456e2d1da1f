"""Cells: what their digests and seeds depend on, and what is refused beforehand."""

import os
import shutil

import numpy as np
import pytest

from analysis.cohort.cells import cells_of
from analysis.cohort.inputs import Inputs
from analysis.cohort.manifest import read_manifest
from analysis.cohort.places import draw_places
from analysis.scanner.slices import place_patch
from recon import DataError
from recon.dicom.write import write_series


def cells(folder, lines, kinds, *, inputs=None, networks=None, name="m.csv"):
    (folder / name).write_text("\n".join(lines))
    rows = read_manifest(folder / name)
    return cells_of(
        rows, kinds, inputs or Inputs(), side=lambda weights, patch: 10,
        networks=networks or (lambda denoiser, weights: ({denoiser: "sha"}, [])),
    )  # fmt: skip


HEAD = "patient,images,study,denoiser,mas,slice"
LINES = [
    HEAD, "A,A,target-domain,chen; yang,5; 10,3", "A,A,target-domain,chen,10,4",
    "B,B,target-domain,chen,10,3",
]  # fmt: skip


def test_a_cell_is_known_by_what_it_computes(patients, kinds, tmp_path):
    found = cells(patients, LINES, kinds)
    assert len({cell.digest for cell in found}) == len(found) == 6
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    for name in "AB":
        shutil.copytree(patients / name, moved / name)
    # other paths, names of patients, order and columns that say what is the default anyway
    lines = [
        f"{HEAD},n", "Q,B,target-domain,chen,10.0,3,250", "P,A,target-domain,yang; chen,10; 5,3,",
        "P,A,target-domain,chen,10,4,",
    ]  # fmt: skip
    again = cells(moved, lines, kinds)
    assert {cell.digest for cell in again} == {cell.digest for cell in found}

    (moved / "B/1.dcm").write_text("another slice")
    other = {cell.digest for cell in cells(moved, lines, kinds)}
    assert len(other & {cell.digest for cell in found}) == 5
    for change in (
        {"networks": lambda denoiser, weights: ({denoiser: "trained anew"}, [])},
        {"lines": [HEAD + ",n", *(f"{line},20" for line in LINES[1:])]},
        {"lines": [HEAD + ",seed", *(f"{line},2" for line in LINES[1:])]},
    ):
        changed = cells(patients, **{"lines": LINES, "kinds": kinds, **change})
        assert not {cell.digest for cell in changed} & {cell.digest for cell in found}


def test_one_place_is_scanned_with_one_noise(patients, kinds):
    seeds = {}
    for cell in cells(patients, LINES, kinds):
        seeds.setdefault((cell.patient, cell.place), set()).add(cell.seed)
    assert all(len(of_place) == 1 for of_place in seeds.values())
    assert len(set.union(*seeds.values())) == 3


def test_what_is_asked_for_twice_is_one_cell(patients, kinds):
    twice = [HEAD, "A,A,target-domain,chen,10,3", "A,A,target-domain,chen,10,3"]
    assert len(cells(patients, twice, kinds)) == 1


@pytest.mark.parametrize(
    "lines, said",
    [
        ([HEAD, "A,A,nonsense,chen,10,"], "no such study"),
        ([HEAD + ",colour", "A,A,target-domain,chen,10,,red"], "no such option"),
        ([HEAD, "A,A,target-domain,chen,many,"], "no such value"),
        ([HEAD + ",n", "A,A,target-domain,chen,10,,1.5"], "a whole number"),
        ([HEAD, "A,A,target-domain,,10,"], "without denoiser"),
        ([HEAD, "A,A,simulate,,10,3"], "takes all slices"),
        ([HEAD, "A,no,target-domain,chen,10,"], "no such file"),
        ([HEAD, "A,A,target-domain,chen,10,", "B,A,target-domain,chen,10,"], "two patients"),
        ([HEAD + ",n", "A,A,target-domain,chen,10,,20; 30"], "differ in options"),
        (["patient,scan,study,denoiser", "A,A,target-domain,chen"], "no study of scan"),
    ],
)
def test_what_cannot_be_meant_is_refused(patients, kinds, lines, said):
    with pytest.raises(DataError) as error:
        cells(patients, lines, kinds)
    assert said in str(error.value) and "\n" not in str(error.value)


def test_options_go_to_the_study_that_takes_them(patients, kinds):
    lines = [
        "patient,images,study,denoiser,mas,fov", "A,A,target-domain; simulate,chen,10,300",
    ]  # fmt: skip
    found = {cell.study: cell.options for cell in cells(patients, lines, kinds)}
    assert found == {
        "target-domain": {"denoiser": "chen", "mas": 10.0}, "simulate": {"mas": 10.0, "fov": 300.0},
    }  # fmt: skip


def test_inputs_are_read_once_and_again_when_they_change(patients, monkeypatch):
    kept = patients / "inputs.json"
    first = Inputs(kept)
    digest = first.digest(patients / "A")
    first.save()
    reads = []
    monkeypatch.setattr("analysis.cohort.inputs._contents", lambda *of: reads.append(of) or "new")
    assert Inputs(kept).digest(patients / "A") == digest and not reads
    os.utime(patients / "A/1.dcm", ns=(1, 1))
    assert Inputs(kept).digest(patients / "A") == "new" and len(reads) == 1
    kept.write_text("broken")
    assert Inputs(kept).digest(patients / "A") == "new"


def test_places_lie_in_the_body_and_stay(tmp_path):
    hu = np.full((10, 60, 60), -1000.0, np.float32)
    hu[:, 15:45, 10:50] = 30.0
    write_series(
        tmp_path / "s", hu, spacing=(2.0, 2.0), slice_thickness=1.5, kvp=120.0, mas=100.0,
        positions=[(-59.0, -59.0, 1.5 * k) for k in range(10)], series_description="", uid_seed=1,
    )  # fmt: skip
    places = draw_places(str(tmp_path / "s"), 8, side=10, seed=5)
    assert places == draw_places(str(tmp_path / "s"), 8, side=10, seed=5)
    assert places != draw_places(str(tmp_path / "s"), 8, side=10, seed=6)
    assert len({slice_ for slice_, *_ in places}) == 8 and not {0, 9} & {p[0] for p in places}
    for slice_, row, col in places:
        around = hu[slice_, row - 5 : row + 6, col - 5 : col + 6]
        assert around.shape == (11, 11) and (around > -300).mean() >= 0.75
    with pytest.raises(DataError, match="too few places"):
        draw_places(str(tmp_path / "s"), 2, side=50, seed=5)


def test_a_patch_has_the_finer_of_a_slice_s_two_spacings(tmp_path):
    """14 × 14 mm lie in a slice of 24 × 24 mm; 28 × 28 mm, with the coarser one, do not."""
    hu = np.full((3, 12, 24), 30.0, np.float32)
    write_series(
        tmp_path / "s", hu, spacing=(2.0, 1.0), slice_thickness=1.5, kvp=120.0, mas=100.0,
        positions=[(0.0, 0.0, 1.5 * k) for k in range(3)], series_description="", uid_seed=1,
    )  # fmt: skip
    ((_, row, col),) = draw_places(str(tmp_path / "s"), 1, side=14, seed=5)
    place_patch(hu[0], (2.0, 1.0), shape=(14, 14), to_spacing=(1.0, 1.0), roi=(row, col))

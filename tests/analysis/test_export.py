"""What a run holds, for other programs: DICOM series in their places, and figures."""

import functools
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pydicom
import pytest

from analysis.figures.drawing import new_figure, written
from analysis.main import main
from analysis.report.export import export_dicom, export_figures
from analysis.runs.store import Study, write_run
from recon.dicom.images import read_images
from recon.dicom.write import write_series
from recon.errors import DataError
from recon.storage import digest_files, read_json, write_json

SLICE, SPACING = (30, 40), (2.0, 1.5)  # rows and columns, mm
MARK = (11, 27)  # row and column of one bright pixel of the slice
TOP_LEFT, PATCH = (6, 20), (9, 12)  # of the patch, on the slice's pixels


def target_study():
    """A target-domain study whose patch is cut from the slice without resampling."""
    noise = np.random.default_rng(0)
    hu = noise.integers(-50, 50, SLICE).astype(np.float32)
    hu[MARK] = 900.0
    (top, left), (rows, cols) = TOP_LEFT, PATCH
    patch = hu[top : top + rows, left : left + cols]
    middle = [
        (first + (n - 1) / 2 - (whole - 1) / 2) * step
        for first, n, whole, step in zip(TOP_LEFT, PATCH, SLICE, SPACING)
    ]
    facts = {
        "layers": ["output"], "n": 3, "draws": 2, "seed": 1,
        "scan": {
            "kvp": 120.0, "views": 1152, "slice_thickness_mm": 1.5, "quanta_at_centre": 3e4,
            "starved_share": 0.0, "backend": "numba", "backend_reason": "CPU", "window": "hann",
        },
        "verdict": {"label": "no", "holds": False, "sentence": "No.", "reasons": []},
        "patch": {
            "shape": list(PATCH), "spacing_mm": list(SPACING), "centre_mm": middle[::-1],
            "slice_spacing_mm": list(SPACING), "slice_number": 1,
        },
    }  # fmt: skip
    study = Study("target-domain", "chen", 10.0, facts)
    samples = patch + np.arange(6, dtype=np.float32).reshape(3, 2, 1, 1) * 100
    study.arrays = {
        "slice": hu, "y": patch, "x": patch + 1, "fx": patch + 2, "ybar": samples[:, 0],
        "rescanned": samples[:, 1], "xprime": samples, "distance": np.ones((3, 2)),
        "null_distance": np.ones((4, 2)),
    }  # fmt: skip
    return study


@pytest.fixture
def run(tmp_path):
    """A run on the middle one of three slices that lie anywhere in the patient."""
    study = target_study()
    slices = np.stack([np.zeros(SLICE, np.float32), study.arrays["slice"], np.zeros(SLICE)])
    write_series(
        tmp_path / "images", slices, spacing=SPACING, slice_thickness=1.5, kvp=120.0, mas=150.0,
        positions=[(-47.0, 12.0, 30.0 + 1.5 * k) for k in range(3)], series_description="body",
    )  # fmt: skip
    source = read_images(tmp_path / "images")
    out = tmp_path / "OUT"
    write_series(out / "mas-010", slices, like=source, series_description="low dose", mas=10.0)
    record = {
        "command": "ctxai target-domain",
        "seed": 1,
        "configuration": {"images": str(tmp_path / "images")},
        "inputs": digest_files(source.files),
    }
    write_run(out, record=record, studies=[study], seconds=1.0)
    return out


def patient_position(ds, row, col):
    """The patient's (x, y, z) of a pixel, from the file alone [mm]."""
    across, down = np.reshape(np.array(ds.ImageOrientationPatient, float), (2, 3))
    row_step, col_step = map(float, ds.PixelSpacing)
    return (
        np.array(ds.ImagePositionPatient, float) + col * col_step * across + row * row_step * down
    )


FOLDER = Path("dicom") / "target-domain-chen-mas-010"
STACKS = {"y": 1, "x": 1, "fx": 1, "ybar": 3, "rescanned": 3, "xprime": 6}
MAPS = {
    "x-minus-y": 1, "fx-minus-y": 1, "ybar-minus-y": 3, "rescanned-minus-x": 3,
    "xprime-minus-fx": 6, "ybar-sd": 1, "rescanned-sd": 1, "xprime-sd": 1,
}  # fmt: skip


def test_every_kind_of_images_becomes_a_stack_in_its_place(run):
    files = [path.relative_to(run / FOLDER) for path in export_dicom(run)]
    wanted = [
        Path(n) / f"slice-{k + 1:03d}.dcm" for n, count in STACKS.items() for k in range(count)
    ]
    assert sorted(files) == sorted([*wanted, *(Path("maps") / f"{name}.dcm" for name in MAPS)])
    study = target_study()
    for name in STACKS:
        images = study.arrays[name].reshape(-1, *PATCH)
        stack = [pydicom.dcmread(run / FOLDER / f) for f in sorted(wanted) if f.parts[0] == name]
        assert len({ds.SeriesInstanceUID for ds in stack}) == 1
        for k, ds in enumerate(stack):
            assert np.array_equal(ds.pixel_array, images[k])
            assert (ds.InstanceNumber, list(ds.ImageType)[:2]) == (k + 1, ["DERIVED", "SECONDARY"])
            assert name in ds.SeriesDescription
            assert ds.ImagePositionPatient == stack[0].ImagePositionPatient
    series = {pydicom.dcmread(run / FOLDER / path).SeriesInstanceUID for path in files}
    assert len(series) == len(STACKS) + len(MAPS)

    whole = pydicom.dcmread(run / "mas-010" / "slice-002.dcm")
    part = pydicom.dcmread(run / FOLDER / "y" / "slice-001.dcm")
    row, col = np.argwhere(part.pixel_array == 900)[0]
    np.testing.assert_allclose(
        patient_position(part, row, col), patient_position(whole, *MARK), atol=1e-6
    )


def functional_group(frame, shared, what):
    """A group of a frame: what all frames have in common stands once for all."""
    return (frame.get(what) or shared.get(what))[0]


def test_differences_and_spreads_are_parametric_maps_in_the_same_place(run):
    export_dicom(run)
    arrays, below = target_study().arrays, pydicom.dcmread(run / FOLDER / "y" / "slice-001.dcm")
    expected = {
        "ybar-minus-y": arrays["ybar"] - arrays["y"],
        "xprime-minus-fx": (arrays["xprime"] - arrays["fx"]).reshape(-1, *PATCH),
        "ybar-sd": arrays["ybar"].std(0, ddof=1, dtype=np.float64),
    }
    before = {}
    for name, frames in MAPS.items():
        ds = pydicom.dcmread(run / FOLDER / "maps" / f"{name}.dcm")
        before[name] = (run / FOLDER / "maps" / f"{name}.dcm").read_bytes()
        assert ds.SOPClassUID == pydicom.uid.ParametricMapStorage
        assert (int(ds.NumberOfFrames), ds.BitsAllocated) == (frames, 32)
        assert ds.FrameOfReferenceUID == below.FrameOfReferenceUID
        assert ds.StudyInstanceUID == below.StudyInstanceUID
        frame, shared = (
            ds.PerFrameFunctionalGroupsSequence[-1],
            ds.SharedFunctionalGroupsSequence[0],
        )
        group = functools.partial(functional_group, frame, shared)
        assert group("PlanePositionSequence").ImagePositionPatient == below.ImagePositionPatient
        assert group("PixelMeasuresSequence").PixelSpacing == below.PixelSpacing
        mapped = group("RealWorldValueMappingSequence")
        assert mapped.MeasurementUnitsCodeSequence[0].CodeValue == "[hnsf'U]"
        assert (mapped.RealWorldValueSlope, mapped.RealWorldValueIntercept) == (1.0, 0.0)
        if name in expected:
            np.testing.assert_allclose(
                np.squeeze(ds.pixel_array), np.squeeze(expected[name]), rtol=1e-6, atol=1e-4
            )
    export_dicom(run)
    for name, content in before.items():
        assert (run / FOLDER / "maps" / f"{name}.dcm").read_bytes() == content


@pytest.mark.skipif(
    shutil.which("dciodvfy") is None, reason="dciodvfy is not installed: Debian's dicom3tools"
)
def test_a_validator_finds_no_error_in_slices_and_maps(run):
    """David Clunie's dciodvfy, which knows the standard's modules: one file of every folder."""
    export_dicom(run)
    folders = {file.parent: file for file in sorted(run.rglob("*.dcm"))}
    tried = [*folders.values(), *(run / FOLDER / "maps").glob("*.dcm")]
    assert len(tried) > 8
    for file in tried:
        said = subprocess.run(["dciodvfy", file], capture_output=True, text=True, check=False)
        text = said.stdout + said.stderr
        assert "CTImage" in text or "ParametricMap" in text, text
        assert "Error" not in text and "DICOMDIR" not in text, f"{file}\n{text}"


def test_without_highdicom_nothing_is_exported_and_the_remedy_is_named(run, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "highdicom", None)
    assert main(["report", str(run), "--dicom"]) == 2
    assert "pip install highdicom" in capsys.readouterr().err
    assert not (run / "dicom").exists() and not (run / "report.html").exists()


def test_exposure_is_said_of_what_was_scanned_alone(run):
    export_dicom(run)
    folder = run / "dicom" / "target-domain-chen-mas-010"
    for name, exposure in (("x", 10.0), ("xprime", 10.0), ("y", None), ("ybar", None)):
        for path in (folder / name).glob("*.dcm"):
            ds = pydicom.dcmread(path)
            assert ds.get("Exposure") == exposure
            assert ds.KVP == 120.0


def test_series_belong_to_the_input_where_it_is_still_there(run, tmp_path):
    low_dose = pydicom.dcmread(run / "mas-010" / "slice-002.dcm")
    original = pydicom.dcmread(tmp_path / "images" / "slice-002.dcm")
    path = run / "dicom" / "target-domain-chen-mas-010" / "fx" / "slice-001.dcm"

    export_dicom(run)
    ds = pydicom.dcmread(path)
    assert ds.FrameOfReferenceUID == low_dose.FrameOfReferenceUID
    assert ds.StudyInstanceUID == low_dose.StudyInstanceUID
    assert ds.SourceImageSequence[0].ReferencedSOPInstanceUID == original.SOPInstanceUID

    shutil.rmtree(tmp_path / "images")
    export_dicom(run)
    ds = pydicom.dcmread(path)
    assert ds.SourceImageSequence[0].ReferencedSOPInstanceUID == low_dose.SOPInstanceUID

    shutil.rmtree(run / "mas-010")
    before = path.read_bytes()
    with pytest.raises(DataError, match="low-dose series"):
        export_dicom(run)
    assert path.read_bytes() == before


def test_a_phantom_that_was_drawn_for_the_run_is_its_input(run, tmp_path):
    (tmp_path / "images").rename(run / "phantom")
    record = read_json(run / "run.json")
    record["configuration"]["images"] = None
    write_json(run / "run.json", record)
    shutil.rmtree(run / "mas-010")
    assert len(export_dicom(run)) == 23


def test_other_images_at_the_inputs_place_are_not_taken_for_it(run, tmp_path):
    shutil.copy(tmp_path / "images" / "slice-001.dcm", tmp_path / "images" / "slice-002.dcm")
    (tmp_path / "images" / "slice-003.dcm").unlink()
    (tmp_path / "images" / "slice-001.dcm").unlink()
    low_dose = pydicom.dcmread(run / "mas-010" / "slice-002.dcm")
    export_dicom(run)
    path = run / "dicom" / "target-domain-chen-mas-010" / "fx" / "slice-001.dcm"
    reference = pydicom.dcmread(path).SourceImageSequence[0].ReferencedSOPInstanceUID
    assert reference == low_dose.SOPInstanceUID


def test_figures_are_written_in_both_forms_and_the_same_each_time(run):
    files = export_figures(run)
    assert {path.suffix for path in files} == {".png", ".svg"}
    assert len(files) == 8  # scene, samples, sd, distances
    first = {path: path.read_bytes() for path in files}
    for path, content in first.items():
        if path.suffix == ".svg":
            root = ElementTree.fromstring(content)
            assert root.tag.endswith("svg")
        else:
            assert content.startswith(b"\x89PNG")
    again = export_figures(run)
    assert {path: path.read_bytes() for path in again} == first


def test_the_command_exports_what_is_asked(run, capsys):
    assert main(["report", str(run), "--dicom"]) == 0
    assert "23 files" in capsys.readouterr().out
    assert (run / "report.html").exists()
    assert not (run / "figures").exists()


def test_another_form_is_refused():
    with pytest.raises(DataError, match="png or svg"):
        written(new_figure(1, 1), "jpg")

"""Pairs of images from folders: both layouts, the split by patients, and what is refused."""

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from analysis.data.image_pairs import folder_pairs
from analysis.main import main
from ctxai.files.modules import load_module
from recon.dicom.write import write_series
from recon.errors import DataError

# HU of y; x is 5 HU above. The names are long enough not to stand in any file by chance.
LEVELS = {f"PlantedPatient{k}": 20.0 * k - 10.0 for k in range(1, 6)}
FIRST = next(iter(LEVELS))
SIDE = 100


def series(folder: Path, level: float, mas: float, *, z: float = 0.0, pixel: float = 1.0) -> None:
    hu = np.full((2, SIDE, SIDE), level, np.float32)
    hu[:, : SIDE // 4] += 1.0  # the upper rows are told from the lower ones
    write_series(
        folder, hu, spacing=(pixel, pixel), slice_thickness=2.0,
        positions=[(0.0, 0.0, z), (0.0, 0.0, z + 2.0)], series_description="x", kvp=120.0, mas=mas,
        kernel="hann", uid_seed=str(folder),
    )  # fmt: skip


@pytest.fixture(scope="module")
def collection(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("collection")
    for name, level in LEVELS.items():
        study = root / name / "01-01-2020-CT-12345"
        series(study / "1.000000-Full Dose Images-98765", level, 200.0)
        series(study / "2.000000-Low_dose images-43210", level + 5.0, 20.0)
        (study / "3.000000-Full dose projections-1").mkdir()
    return root


@pytest.fixture(scope="module")
def simulated(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("simulated")
    for name, level in list(LEVELS.items())[:3]:
        for mas, more in ((5.0, 9.0), (10.0, 5.0), (100.0, 0.0)):
            series(root / name / f"mas-{mas:03g}", level + more, mas)
    return root


def levels(pairs) -> set[float]:
    return {round(float(value)) for value in pairs.y[:, -1, -1]}


def test_patients_are_held_out_whole(collection: Path) -> None:
    found = folder_pairs(collection, patch=32, seed=1, progress=False)
    assert found.patients == (4, 1)
    assert (found.mas, found.high_mas) == (20.0, 200.0)
    assert not levels(found.train) & levels(found.test)
    assert levels(found.train) | levels(found.test) == set(LEVELS.values())
    for part in (found.train, found.test):
        assert len(part.y) == 2 * len(levels(part))  # both slices of a patient
        torch.testing.assert_close(part.x - part.y, torch.full_like(part.x, 5.0))
        assert float(part.y[0, 0, 0] - part.y[0, -1, 0]) == pytest.approx(1.0)
    held_out = {tuple(levels(folder_pairs(collection, patch=32, seed=s, progress=False).test))
                for s in range(8)}  # fmt: skip
    assert len(held_out) > 1  # the seed decides


def test_simulated_exposures_pair_with_the_highest(simulated: Path) -> None:
    lowest = folder_pairs(simulated, patch=32, seed=1, progress=False)
    assert (lowest.mas, lowest.high_mas) == (5.0, 100.0)
    torch.testing.assert_close(lowest.train.x - lowest.train.y, torch.full_like(lowest.train.x, 9))
    ten = folder_pairs(simulated, patch=32, mas=10.0, seed=1, progress=False)
    assert float((ten.train.x - ten.train.y).mean()) == pytest.approx(5.0)
    with pytest.raises(DataError, match=r"no such low dose.*5, 10 mAs"):
        folder_pairs(simulated, patch=32, mas=20.0, seed=1, progress=False)


def test_images_are_resampled_to_one_pixel_and_cut_to_what_all_have(
    collection: Path, tmp_path: Path
) -> None:
    shutil.copytree(collection / FIRST, tmp_path / FIRST)
    for dose, more, mas in (("Full Dose Images", 0.0, 200.0), ("Low Dose Images", 5.0, 20.0)):
        series(tmp_path / "P6" / dose, 20.0 + more, mas, pixel=0.8)
    found = folder_pairs(tmp_path, patch=32, seed=1, progress=False)
    assert found.train.y.shape[1:] == found.test.y.shape[1:] == (80, 80)


def test_what_is_no_pair_is_refused(collection: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no pairs.*Full Dose Images.*mas-010"):
        folder_pairs(tmp_path, patch=32, seed=1, progress=False)
    with pytest.raises(DataError, match="no such folder"):
        folder_pairs(tmp_path / "none", patch=32, seed=1, progress=False)
    shutil.copytree(collection / FIRST, tmp_path / FIRST)
    with pytest.raises(DataError, match=r"too few patients.*1 with both doses"):
        folder_pairs(tmp_path, patch=32, seed=1, progress=False)
    series(tmp_path / "P2/full dose images", 1.0, 200.0)
    series(tmp_path / "P2/low dose images", 1.0, 20.0, z=3.0)
    with pytest.raises(DataError, match=r"same slices.*at other places"):
        folder_pairs(tmp_path, patch=32, seed=1, progress=False)
    series(tmp_path / "P2/low dose images again", 1.0, 20.0)
    with pytest.raises(DataError, match="two series of the low dose"):
        folder_pairs(tmp_path, patch=32, seed=1, progress=False)


def test_a_preset_trains_on_a_folder(collection: Path, tmp_path: Path, capsys) -> None:
    words = ["train", "--preset", "chen2017", "--images", str(collection), "--steps", "2"]
    assert main([*words, "--out", str(tmp_path)]) == 0
    _, facts = load_module(tmp_path / "chen2017.safetensors")
    assert (facts["patients"], facts["patients held out"], facts["mas"]) == (4, 1, 20.0)
    with open(tmp_path / "checkpoints/chen2017.csv", newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert [row["step"] for row in rows] == ["1", "2"] and float(rows[1]["rmse_hu"]) > 0
    assert (tmp_path / "checkpoints/chen2017.png").read_bytes()[1:4] == b"PNG"
    for file in (path for path in tmp_path.rglob("*") if path.is_file()):
        content = file.read_bytes()
        assert not any(name.encode() in content for name in (*LEVELS, str(collection))), file.name
    capsys.readouterr()


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (["--images", __file__], "--preset"),
        (["--preset", "chen2017", "--mas", "10"], "--images"),
        (["--preset", "talk", "--images", __file__], "one region"),
        (["--preset", "eulig2024", "--images", __file__], "phantoms"),
        (["--preset", "chen2017", "--images", "nowhere"], "no such file or folder"),
    ],
)
def test_bad_usage_is_one_line(more, expected, tmp_path, capsys) -> None:
    assert main(["train", "--out", str(tmp_path / "out"), *more]) == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert len(error) == 1 and expected in error[0]

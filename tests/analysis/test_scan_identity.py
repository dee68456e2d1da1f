"""Nothing that names a patient leaves the commands on projection scans, in whatever it was put."""

import io
import re

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.dataset import Dataset
from small_scans import write_small

from analysis.main import main
from recon.ctpd.read import read_scan

# long enough that neither stands by chance in pixels or in digits
MARKER = "Zq7PlantedMarker"
DATES = ("19010203", "19040506", "070809.135791")
DIGITS = re.compile(rb"[0-9.]{20,}")  # of a UID or a digest, in which eight digits may be a date's


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """A scan with the marker in identity, in private blocks, in sequences and in file names."""
    folder = tmp_path_factory.mktemp("scans") / "scan"
    for number, file in enumerate(sorted(write_small(folder, seed=2).iterdir())):
        ds = pydicom.dcmread(file)
        ds.PatientName = f"{MARKER}^Ada"
        for keyword in (
            "PatientID", "AccessionNumber", "InstitutionName", "ReferringPhysicianName", "StudyID",
            "StudyDescription", "SeriesDescription", "OperatorsName", "StationName", "ProtocolName",
            "DeviceSerialNumber", "PatientComments", "ImageComments", "OtherPatientIDs",
            "InstitutionAddress", "ManufacturerModelName", "SoftwareVersions",
        ):  # fmt: skip
            setattr(ds, keyword, MARKER)
        ds.PatientBirthDate, ds.StudyDate, ds.StudyTime = DATES
        item = Dataset()
        item.PatientID = item.PatientName = MARKER
        ds.OtherPatientIDsSequence = [item]
        ds.private_block(0x0099, MARKER, create=True).add_new(1, "LO", MARKER)
        for group in (0x7029, 0x7031, 0x7033, 0x7037):  # beside the elements of the format
            ds.add_new(group << 16 | 0x10F0, "LO", MARKER)
        file.unlink()
        ds.save_as(folder / f"{MARKER}-{number}.dcm", enforce_file_format=True)
    raw = next(folder.iterdir()).read_bytes()
    assert raw.count(MARKER.encode()) > 20
    return folder


def secrets():
    return [MARKER.lower().encode(), *(date.encode() for date in DATES)]


def leaks(out):
    """Files below a folder that hold a secret, in their bytes, their name or a picture's text."""
    found = []
    for file in sorted(path for path in out.rglob("*") if path.is_file()):
        texts = [file.read_bytes(), str(file.relative_to(out)).encode()]
        if file.suffix == ".png":
            with Image.open(io.BytesIO(texts[0])) as picture:
                texts.append(repr(picture.info).encode())
        if file.suffix in (".json", ".csv"):  # the folder itself is named by who runs the command
            texts[0] = texts[0].replace(str(out).encode(), b"")
        texts = [DIGITS.sub(b"", text) for text in texts]
        if any(secret in text.lower() for text in texts for secret in secrets()):
            found.append(file.name)
    return found


@pytest.mark.parametrize(
    "argv",
    [
        ["inspect", "SCAN", "--out", "OUT"],
        ["recon", "SCAN", "--out", "OUT", "--matrix", "32", "--z-range", "0", "1"],
        ["simulate", "SCAN", "--out", "OUT", "--matrix", "32", "--z-range", "0", "1", "--mas", "20",
         "--projections"],
    ],
    ids=["inspect", "recon", "simulate"],
)  # fmt: skip
def test_no_identity_in_what_is_written_or_said(argv, planted, tmp_path, capsys):
    out = tmp_path / "out"
    named = {"SCAN": str(planted), "OUT": str(out)}
    assert main([named.get(word, word) for word in argv]) == 0
    assert leaks(out) == []
    said = capsys.readouterr()
    assert MARKER not in said.out + said.err
    for file in out.rglob("*.dcm"):
        ds = pydicom.dcmread(file)
        assert not ds.PatientName and str(ds.StudyDate or "20000101") == "20000101"
        assert str(ds.PatientID or "ctxai-").startswith("ctxai-")  # of our own, or none
        source = pydicom.dcmread(next(planted.iterdir()), stop_before_pixels=True)
        for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
            assert ds[keyword].value != source[keyword].value


def test_the_planted_scan_is_read_as_it_was(planted, tmp_path):
    """What is planted changes nothing else, so that the test above tests what it should."""
    plain = read_scan(write_small(tmp_path / "scan", seed=2))
    np.testing.assert_array_equal(read_scan(planted).line_integrals[:4], plain.line_integrals[:4])

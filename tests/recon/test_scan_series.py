"""Slices of a scan in DICOM: where they lie in the patient, and what they say of the scan."""

import itertools

import numpy as np
import pydicom
import pytest

from recon.dicom.acquisition import scan_acquisition
from recon.dicom.images import read_images
from recon.dicom.patient_axes import patient_axes
from recon.dicom.write import write_series
from recon.errors import DataError
from recon.geometry import ImageGrid
from recon.scan.helix import PATIENT_POSITIONS, HelicalScan
from recon.scan.scan import Scan

GRID = ImageGrid(shape=(40, 50), spacing=(4.0, 3.0), centre=(6.0, -5.0))
HEIGHTS = np.array([-4.0, -1.0, 2.0, 5.0])
MARKER = (45.0, 21.0, 5.0)  # x to the right, y downward, z towards the gantry [mm]

# where x, y and z of the scanner point in the patient: left, posterior, superior
TRUTH = {
    "HFS": ("L", "P", "S"), "HFP": ("R", "A", "S"), "FFS": ("R", "P", "I"), "FFP": ("L", "A", "I"),
    "HFDR": ("P", "R", "S"), "HFDL": ("A", "L", "S"), "FFDR": ("A", "R", "I"),
    "FFDL": ("P", "L", "I"),
}  # fmt: skip
LETTERS = {
    "L": (1, 0, 0), "R": (-1, 0, 0), "P": (0, 1, 0), "A": (0, -1, 0), "S": (0, 0, 1),
    "I": (0, 0, -1),
}  # fmt: skip


def scan_lying(position, **changes):
    views = 24
    helix = HelicalScan(
        angles=np.arange(views) * np.pi / 8, z=np.arange(views) * 0.75, src_iso=595, src_det=1085.6,
        n_rows=16, n_cols=32, row_pitch=1.0947, col_pitch=20.0, views_per_rotation=16,
        patient_position=position,
    )  # fmt: skip
    setting = {
        "line_integrals": np.zeros((views, 16, 32), np.float32), "geometry": helix, "kvp": 100,
        "photons": np.full((views, 32), 1e5), "exposures": np.full(views, 30.0), "fov": 500.0,
        "mu_water": 0.0205, "series_uid": "1.2.3", "study_uid": "1.2", "rotation_time": 0.5,
        "ctdi_vol": 4.5, **changes,
    }  # fmt: skip
    return Scan(**setting)


def marked():
    """Water with one bright pixel at the marker, (slices, rows, cols) [HU]."""
    hu = np.zeros((len(HEIGHTS), *GRID.shape), np.float32)
    k = int(np.argmin(np.abs(HEIGHTS - MARKER[2])))
    i = int(np.argmin(np.abs(GRID.y - MARKER[1])))
    j = int(np.argmin(np.abs(GRID.x - MARKER[0])))
    hu[k, i, j] = 1000.0
    return hu


def write(folder, scan, **changes):
    acquisition = scan_acquisition(scan, grid=GRID, z=HEIGHTS, **changes)
    return write_series(
        folder, marked(), acquisition=acquisition, spacing=GRID.spacing, slice_thickness=1.5,
        positions=acquisition.positions, series_description="marker", kvp=scan.kvp, mas=scan.mas,
        kernel="hann",
    )  # fmt: skip


def found_in_patient(files):
    """The bright pixel in patient coordinates, by the standard's own equation (C.7.6.2.1-1)."""
    for file in files:
        ds = pydicom.dcmread(file)
        bright = np.argwhere(ds.pixel_array > 500)
        if len(bright):
            (row, col), (sy, sx) = bright[0], ds.PixelSpacing
            along_row, along_col = np.reshape(ds.ImageOrientationPatient, (2, 3)).astype(float)
            corner = np.array(ds.ImagePositionPatient, dtype=float)
            return corner + along_row * sx * col + along_col * sy * row
    raise AssertionError("no marker")


@pytest.mark.parametrize("position", PATIENT_POSITIONS)
def test_a_marker_lands_where_it_is_in_the_patient(position, tmp_path):
    files = write(tmp_path, scan_lying(position))
    expected = sum(
        value * np.array(LETTERS[letter]) for value, letter in zip(MARKER, TRUTH[position])
    )
    assert found_in_patient(files) == pytest.approx(expected, abs=2.01)  # half a pixel
    assert (np.sign(found_in_patient(files)) == np.sign(expected)).all()  # the octant
    assert pydicom.dcmread(files[0]).PatientPosition == position


def test_unknown_positions_are_taken_for_hfs_or_refused(tmp_path):
    files = write(tmp_path, scan_lying(""))
    assert pydicom.dcmread(files[0]).PatientPosition == "HFS"
    assert found_in_patient(files) == pytest.approx(MARKER, abs=2.01)
    with pytest.raises(DataError, match="HFX"):
        patient_axes("HFX")


@pytest.mark.parametrize("position", PATIENT_POSITIONS)
def test_the_axes_are_a_rotation(position):
    """No position mirrors the patient, and what is below follows gravity, y."""
    turned = patient_axes(position)
    assert np.linalg.det(turned) == pytest.approx(1.0)
    np.testing.assert_array_equal(turned @ turned.T, np.eye(3))
    for axis, letter in enumerate(TRUTH[position]):
        np.testing.assert_array_equal(turned[:, axis], LETTERS[letter])


def test_positions_differ_from_each_other():
    for one, other in itertools.combinations(PATIENT_POSITIONS, 2):
        assert not np.array_equal(patient_axes(one), patient_axes(other))


def test_the_header_says_how_the_slices_were_acquired(tmp_path):
    scan = scan_lying("FFS")
    ds = pydicom.dcmread(write(tmp_path, scan)[1])
    g = scan.geometry
    assert list(ds.ImageType)[:2] == ["DERIVED", "SECONDARY"]
    assert (ds.KVP, ds.Exposure, ds.ExposureInuAs) == (100, 30, 30000)
    assert (ds.ExposureTime, ds.XRayTubeCurrent, ds.XRayTubeCurrentInuA) == (500, 60, 60000)
    assert "effective exposure" in ds.DerivationDescription
    assert f"{30 / g.pitch:.4g} mAs" in ds.DerivationDescription
    assert ds.ConvolutionKernel == "hann" and ds.ScanOptions == "HELICAL"
    assert ds.SpiralPitchFactor == pytest.approx(g.pitch)
    assert (ds.RevolutionTime, ds.TableFeedPerRotation) == (0.5, pytest.approx(12.0))
    assert ds.TableSpeed == pytest.approx(24.0) and ds.CTDIvol == 4.5
    assert (ds.DistanceSourceToPatient, ds.DistanceSourceToDetector) == (595, 1085.6)
    assert (ds.DataCollectionDiameter, ds.ReconstructionDiameter) == (500, 160)
    assert ds.TotalCollimationWidth == pytest.approx(g.collimation)
    assert (ds.SliceThickness, ds.SpacingBetweenSlices) == (1.5, 3)
    # feet first: z of the scanner is inferior
    assert ds.SliceLocation == 1.0 and list(ds.DataCollectionCenterPatient) == [0, 0, 1]
    assert list(ds.ReconstructionTargetCenterPatient) == [-6, -5, 1]
    raw = ds.ReferencedRawDataSequence[0].ReferencedSeriesSequence[0]
    assert raw.SeriesInstanceUID == "1.2.3"


def test_a_current_of_no_whole_milliampere_is_kept_to_the_last_digit(tmp_path):
    """10.25 mAs in half a second is 20.5 mA: whole mA would say 10 or 10.5 mAs."""
    write(tmp_path, scan_lying("HFS", exposures=np.full(24, 10.25)))
    back = read_images(tmp_path)
    assert back.mas == pytest.approx(10.25)
    assert pydicom.dcmread(back.files[0]).XRayTubeCurrentInuA == 20500


def test_two_doses_of_a_scan_share_study_and_frame(tmp_path):
    scan = scan_lying("HFS")
    low = scan.changed(exposures=scan.exposures / 10, series_uid="1.2.9")
    one = pydicom.dcmread(write(tmp_path / "one", scan)[0])
    other = pydicom.dcmread(write(tmp_path / "other", low, source=scan)[0])
    assert one.StudyInstanceUID == other.StudyInstanceUID != "1.2"
    assert one.FrameOfReferenceUID == other.FrameOfReferenceUID
    assert one.SeriesInstanceUID != other.SeriesInstanceUID
    raw = other.ReferencedRawDataSequence[0].ReferencedSeriesSequence[0]
    assert raw.SeriesInstanceUID == "1.2.3"


@pytest.mark.parametrize("position", ["HFS", "FFP"])
def test_our_reader_takes_it(position, tmp_path):
    write(tmp_path, scan_lying(position))
    back = read_images(tmp_path)
    assert back.hu.max() == 1000 and back.patient_position == position
    assert back.spacing == GRID.spacing and back.kvp == 100 and back.mas == 30

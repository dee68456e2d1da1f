"""Broken series: each is refused with one DataError that names the fault, none is accepted."""

import copy

import numpy as np
import pydicom
import pytest
from ctpd_files import OLD, Series, datasets, save

from recon.ctpd.gate import check_focal_spot
from recon.ctpd.read import read_scan
from recon.errors import DataError

GOOD = Series()
K = 11  # the view that is broken


@pytest.fixture(scope="module")
def good():
    return datasets(GOOD)


def delete(tag, which=K):
    def apply(views):
        for ds in views if which is None else [views[which]]:
            del ds[tag]
        return views

    return apply


def put(tag, value, vr=None, which=K):
    """Change an element of one view, or of all."""

    def apply(views):
        for ds in views if which is None else [views[which]]:
            ds.add_new(tag, vr or (ds[tag].VR if tag in ds else "CS"), value)
        return views

    return apply


def series_of(**changes):
    return lambda views: datasets(GOOD.with_(**changes))


def without(*which):
    return lambda views: [ds for k, ds in enumerate(views) if k not in which]


def twice(new_uid):
    def apply(views):
        again = copy.deepcopy(views[K])
        if new_uid:
            again.SOPInstanceUID = "1.2.9"
        return [*views, again]

    return apply


def foreign(views):
    """A view of another scan with the same series UID, somewhere in the middle."""
    other = datasets(GOOD.with_(first_angle=1.1, first_z=102.0, seed=5))[3]
    return [*views, other]


def swapped_detector(views):
    for ds in views:
        ds[0x70291010].value, ds[0x70291011].value = 16, 8
    return views


def two_speeds(views):
    for k, ds in enumerate(views):
        ds[0x70311002].value = GOOD.first_z + 0.75 * k + max(k - 12, 0) * 0.3
    return views


def image(views):
    ds = pydicom.dcmread(pydicom.data.get_testdata_file("CT_small.dcm"))
    del ds.file_meta
    return [*views, ds]


NAN, WHOLE = float("nan"), None

# name → (what happens to the views, words that the refusal must hold)
HEADERS = {
    "no angle": (delete(0x70311001), "(7031,1001)"),
    "no height": (delete(0x70311002), "(7031,1002)"),
    "no focal centre distance": (delete(0x70311003, None), "(7031,1003)"),
    "no detector distance": (delete(0x70311031, None), "(7031,1031)"),
    "no central element": (delete(0x70311033, None), "(7031,1033)"),
    "no column spacing": (delete(0x70291002, None), "(7029,1002)"),
    "no number of rows": (delete(0x70291010, None), "(7029,1010)"),
    "no focal spot mode": (delete(0x7033100E, None), "(7033,100E)"),
    "no focal spot shift": (delete(0x7033100C), "(7033,100C)"),
    "no views per rotation": (delete(0x70331013, None), "(7033,1013)"),
    "no water": (delete(0x70411001, None), "(7041,1001)"),
    "no slope": (delete(0x00281053), "(0028,1053)"),
    "no voltage": (delete(0x00180060, None), "(0018,0060)"),
    "one view without exposure": (delete(0x00181151), "(0018,1151)"),
    "no log flag": (delete(0x70391009, None), "(7039,1009)"),
    "no series": (delete(0x0020000E), "(0020,000E)"),
    "no instance UID": (delete(0x00080018), "(0008,0018)"),
    "no pixels": (delete(0x7FE00010), "(7FE0,0010)"),
    "one view without quanta": (delete(0x70331065), "(7033,1065)"),
    "empty water": (put(0x70411001, "", "DS", WHOLE), "(7041,1001)"),
    "spacing is text": (put(0x70291002, "wide", "LO", WHOLE), "(7029,1002)"),
    "voltage is text": (put(0x00180060, "high", "LO", WHOLE), "(0018,0060)"),
    "angle has three values": (put(0x70311001, [1.0, 2.0, 3.0], "FL"), "(7031,1001)"),
    "angle is NaN": (put(0x70311001, NAN), "(7031,1001)"),
    "height is infinite": (put(0x70311002, float("inf")), "(7031,1002)"),
    "distance is NaN": (put(0x70311003, NAN, None, WHOLE), "(7031,1003)"),
    "distance is negative": (put(0x70311003, -595.0, None, WHOLE), "(7031,1003)"),
    "distance changes": (put(0x70311003, 570.0), "(7031,1003)"),
    "detector before the axis": (put(0x70311031, 500.0, None, WHOLE), "(7031,1031)"),
    "spacing is negative": (put(0x70291006, -1.0, None, WHOLE), "(7029,1006)"),
    "slope is negative": (put(0x00281053, "-1e-4"), "(0028,1053)"),
    "slope is zero": (put(0x00281053, "0"), "(0028,1053)"),
    "current is negative": (put(0x00181151, "-400"), "(0018,1151)"),
    "quanta are negative": (put(0x70331065, [-1.0] * 16, "FL"), "(7033,1065)"),
    "quanta are NaN": (put(0x70331065, [NAN] * 16, "FL"), "(7033,1065)"),
    "quanta of fewer columns": (put(0x70331065, [1e4] * 9, "FL"), "(7033,1065)"),
    "central element outside": (put(0x70311033, [300.0, 4.5], None, WHOLE), "(7031,1033)"),
    "spherical detector": (put(0x7029100B, "SPHERICAL", None, WHOLE), "SPHERICAL"),
    "flat detector": (put(0x7029100B, "FLAT", None, WHOLE), "FLAT"),
    "axial scan": (put(0x70371009, "AXIAL", None, WHOLE), "AXIAL"),
    "transmission": (put(0x70391009, "NO", None, WHOLE), "(7039,1009)"),
    "several spectra": (put(0x70331061, 2, None, WHOLE), "spectra"),
    "multi-frame": (put(0x00280008, "3", "IS", WHOLE), "multi-frame"),
    "one view of several frames": (put(0x00280008, "2", "IS"), "(0028,0008)"),
    "unknown focal spot mode": (put(0x7033100E, "FFSQ", None, WHOLE), "FFSQ"),
    "unknown position": (put(0x00185100, "UPSIDE", None, WHOLE), "(0018,5100)"),
    "signed pixels": (put(0x00280103, 1, None, WHOLE), "(0028,0103)"),
    "one view signed": (put(0x00280103, 1), "(0028,0103)"),
    "8 bits": (put(0x00280100, 8, None, WHOLE), "(0028,0100)"),
    "65535²": (
        lambda v: put(0x00280011, 65535, None, WHOLE)(put(0x00280010, 65535, None, WHOLE)(v)),
        "65535",
    ),
    "65535² detector too": (
        lambda v: put(0x70291011, 16384, None, WHOLE)(put(0x00280010, 16384, None, WHOLE)(v)),
        "PixelData",
    ),
    "another frame size in one view": (put(0x00280010, 8), "(0028,0010)"),
    "swapped detector dimensions": (swapped_detector, "detector"),
    "two series": (put(0x0020000E, "1.2.3.5"), "two series"),
    "two patients": (put(0x00100020, "P2"), "two patients"),
    "two studies": (put(0x0020000D, "1.9"), "two studies"),
    "two voltages": (put(0x00180060, "80"), "(0018,0060)"),
    "two scanners": (put(0x00080070, "GE MEDICAL SYSTEMS"), "(0008,0070)"),
    "two dialects": (lambda v: v[:-1] + datasets(GOOD.with_(creator=OLD))[-1:], "mixed"),
    "an image among the views": (image, "not a DICOM-CT-PD view"),
    "another creator": (series_of(creator="SOMEONE ELSE"), "SOMEONE ELSE"),
    "a view is missing": (without(K), "a view is missing"),
    "three views are missing": (without(K, K + 1, K + 2), "3 views are missing"),
    "every other view is missing": (lambda v: v[::2], "(7033,1013)"),
    "the same file twice": (twice(False), "(0008,0018)"),
    "a view twice, renamed": (twice(True), "twice"),
    "a foreign view": (foreign, "step"),
    "an angle out of line": (put(0x70311001, 0.3), "(7031,1001)"),
    "a height out of line": (put(0x70311002, GOOD.z(K) + 1.0), "(7031,1002)"),
    "two table speeds": (two_speeds, "(7031,1002)"),
    "table does not move": (put(0x70311002, 5.0, None, WHOLE), "table does not move"),
    "views per rotation": (put(0x70331013, 20, None, WHOLE), "(7033,1013)"),
    "FFSNONE that flies": (put(0x7033100E, "FFSNONE", None, WHOLE), "focal spot"),
    "FFSZ that does not": (
        lambda v: put(0x7033100E, "FFSZ", None, WHOLE)(datasets(GOOD.with_(ffs="FFSNONE"))),
        "does not fly",
    ),
    "one shift of the wrong state": (put(0x7033100C, 0.0), "focal spot"),
}


@pytest.mark.parametrize(("apply", "words"), HEADERS.values(), ids=HEADERS)
def test_broken_headers_are_refused(apply, words, good, tmp_path):
    views = apply(copy.deepcopy(good))
    folder = save(tmp_path / "scan", views, explicit=True)
    with pytest.raises(DataError) as refused:
        read_scan(folder)
    line = str(refused.value)
    assert str(folder) in line and "\n" not in line
    said = line.replace(str(folder), "")  # whose letters prove nothing
    assert words in said and "expected" in said
    assert "P1" not in said and "P2" not in said  # identity is compared, not repeated


def test_the_missing_view_is_located(good, tmp_path):
    """The refusal names the files on both sides of the gap."""
    views = without(K)(copy.deepcopy(good))
    names = [f"{chr(97 + k % 26)}{k}.dcm" for k in range(len(views))]
    with pytest.raises(DataError) as refused:
        read_scan(save(tmp_path / "scan", views, names=names))
    assert names[K - 1] in str(refused.value) and names[K] in str(refused.value)


@pytest.mark.parametrize(("height", "flies"), [(0.019, False), (0.021, True)])
def test_a_spot_flies_in_z_if_it_moves_by_more_than_its_jitter(height, flies):
    """Whatever it does in angle."""
    shifts = np.tile([(1e-3, 0.0, 0.0), (-1e-3, height, 0.0)], (6, 1))
    paths = [f"{k}.dcm" for k in range(12)]
    if flies:
        np.testing.assert_array_equal(check_focal_spot(shifts, "FFSZ", paths), shifts)
        return
    with pytest.raises(DataError, match="does not fly"):
        check_focal_spot(shifts, "FFSZ", paths)

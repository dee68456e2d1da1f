"""Broken series: each is refused with one DataError that names the fault, none is accepted."""

import copy
import struct
import time
import tracemalloc
import zlib

import numpy as np
import pydicom
import pytest
from ctpd_files import OLD, Series, datasets, save, write
from tolerances import SCAN_GATE

from recon.ctpd import read_scan
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
    "no exposure": (delete(0x00181151, None), "(0018,1151)"),
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
    assert words in line and "\n" not in line
    assert str(folder) in line and "expected" in line
    assert "P1" not in line and "P2" not in line  # identity is compared, not repeated


def file_of(folder, k=K):
    return sorted(folder.iterdir())[k]


def cut(share):
    def apply(folder):
        file = file_of(folder)
        content = file.read_bytes()
        file.write_bytes(content[: int(len(content) * share)])

    return apply


def patch_syntax(uid):
    def apply(folder):
        ds = pydicom.dcmread(file_of(folder))
        content = file_of(folder).read_bytes()
        old = str(ds.file_meta.TransferSyntaxUID).encode()
        old += b"\0" * (len(old) % 2)
        new = uid.encode() + b"\0" * (len(uid) % 2)
        at = content.index(old)
        length = struct.pack("<H", len(new))
        content = content[: at - 2] + length + new + content[at + len(old) :]
        file_of(folder).write_bytes(content)

    return apply


def deflated_bomb(folder):
    """A small file that would inflate to 100 MB."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    body = b"".join(packer.compress(bytes(1 << 20)) for _ in range(100)) + packer.flush()
    patch_syntax("1.2.840.10008.1.2.1.99")(folder)
    content = file_of(folder).read_bytes()
    file_of(folder).write_bytes(content[:350] + body)


def replaced(content):
    return lambda folder: file_of(folder).write_bytes(content)


def emptied(folder):
    for file in folder.iterdir():
        file.unlink()


def removed(folder):
    emptied(folder)
    folder.rmdir()


def huge_length(folder):
    """A length that reaches far beyond the file's end."""
    content = bytearray(file_of(folder).read_bytes())
    at = content.index(b"\x29\x70\x02\x10")
    content[at + 4 : at + 8] = struct.pack("<I", 0x7FFFFFF0)
    file_of(folder).write_bytes(content)


FILES = {
    "pixels cut": (cut(0.98), "truncated"),
    "header cut": (cut(0.4), "truncated"),
    "first bytes only": (cut(0.1), "truncated"),
    "an empty file": (replaced(b""), "empty"),
    "not DICOM": (replaced(b"x" * 5000), "not a DICOM file"),
    "zeros": (replaced(bytes(5000)), "not a DICOM file"),
    "deflated": (patch_syntax("1.2.840.10008.1.2.1.99"), "Deflated"),
    "deflated bomb": (deflated_bomb, "Deflated"),
    "big endian": (patch_syntax("1.2.840.10008.1.2.2"), "Big Endian"),
    "JPEG": (patch_syntax("1.2.840.10008.1.2.4.70"), "1.2.840.10008.1.2.4.70"),
    "huge length": (huge_length, "(7029,1002)"),
    "an empty folder": (emptied, "without DICOM-CT-PD views"),
    "no folder": (removed, "no such folder"),
}


@pytest.mark.parametrize(("apply", "words"), FILES.values(), ids=FILES)
def test_broken_files_are_refused(apply, words, tmp_path):
    folder = write(tmp_path / "scan")
    apply(folder)
    tracemalloc.start()
    start = time.perf_counter()
    with pytest.raises(DataError, match=words) as refused:
        read_scan(folder)
    seconds, (_, peak) = time.perf_counter() - start, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert str(folder) in str(refused.value)
    assert seconds < SCAN_GATE["refusal [s]"] and peak < SCAN_GATE["refusal [bytes]"]


def test_the_missing_view_is_located(good, tmp_path):
    """The refusal names the files on both sides of the gap."""
    views = without(K)(copy.deepcopy(good))
    names = [f"{chr(97 + k % 26)}{k}.dcm" for k in range(len(views))]
    with pytest.raises(DataError) as refused:
        read_scan(save(tmp_path / "scan", views, names=names))
    assert names[K - 1] in str(refused.value) and names[K] in str(refused.value)


def test_a_file_that_shrinks_after_it_was_opened(tmp_path):
    folder = write(tmp_path / "scan")
    scan = read_scan(folder)
    for file in folder.iterdir():
        file.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(DataError, match="shortened"):
        scan.line_integrals[0:3]


@pytest.mark.parametrize("explicit", [False, True])
def test_no_mutation_of_a_good_file_gives_another_exception(explicit, tmp_path):
    """Bytes flipped, removed, inserted, and lengths overwritten: a scan or a DataError, quickly."""
    folder = write(tmp_path / "scan", views=1, explicit=explicit, unknown=explicit)
    file = next(folder.iterdir())
    content, rng = file.read_bytes(), np.random.default_rng(4)
    refused, slowest = 0, 0.0
    for _ in range(600):
        mutant = bytearray(content)
        for _ in range(rng.integers(1, 4)):
            at = int(rng.integers(128, len(mutant) - 4))
            kind = rng.integers(4)
            if kind == 0:
                mutant[at] ^= 1 << rng.integers(8)
            elif kind == 1:
                del mutant[at : at + int(rng.integers(1, 40))]
            elif kind == 2:
                mutant[at:at] = rng.bytes(int(rng.integers(1, 20)))
            else:
                mutant[at : at + 4] = bytes([255, 255, 255, rng.integers(256)])
        file.write_bytes(mutant)
        start = time.perf_counter()
        try:
            scan = read_scan(file)
            assert np.isfinite(scan.line_integrals[:]).all()
        except DataError:
            refused += 1
        slowest = max(slowest, time.perf_counter() - start)
    assert refused > 300 and slowest < SCAN_GATE["refusal [s]"]

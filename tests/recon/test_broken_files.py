"""Files that are cut, foreign, compressed or altered: one DataError, at once."""

import struct
import time
import tracemalloc
import zlib

import numpy as np
import pydicom
import pytest
from ctpd_files import write
from tolerances import SCAN_GATE

from recon.ctpd.read import read_scan
from recon.dicom.images import read_images
from recon.dicom.write import write_series
from recon.errors import DataError

K = 11  # the view that is broken


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
    start = time.process_time()  # what else runs on the machine does not count
    with pytest.raises(DataError) as refused:
        read_scan(folder)
    seconds, (_, peak) = time.process_time() - start, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    line = str(refused.value)
    assert str(folder) in line
    assert words in line.replace(str(folder), "")
    assert seconds < SCAN_GATE["refusal [s]"] and peak < SCAN_GATE["refusal [bytes]"]


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
        start = time.process_time()
        try:
            scan = read_scan(file)
            assert np.isfinite(scan.line_integrals[:]).all()
        except DataError:
            refused += 1
        slowest = max(slowest, time.process_time() - start)
    assert refused > 300 and slowest < SCAN_GATE["refusal [s]"]


def test_an_element_of_no_known_kind_is_told_or_not_needed(tmp_path):
    """Each element's two letters in turn; many elements are decoded when they are asked for."""
    hu = np.arange(64.0, dtype=np.float32).reshape(1, 8, 8)
    write_series(tmp_path, hu, positions=[0.0], spacing=(1.0, 1.0), slice_thickness=2.0, kvp=120.0,
                 mas=100.0, series_description="x")  # fmt: skip
    (file,) = tmp_path.glob("*.dcm")
    content = file.read_bytes()
    ds, tried = pydicom.dcmread(file), 0
    for element in ds:
        mark = element.tag.group.to_bytes(2, "little") + element.tag.elem.to_bytes(2, "little")
        at = content.find(mark + element.VR.encode(), 132)
        if at < 0:
            continue
        tried += 1
        file.write_bytes(content[: at + 4] + b"\x55\xc8" + content[at + 6 :])
        try:
            assert np.abs(read_images(tmp_path).hu - hu).max() < 1.0
        except DataError as error:
            assert file.name in str(error)
    assert tried > 30

"""Compressed CT images: decoded by the packages made for it, or said in one message."""

import tracemalloc
import zlib

import numpy as np
import pydicom
import pytest
from ct_files import TWO_EXPOSURES
from pydicom.data import get_testdata_file
from pydicom.encaps import encapsulate
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from recon.dicom import decode
from recon.dicom.elements import transfer_syntax
from recon.dicom.images import read_images
from recon.errors import DataError

needs_decoders = pytest.mark.skipif(
    not pydicom.pixels.get_decoder(JPEGLossless).is_available,
    reason="pylibjpeg and its plugins are not installed",
)


def jpeg_lossless(pixels):
    """Pixels of 16 bits as JPEG Lossless, each predicted by its left neighbour.

    The Huffman code is the simplest there is: the number of a difference's bits, in 5 bits.
    """
    rows, cols = pixels.shape
    values = pixels.astype(np.int64)
    before = np.empty_like(values)
    before[:, 1:], before[1:, 0], before[0, 0] = values[:, :-1], values[:-1, 0], 1 << 15
    bits = []
    for step in ((values - before + (1 << 15)) % (1 << 16) - (1 << 15)).ravel().tolist():
        size = abs(step).bit_length()
        bits.append(f"{size:05b}")
        if 0 < size < 16:
            bits.append(f"{step if step > 0 else step + (1 << size) - 1:0{size}b}")
    text = "".join(bits)
    text += "1" * (-len(text) % 8)
    scan = int(text, 2).to_bytes(len(text) // 8, "big").replace(b"\xff", b"\xff\0")

    def segment(marker, content):
        return bytes([0xFF, marker]) + (len(content) + 2).to_bytes(2, "big") + content

    size = rows.to_bytes(2, "big") + cols.to_bytes(2, "big")
    code = bytes([0, 0, 0, 0, 0, 17] + [0] * 11) + bytes(range(17))
    return (
        b"\xff\xd8"
        + segment(0xC3, b"\x10" + size + b"\x01\x01\x11\x00")
        + segment(0xC4, code)
        + segment(0xDA, b"\x01\x01\x00\x01\x00\x00")
        + scan
        + b"\xff\xd9"
    )


def compressed(file, content, syntax, **changes):
    ds = pydicom.dcmread(file)
    for keyword, value in changes.items():
        setattr(ds, keyword, value)
    ds.PixelData = encapsulate([content + b"\0" * (len(content) % 2)])
    ds["PixelData"].VR, ds["PixelData"].is_undefined_length = "OB", True
    ds.file_meta.TransferSyntaxUID = syntax
    ds.save_as(file)


@needs_decoders
@TWO_EXPOSURES
@pytest.mark.parametrize("syntax", [JPEGLossless, JPEGLosslessSV1])
def test_jpeg_lossless_is_what_was_compressed(small, syntax):
    ds = pydicom.dcmread(small / "a.dcm")
    pixels = (ds.pixel_array.astype(np.int32) + 1024).clip(0, 65535).astype(np.uint16)
    compressed(small / "a.dcm", jpeg_lossless(pixels), syntax, PixelRepresentation=0,
               RescaleIntercept=-1024)  # fmt: skip
    assert np.array_equal(read_images(small).hu[0], pixels - 1024.0)


@needs_decoders
@TWO_EXPOSURES
@pytest.mark.parametrize("syntax", [JPEGLSLossless, JPEGLSNearLossless])
def test_jpeg_ls_is_what_was_compressed(small, syntax):
    source = pydicom.dcmread(get_testdata_file("MR_small_jpeg_ls_lossless.dcm"))
    plain = pydicom.dcmread(get_testdata_file("MR_small.dcm"))
    (content,) = pydicom.encaps.generate_frames(source.PixelData, number_of_frames=1)
    names = "Rows", "Columns", "BitsStored", "HighBit", "PixelRepresentation"
    compressed(small / "a.dcm", content, syntax, RescaleIntercept=0,
               **{name: plain[name].value for name in names})  # fmt: skip
    assert np.array_equal(read_images(small).hu[0], plain.pixel_array)


@pytest.mark.parametrize("syntax", [JPEGLossless, JPEGLSLossless, JPEGExtended12Bit])
def test_without_a_decoder_the_message_says_which_to_install(small, syntax, monkeypatch):
    class Missing:
        is_available = False

    monkeypatch.setattr(decode, "get_decoder", lambda _: Missing)
    compressed(small / "a.dcm", b"\xff\xd8\xff\xd9", syntax)
    with pytest.raises(DataError) as refused:
        read_images(small)
    said = str(refused.value)
    for word in (f"compressed as {syntax.name}", str(syntax), "a.dcm", "(0002,0010)", "pip install",
                 "pylibjpeg-libjpeg", "pylibjpeg-openjpeg"):  # fmt: skip
        assert word in said
    assert "truncated" not in said


def test_what_nothing_decodes_says_so(small):
    compressed(small / "a.dcm", b"\0\0\0\0", "1.2.840.10008.1.2.4.100")
    with pytest.raises(DataError, match=r"compressed as MPEG2.*gdcmconv"):
        read_images(small)


def test_broken_compressed_pixels_are_named(small):
    compressed(small / "a.dcm", b"\0" * 70, RLELossless)
    with pytest.raises(DataError, match=r"truncated or cannot be decoded.*a\.dcm.*RLE"):
        read_images(small)


def deflated(file, body):
    """The file with its data set deflated, and more bytes after it."""
    ds = pydicom.dcmread(file)
    ds.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    ds.save_as(file)
    if body:
        content = file.read_bytes()
        _, start = transfer_syntax(content)
        packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
        inside = zlib.decompress(content[start:], -zlib.MAX_WBITS)
        packed = packer.compress(inside) + b"".join(packer.compress(bytes(1 << 20)) for _ in body)
        file.write_bytes(content[:start] + packed + packer.flush())


@TWO_EXPOSURES
def test_a_deflated_slice_is_read_and_a_bomb_is_not(small):
    before = read_images(small).hu
    deflated(small / "a.dcm", ())
    assert np.array_equal(read_images(small).hu, before)
    deflated(small / "a.dcm", range(70))
    tracemalloc.start()
    with pytest.raises(DataError, match="a deflated file is too large"):
        read_images(small)
    assert tracemalloc.get_traced_memory()[1] < 20e6
    tracemalloc.stop()


@TWO_EXPOSURES
@pytest.mark.parametrize(("more", "reads"), [(0, True), (2, False), (5000, False)])
def test_pixels_are_as_many_as_the_matrix_has(small, more, reads):
    ds = pydicom.dcmread(small / "a.dcm")
    ds.PixelData = ds.PixelData + bytes(more)
    ds.save_as(small / "a.dcm")
    if reads:
        assert len(read_images(small)) == 1
        return
    with pytest.raises(DataError, match=r"do not fit the matrix .*\(7FE0,0010\)"):
        read_images(small)

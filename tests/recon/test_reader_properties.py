"""Any bytes, any header within the format: a right result or a `DataError`, quickly and in bounds.

The default profile takes some seconds; the slow one tries thousands.
"""

import math
import time
import tracemalloc
import warnings
from contextlib import contextmanager
from io import BytesIO

import numpy as np
import pydicom
import pytest
from ct_files import scene, write
from ctpd_files import Series, datasets, save
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from recon.ctpd.order import scan_order
from recon.ctpd.read import read_scan
from recon.dicom.alike import alike
from recon.dicom.elements import read_header
from recon.dicom.images import read_images
from recon.errors import DataError

FEW, MANY = 40, 3000
SECONDS, BYTES = 1.0, 256e6  # of processor, of memory
PROFILE = {
    "deadline": None, "database": None,
    "suppress_health_check": list(HealthCheck),
}  # fmt: skip

NUMBERS = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True),
    st.sampled_from([0.0, -1.0, 1e-9, 1e9, 1e300, -1e-300, math.nan, math.inf]),
)
TEXTS = st.one_of(
    NUMBERS.map(lambda value: f"{value:.9g}"[:16]),
    st.text(
        st.characters(min_codepoint=32, max_codepoint=126, exclude_characters="\\"), max_size=16
    ),
    st.just(""),
)
IMAGE_NUMBERS = (
    "RescaleSlope", "RescaleIntercept", "SliceThickness", "KVP", "XRayTubeCurrent", "ExposureTime",
    "Exposure", "GantryDetectorTilt", "SpacingBetweenSlices", "PixelSpacing",
    "ImagePositionPatient", "ImageOrientationPatient", "SeriesNumber", "NumberOfFrames",
)  # fmt: skip
IMAGE_WORDS = ("Rows", "Columns", "BitsStored", "BitsAllocated", "HighBit", "PixelRepresentation",
               "SamplesPerPixel", "PixelPaddingValue", "PixelPaddingRangeLimit")  # fmt: skip
VIEW_FLOATS = (0x70291002, 0x70291006, 0x70311001, 0x70311002, 0x70311003, 0x70311031, 0x7033100B,
               0x7033100C, 0x7033100D)  # fmt: skip
VIEW_WORDS = (0x70291010, 0x70291011, 0x70331013, 0x00280010, 0x00280011, 0x00280100)
VIEW_TEXTS = (0x00180060, 0x00181150, 0x00181151, 0x00281052, 0x00281053, 0x70411001, 0x7033100E,
              0x00185100, 0x70391009)  # fmt: skip


def bounded(read):
    """What a reader returns, or None for a `DataError`; anything else fails."""
    tracemalloc.start()
    start = time.process_time()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return read()
    except DataError as error:
        assert "\n" not in str(error) and len(str(error)) < 2000
        return None
    finally:
        seconds, (_, peak) = time.process_time() - start, tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert seconds < SECONDS and peak < BYTES


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    """A slice of 8 × 9 pixels, as a file that may be overwritten."""
    (file,) = write(tmp_path_factory.mktemp("image"), scene(slices=1, rows=10, cols=30))
    return file


@pytest.fixture(scope="module")
def view(tmp_path_factory):
    """One view, as a file that may be overwritten."""
    folder = save(tmp_path_factory.mktemp("view"), datasets(Series(views=1)), explicit=True)
    return next(folder.iterdir())


def usable(images):
    assert np.isfinite(images.hu).all() and np.isfinite(images.positions).all()
    assert all(1e-3 <= s <= 100 for s in images.spacing)
    assert np.abs(images.hu).max() <= 1e8


def mutated(content, edits):
    """Content after edits: (place, kind, byte)."""
    mutant = bytearray(content)
    for place, kind, byte in edits:
        at = 132 + int(place * (len(mutant) - 140))
        if kind == 0:
            mutant[at] ^= byte or 1
        elif kind == 1:
            del mutant[at : at + byte]
        elif kind == 2:
            mutant[at:at] = bytes([byte]) * (1 + byte % 16)
        else:
            mutant[at : at + 4] = bytes([255, 255, byte, byte])
    return bytes(mutant)


EDITS = st.lists(
    st.tuples(st.floats(0, 1), st.integers(0, 3), st.integers(0, 255)), min_size=1, max_size=4
)


@contextmanager
def put_back(file):
    """The content of a file that may be overwritten in the block."""
    content = file.read_bytes()
    try:
        yield content
    finally:
        file.write_bytes(content)


def run(test, profile, *strategies):
    settings(max_examples=profile, **PROFILE)(given(*strategies)(test))()


PROFILES = [FEW, pytest.param(MANY, marks=pytest.mark.slow)]


@pytest.mark.parametrize("profile", PROFILES)
def test_any_bytes_are_a_file_or_refused(profile, tmp_path):
    file = tmp_path / "a.dcm"

    def check(content, preamble):
        file.write_bytes((bytes(128) + b"DICM" if preamble else b"") + content)
        assert bounded(lambda: read_images(file)) is None
        assert bounded(lambda: read_scan(file)) is None
        bounded(lambda: read_header(file, {0x00180060}))

    run(check, profile, st.binary(max_size=400), st.booleans())


@pytest.mark.parametrize("profile", PROFILES)
def test_an_altered_image_is_usable_or_refused(profile, image):
    def check(edits):
        image.write_bytes(mutated(content, edits))
        found = bounded(lambda: read_images(image))
        if found is not None:
            usable(found)

    with put_back(image) as content:
        run(check, profile, EDITS)


@pytest.mark.parametrize("profile", PROFILES)
def test_an_altered_view_is_usable_or_refused(profile, view):
    def check(edits):
        view.write_bytes(mutated(content, edits))
        found = bounded(lambda: read_scan(view))
        if found is not None:
            rays = bounded(lambda: found.line_integrals[:])
            assert rays is None or np.isfinite(rays).all()

    with put_back(view) as content:
        run(check, profile, EDITS)


@pytest.mark.parametrize("profile", PROFILES)
def test_an_image_header_within_the_format_is_right_or_refused(profile, image):
    def check(texts, words):
        ds = pydicom.dcmread(BytesIO(content))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for keyword, values in texts.items():
                put(ds, keyword, "\\".join(values))
            for keyword, value in words.items():
                setattr(ds, keyword, value)
            try:
                ds.save_as(image)
            except Exception:  # pydicom itself does not write that
                return
        found = bounded(lambda: read_images(image))
        if found is not None:
            usable(found)
            stated = {k: v for k, v in texts.items() if k in ("RescaleSlope", "RescaleIntercept")}
            for keyword, values in stated.items():
                assert math.isfinite(float(values[0])), keyword

    lists = st.lists(TEXTS, min_size=1, max_size=7)
    with put_back(image) as content:
        run(
            check, profile,
            st.dictionaries(st.sampled_from(IMAGE_NUMBERS), lists, min_size=1, max_size=3),
            st.dictionaries(st.sampled_from(IMAGE_WORDS), st.integers(0, 65535), max_size=2),
        )  # fmt: skip


def put(ds, keyword, text):
    """Set a text as it is, whatever pydicom thinks of it."""
    tag = pydicom.datadict.tag_for_keyword(keyword)
    vr = pydicom.datadict.dictionary_VR(tag)
    ds[tag] = pydicom.dataelem.RawDataElement(
        pydicom.tag.Tag(tag), vr, len(text), text.encode(), 0, False, True
    )


@pytest.mark.parametrize("profile", PROFILES)
def test_a_view_header_within_the_format_is_right_or_refused(profile, tmp_path):
    good = datasets(Series(views=1))[0]
    number = [0]

    def check(floats, words, texts):
        ds = Dataset()
        ds.update(good)
        for tag, value in floats.items():
            ds.add_new(tag, "FL", float(np.float32(np.clip(value, -3e38, 3e38))))
        for tag, value in words.items():
            ds.add_new(tag, "US", value)
        for tag, value in texts.items():
            ds.add_new(tag, "LO", value)  # whatever the VR should be
        folder = tmp_path / str(number[0])
        number[0] += 1
        found = bounded(lambda: read_scan(save(folder, [ds], names=["a.dcm"], explicit=True)))
        if found is None:
            return
        g = found.geometry
        assert all(np.isfinite(getattr(g, name)).all() for name in ("angles", "z", "shift_z"))
        assert 50 <= g.src_iso < g.src_det and g.row_pitch > 0 and g.col_pitch > 0
        rays = bounded(lambda: found.line_integrals[:])
        assert rays is None or (rays.shape == g.shape and np.isfinite(rays).all())

    def some(tags, values):
        return st.dictionaries(st.sampled_from(tags), values, max_size=2)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run(check, profile, some(VIEW_FLOATS, NUMBERS), some(VIEW_WORDS, st.integers(0, 65535)),
            some(VIEW_TEXTS, TEXTS))  # fmt: skip


@pytest.mark.parametrize("profile", PROFILES)
def test_any_order_of_files_is_the_scan_order(profile):
    def check(seed, views, per_turn, feed, first):
        k = np.arange(views)
        angles = np.remainder(first + 2 * np.pi * k / per_turn + np.pi, 2 * np.pi) - np.pi
        z = feed * k / per_turn
        shuffled = np.random.default_rng(seed).permutation(views)
        order, unwrapped = scan_order(
            angles[shuffled], z[shuffled], clocks=(k[shuffled].astype(float),)
        )
        assert np.array_equal(shuffled[order], k)
        np.testing.assert_allclose(np.diff(unwrapped), 2 * np.pi / per_turn, atol=1e-9)

    run(
        check, profile, st.integers(0, 2**32 - 1), st.integers(2, 300), st.integers(8, 96),
        st.floats(1, 60) | st.floats(-60, -1), st.floats(-3, 3),
    )  # fmt: skip


@pytest.mark.parametrize("profile", PROFILES)
def test_a_number_is_like_itself_however_it_is_rounded(profile):
    def check(value, digits):
        assert alike([value], [float(f"{value:.{digits}g}")])
        assert not alike([value], [value * 1.0003])

    run(check, profile, st.floats(1e-6, 1e6), st.integers(5, 16))

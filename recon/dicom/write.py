"""Writing images as a derived CT series that carries no identity.

Every attribute is set here, from a short list of technical ones; nothing is copied from a source
and then stripped. UIDs are a digest of the content, so the same images give the same bytes.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..checks import array
from ..errors import DataError
from ..scan.scan import derived_uid
from ..storage import write_atomic
from .derived import decimal, derived_slice, encoded, file_content, identify, image_reference
from .elements import HU_RANGE

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from .acquisition import Acquisition
    from .images import CTImages

__all__ = ["write_series"]


def write_series(
    folder: str | Path,
    hu: Any,
    *,
    like: CTImages | None = None,
    acquisition: Acquisition | None = None,
    spacing: tuple[float, float] | None = None,
    slice_thickness: Any = None,
    positions: Any = None,
    series_description: str,
    kvp: float | None = None,
    mas: Any = None,
    kernel: str = "",
    uid_seed: int | str | None = None,
) -> list[Path]:
    """Write slices as a CT Image Storage series, ``DERIVED\\SECONDARY``, with new UIDs.

    CT numbers are rounded to whole HU. The images of one source share study and frame of
    reference; they refer to the source's slices in Source Image Sequence.

    Parameters
    ----------
    folder : str or Path
        Made if need be; the files are called slice-001.dcm and so on, with
        as many digits as their number needs.
    hu : array, shape (slices, rows, cols)
        CT numbers [HU], finite; clipped to :data:`~recon.dicom.elements.HU_RANGE`.
    like : CTImages, optional
        Source of the images: gives what the next three do not, orientation and patient position.
    acquisition : Acquisition, optional
        Instead of ``like``, the scan that they are reconstructed from.
    spacing : (float, float), optional
        Distance of rows and of columns (sy, sx) [mm].
    slice_thickness : float or array, shape (slices,), optional
        Nominal slice thickness [mm].
    positions : array, shape (slices, 3) or (slices,), optional
        Centre of each slice's first pixel, (x, y, z) of the patient [mm]; or z alone, for slices
        whose middle lies at x = y = 0.
    series_description : str
        At most 64 characters.
    kvp : float, optional
        Tube voltage [kV] that the images stand for; without a number the files say nothing.
    mas : float or array, shape (slices,), optional
        Likewise their exposure per rotation [mAs].
    kernel : str
        Window or kernel of the reconstruction, at most 16 characters.
    uid_seed : int or str, optional
        Enters the UIDs: the same content written with two seeds is two series. Series without a
        source that are written with the same seed share study and frame of reference.

    Returns
    -------
    list of Path
        The files, in the order of the slices.

    Raises
    ------
    DataError
        If values are not finite, or the geometry is missing or does not fit the images.

    Examples
    --------
    >>> import tempfile, numpy as np
    >>> from recon import read_images, write_series
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     files = write_series(
    ...         folder, np.full((1, 4, 4), 40.0), spacing=(1.0, 1.0), slice_thickness=1.5,
    ...         positions=[5.0], series_description="water and salt", kvp=120, mas=10,
    ...     )
    ...     print(read_images(folder))
    CTImages(1 slice of 4 × 4, pixels 1 × 1 mm, 1.5 mm thick, z 5.0 to 5.0 mm, 120 kV, 10 mAs)
    """
    images = np.asarray(hu)
    if images.ndim != 3 or images.size == 0 or max(images.shape[1:]) > 65535:
        raise DataError("images", where="hu", expected="(slices, rows, cols)", got=images.shape)
    if not np.isfinite(images).all():
        raise DataError("images hold NaN or infinite values", where="hu")
    _check_text("series_description", series_description, 64)
    _check_text("kernel", kernel, 16)
    for name, value, most in (("kvp", kvp, 1), ("mas", mas, len(images))):
        numbers = np.array([]) if value is None else array(name, value).ravel()
        if not ((numbers > 0.0) & (numbers < 1e6)).all():
            raise DataError(f"{name} is not positive", where=name, got=value)
        if numbers.size not in (0, 1, most):
            raise DataError(f"one {name} is needed, or one per slice", where=name, got=value)
    exposures = [None] * len(images) if mas is None else np.broadcast_to(mas, len(images)).tolist()
    if like is not None:
        spacing, slice_thickness, positions = _as_in(
            like, images, spacing, slice_thickness, positions
        )
    lengths, thicknesses, places = _checked_geometry(images, spacing, slice_thickness, positions)
    source = acquisition if like is None else like
    orientation = (1, 0, 0, 0, 1, 0) if source is None else source.orientation
    position = "" if source is None else source.patient_position
    datasets = []
    for k, image in enumerate(images):
        pixels = np.rint(np.clip(image, *HU_RANGE)).astype("<i2")
        ds = derived_slice(
            pixels, kvp=kvp, mas=exposures[k], kernel=kernel, description=series_description
        )
        ds.InstanceNumber = k + 1
        ds.PixelSpacing = [decimal(length) for length in lengths]
        ds.SliceThickness = decimal(thicknesses[k])
        ds.ImagePositionPatient = [decimal(coordinate) for coordinate in places[k]]
        ds.ImageOrientationPatient = [decimal(cosine) for cosine in orientation]
        ds.PatientPosition = position or "HFS"
        if like is not None:
            uids = like.instance_uids
            own = uids[k : k + 1] if len(images) == len(like) else uids
            if uids:  # slices of a volume file have none
                ds.SourceImageSequence = [image_reference(uid) for uid in own]
        elif acquisition is not None:
            acquisition.put(ds, k)
        datasets.append(ds)
    belongs_to = None if uid_seed is None else (str(uid_seed), str(uid_seed))
    if like is not None:
        belongs_to = like.study_uid, like.frame_uid or like.study_uid
    elif acquisition is not None:
        belongs_to = acquisition.study, acquisition.frame
    return _write(Path(folder), datasets, belongs_to, uid_seed)


def _check_text(name: str, text: str, limit: int) -> None:
    if len(text) > limit or "\\" in text or not text.isprintable():
        raise DataError(
            "text does not fit its attribute",
            where=name,
            expected=f"at most {limit} printable characters without a backslash",
            got=repr(text),
        )


def _as_in(
    like: CTImages, images: np.ndarray, spacing: Any, slice_thickness: Any, positions: Any
) -> tuple[Any, Any, Any]:
    """The geometry of images, what is not given of it being that of the source."""
    if spacing is None or positions is None:
        if images.shape != like.hu.shape:
            raise DataError(
                "images do not lie on the source's pixels",
                where="hu",
                expected=like.hu.shape,
                got=images.shape,
                remedy="give spacing and positions",
            )
        spacing = spacing or like.spacing
        positions = like.positions if positions is None else positions
    if slice_thickness is None:
        slice_thickness = like.thicknesses if len(images) == len(like) else like.slice_thickness
    return spacing, slice_thickness, positions


def _checked_geometry(
    images: np.ndarray, spacing: Any, slice_thickness: Any, positions: Any
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Spacing (2,), thickness (slices,) and position (slices, 3) of images [mm]."""
    slices = len(images)
    if spacing is None or slice_thickness is None or positions is None:
        raise DataError(
            "the geometry of the images is not known",
            expected="like, or spacing, slice_thickness and positions",
        )
    lengths, thicknesses = array("spacing", spacing), array("slice_thickness", slice_thickness)
    places = array("positions", positions)
    if lengths.shape != (2,) or not (lengths > 0).all():
        raise DataError(
            "pixel spacing is not positive", where="spacing", expected="(sy, sx) mm", got=spacing
        )
    if thicknesses.shape not in ((), (slices,)) or not (thicknesses > 0).all():
        raise DataError(
            "slice thickness is not positive, or not one or one per slice",
            where="slice_thickness",
            expected=f"mm, a number or {slices} of them",
            got=slice_thickness,
        )
    if places.ndim == 1:  # z alone: the slices are centred
        corner = -(np.array(images.shape[:0:-1]) - 1) / 2 * lengths[::-1]
        places = np.array([(*corner, z) for z in places])
    if places.shape != (slices, 3):
        raise DataError(
            "one place per slice is needed",
            where="positions",
            expected=f"({slices}, 3) or ({slices},)",
            got=np.shape(positions),
        )
    return lengths, np.broadcast_to(thicknesses, slices), places


def _write(
    folder: Path, datasets: list[Dataset], belongs_to: tuple[str, str] | None, seed: object
) -> list[Path]:
    """Give slices their UIDs and write them.

    ``belongs_to`` is what the UIDs of study and frame of reference are made of; without it, the
    series makes up a study of its own.
    """
    digests = [hashlib.sha256(encoded(ds)).hexdigest() for ds in datasets]
    series = derived_uid("series", seed, *digests)
    study, frame = belongs_to or (series, series)
    digits = max(len(str(len(datasets))), 3)
    paths = []
    for ds, digest in zip(datasets, digests):
        ds.StudyInstanceUID = derived_uid("study", study)
        ds.FrameOfReferenceUID = derived_uid("frame of reference", frame)
        ds.SeriesInstanceUID = series
        ds.SOPInstanceUID = derived_uid("instance", series, digest)
        identify(ds, ds.StudyInstanceUID, series)
        path = folder / f"slice-{ds.InstanceNumber:0{digits}d}.dcm"
        paths.append(write_atomic(path, file_content(ds)))
    return paths

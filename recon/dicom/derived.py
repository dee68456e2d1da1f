"""The DICOM data set of one derived CT slice: what it holds, and its bytes.

The attributes come from a short list of technical ones, so that no identity can be among them.
"""

from __future__ import annotations

import hashlib
import io

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from ..scan.scan import own_uid

__all__ = ["decimal", "derived_slice", "encoded", "file_content", "identify", "image_reference"]

_NO_DATE, _NO_TIME = "20000101", "000000"  # of nobody's study


def derived_slice(
    pixels: np.ndarray, *, kvp: float | None, mas: float | None, kernel: str, description: str
) -> Dataset:
    """Return the data set of a slice: pixels in HU, and nothing of where it lies."""
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.ImageType = ["DERIVED", "SECONDARY", "AXIAL"]
    ds.SOPClassUID = CTImageStorage
    ds.Modality = "CT"
    ds.SeriesDescription = description
    ds.Manufacturer = "ctxai"
    ds.DerivationDescription = "Simulated or processed; no diagnostic use"
    # required to be there, allowed to be empty
    for keyword in (
        "AccessionNumber", "ReferringPhysicianName", "PatientName", "PatientBirthDate",
        "PatientSex", "AcquisitionNumber", "PositionReferenceIndicator", "Laterality",
    ):  # fmt: skip
        setattr(ds, keyword, None)
    ds.PatientIdentityRemoved = "YES"
    ds.DeidentificationMethod = "Written from a list of technical attributes"
    ds.KVP = None if kvp is None else decimal(kvp)
    if mas is not None:
        ds.Exposure = round(mas)
        ds.ExposureInuAs = round(mas * 1000)
    if kernel:
        ds.ConvolutionKernel = kernel
    ds.SamplesPerPixel = 1
    ds.PhotometricInterpretation = "MONOCHROME2"
    ds.Rows, ds.Columns = pixels.shape
    ds.BitsAllocated = ds.BitsStored = 16
    ds.HighBit = 15
    ds.PixelRepresentation = 1
    ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = 0, 1, "HU"
    ds.WindowCenter, ds.WindowWidth = 40, 400
    ds.PixelData = pixels.tobytes()
    ds["PixelData"].VR = "OW"
    return ds


def identify(ds: Dataset, study: str, series: str) -> None:
    """Give a slice identifiers of our own, without which archives do not take it.

    They are digests of the UIDs of study and series: the same for the same study, nobody's.
    """
    name = hashlib.sha256(study.encode()).hexdigest()[:10]
    ds.PatientID, ds.StudyID = f"ctxai-{name}", name
    ds.StudyDate, ds.StudyTime = _NO_DATE, _NO_TIME
    ds.SeriesNumber = 1 + int(hashlib.sha256(series.encode()).hexdigest()[:6], 16) % 9999


def image_reference(instance_uid: str) -> Dataset:
    """Return an item of Source Image Sequence."""
    purpose = Dataset()
    purpose.CodeValue = "121322"
    purpose.CodingSchemeDesignator = "DCM"
    purpose.CodeMeaning = "Source image for image processing operation"
    item = Dataset()
    item.ReferencedSOPClassUID = CTImageStorage
    item.ReferencedSOPInstanceUID = own_uid(instance_uid)
    item.PurposeOfReferenceCodeSequence = [purpose]
    return item


def decimal(value: float) -> str:
    """Write a number in the 16 characters of a decimal string, to nine digits or better."""
    return next(text for digits in (12, 11, 10, 9) if len(text := f"{value:.{digits}g}") <= 16)


def encoded(ds: Dataset) -> bytes:
    """Return the bytes of a data set alone, for a digest."""
    content = io.BytesIO()
    pydicom.dcmwrite(content, ds, implicit_vr=False, little_endian=True)
    return content.getvalue()


def file_content(ds: Dataset) -> bytes:
    """Return the bytes of the file of a data set."""
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    content = io.BytesIO()
    pydicom.dcmwrite(content, ds, enforce_file_format=True)
    return content.getvalue()

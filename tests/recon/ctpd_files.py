"""DICOM-CT-PD series written by pydicom, element by element: an oracle for the reader."""

import math
from dataclasses import dataclass, replace

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

V3 = "CtProjectionData-MayoClinc-v1"
OLD = "CT IMG ACQUISITION"
RAW_DATA = "1.2.840.10008.5.1.4.1.1.66"
SHIFTS = {  # Δφ [rad], Δz [mm], Δρ [mm] of the states that follow each other
    "FFSNONE": [(3.35e-4, 0.0, 0.0)],
    "FFSZ": [(3.35e-4, 0.0, 0.0), (3.35e-4, -0.66, 5.45)],
    "FFSXY": [(1e-3, 0.0, 0.0), (-1e-3, 0.0, 0.0)],
    "FFSXYZ": [(1e-3, 0.0, 0.0), (-1e-3, 0.0, 0.0), (1e-3, -0.66, 5.45), (-1e-3, -0.66, 5.45)],
}


@dataclass(frozen=True)
class Series:
    """What to write: a small detector on a helix, in the ways that files differ."""

    views: int = 24
    rows: int = 8
    cols: int = 16
    per_turn: int = 16
    feed: float = 12.0  # mm a turn, signed: falling z0 is a table moving in
    first_angle: float = 1.0
    first_z: float = 100.0
    ffs: str = "FFSZ"
    creator: str = V3
    manufacturer: str = "SIEMENS"
    central: tuple = (8.125, 4.5)  # column and row, counted from 1
    explicit: bool = False
    unknown: bool = False  # private elements as UN
    transposed: bool = True
    block: int = 0x10
    slope: float = 1.5e-4
    intercept: float = -0.2
    position: str = "HFS"
    current: float = 400.0
    timestamps: bool = True
    instances: bool = True
    seed: int = 0

    def angle(self, k):
        return self.first_angle + 2 * math.pi * k / self.per_turn

    def z(self, k):
        return self.first_z + self.feed * k / self.per_turn

    def stored(self):
        """Raw values (views, rows, cols): no two views, rows or columns are alike."""
        rng = np.random.default_rng(self.seed)
        return rng.integers(0, 50000, (self.views, self.rows, self.cols)).astype(np.uint16)

    def line_integrals(self):
        return (self.stored() * self.slope + self.intercept).astype(np.float32)

    def photons(self, k):
        bowtie = 1e5 / (1 + np.arange(self.cols))
        return (bowtie * (1 + 0.1 * math.sin(k))).astype(np.float32)

    def with_(self, **changes):
        return replace(self, **changes)


VARIANTS = {
    "Siemens, z flying, table out": {},
    "table in": {"feed": -12.0},
    "FFSNONE": {"ffs": "FFSNONE"},
    "FFSXY": {"ffs": "FFSXY"},
    "FFSXYZ": {"ffs": "FFSXYZ"},
    "explicit, decoded": {"explicit": True},
    "explicit, UN": {"explicit": True, "unknown": True},
    "implicit, as bytes": {"unknown": True},
    "rows first": {"transposed": False},
    "another private block": {"block": 0x12},
    "no time stamps": {"timestamps": False, "feed": -9.0},
    "neither time stamps nor instance numbers": {"timestamps": False, "instances": False},
    "2016 dictionary": {"creator": OLD},
    "2016 dictionary, table in": {"creator": OLD, "feed": -12.0, "explicit": True},
    "GE": {"manufacturer": "GE MEDICAL SYSTEMS", "ffs": "FFSNONE", "central": (8.75, 4.5)},
    "low pitch": {"feed": 1.0, "views": 64},
}


def dataset(series, k, stored):
    """One view."""
    ds = Dataset()
    old = series.creator == OLD
    ds.SOPClassUID = pydicom.uid.CTImageStorage if old else RAW_DATA
    ds.SOPInstanceUID = f"1.2.3.{series.seed}.{k + 1}"
    ds.Modality = "CT"
    ds.Manufacturer = series.manufacturer
    ds.PatientID = "P1"
    ds.KVP = "120"
    ds.DataCollectionDiameter = "500"
    ds.ExposureTime = 500
    ds.XRayTubeCurrent = round(series.current * (1 + 0.1 * math.sin(k)))
    if series.position:
        ds.PatientPosition = series.position
    ds.SpiralPitchFactor = 0.7
    ds.CTDIvol = 12.5
    ds.StudyInstanceUID = "1.2.3"
    ds.SeriesInstanceUID = "1.2.3.4"
    if series.instances:
        ds.InstanceNumber = k + 1
    ds.SamplesPerPixel = 1
    ds.PhotometricInterpretation = "MONOCHROME2"
    pixels = stored.T if series.transposed else stored
    ds.Rows, ds.Columns = pixels.shape
    ds.BitsAllocated = ds.BitsStored = 16
    ds.HighBit = 15
    ds.PixelRepresentation = 0
    ds.RescaleSlope, ds.RescaleIntercept = f"{series.slope:g}", f"{series.intercept:g}"
    ds.PixelData = np.ascontiguousarray(pixels).tobytes()
    ds["PixelData"].VR = "OW"

    angle, z = series.angle(k), series.z(k)
    states = SHIFTS[series.ffs]
    d_phi, d_z, d_rho = states[k % len(states)]
    private(ds, series, 0x7029, 0x02, "FL", 60.0)
    private(ds, series, 0x7029, 0x06, "FL", 8.0)
    private(ds, series, 0x7029, 0x0B, "CS", "CYLINDRICAL")
    private(ds, series, 0x7029, 0x10, "US", series.rows)
    private(ds, series, 0x7029, 0x11, "US", series.cols)
    private(ds, series, 0x7031, 0x01, "FL", math.remainder(angle, 2 * math.pi))
    private(ds, series, 0x7031, 0x02, "FL", z)
    private(ds, series, 0x7031, 0x03, "FL", 595.0)
    private(ds, series, 0x7031, 0x31, "FL", 1085.6)
    private(ds, series, 0x7031, 0x33, "FL", list(series.central))
    private(ds, series, 0x7033, 0x0C if old else 0x0B, "FL", d_phi)
    private(ds, series, 0x7033, 0x0B if old else 0x0C, "FL", d_z)
    private(ds, series, 0x7033, 0x0D, "FL", d_rho)
    private(ds, series, 0x7033, 0x0E, "CS", series.ffs)
    private(ds, series, 0x7033, 0x13, "US", series.per_turn)
    private(ds, series, 0x7033, 0x61, "US", 1)
    private(ds, series, 0x7033, 0x63, "US", 1)
    if not old:
        private(ds, series, 0x7033, 0x65, "FL", series.photons(k).tolist())
        if series.timestamps:
            private(ds, series, 0x7033, 0x67, "FL", 500.0 * k / series.per_turn)
    private(ds, series, 0x7037, 0x09, "CS", "HELICAL")
    private(ds, series, 0x7037, 0x0A, "CS", "FANBEAM")
    for flag in range(0x03, 0x0A):
        private(ds, series, 0x7039, flag, "CS", "YES")
    if old:
        ds.add_new(0x00180061, "DS", "0.192")
    else:
        private(ds, series, 0x7041, 0x01, "DS", "0.0192")
    return ds


def private(ds, series, group, element, vr, value):
    """Set a private element, under its creator."""
    ds.add_new(group << 16 | series.block, "LO", series.creator)
    tag = group << 16 | series.block << 8 | element
    if not series.unknown:
        ds.add_new(tag, vr, value)
        return
    values = value if isinstance(value, list) else [value]
    content = {
        "FL": lambda: np.array(values, "<f4").tobytes(),
        "US": lambda: np.array(values, "<u2").tobytes(),
        "CS": lambda: str(value).encode().ljust(len(str(value)) + len(str(value)) % 2),
        "DS": lambda: str(value).encode().ljust(len(str(value)) + len(str(value)) % 2),
    }[vr]()
    ds.add_new(tag, "UN", content)


def datasets(series):
    """All views, in scan order."""
    return [dataset(series, k, stored) for k, stored in enumerate(series.stored())]


def save(folder, views, *, explicit=False, names=None):
    """Write views; file names are shuffled unless they are given."""
    folder.mkdir(parents=True, exist_ok=True)
    if names is None:
        shuffled = np.random.default_rng(7).permutation(len(views))
        names = [f"1-{k}.dcm" for k in shuffled]  # unpadded
    for ds, name in zip(views, names):
        ds.file_meta = FileMetaDataset()
        ds.file_meta.TransferSyntaxUID = (
            ExplicitVRLittleEndian if explicit else ImplicitVRLittleEndian
        )
        ds.file_meta.MediaStorageSOPClassUID = ds.get("SOPClassUID", RAW_DATA)
        ds.file_meta.MediaStorageSOPInstanceUID = ds.get("SOPInstanceUID", "1.2")
        ds.save_as(folder / name, enforce_file_format=True)
    return folder


def write(folder, series=None, **changes):
    """Write a series; returns its folder."""
    series = (series or Series()).with_(**changes)
    return save(folder, datasets(series), explicit=series.explicit)

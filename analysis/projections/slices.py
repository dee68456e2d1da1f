"""Which slices to reconstruct of a scan, and what is left behind of them: a DICOM series."""

from __future__ import annotations

import math
import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from tyro.conf import arg

from recon import DataError

if TYPE_CHECKING:
    from recon import ImageGrid, Scan

__all__ = [
    "SliceOptions",
    "SlicePlan",
    "plan_slices",
    "reconstruct_slices",
    "write_beside",
    "write_slices",
]

_MOST_SLICES = 20000
_MOST_PIXELS = 8192
_INT16 = -32768, 32767
_PER_RAY = 1.8e-7  # s of one core: read, rebin, filter
_PER_UPDATE = 6e-9  # s of one core: one pixel, one angle
_PREVIEW = 0.2  # of the time
_OUTSIDE = 0.02  # of the image's circle: what may lie outside the measured field without a word


@dataclass(frozen=True)
class SliceOptions:
    """Field of view, slices and window of a reconstruction, as the command line takes them."""

    fov: Annotated[float, arg(metavar="MM")] = 400.0
    """Width of the square image [mm]."""
    matrix: int = 512
    """Pixels along each side."""
    slice_thickness: Annotated[float, arg(metavar="MM")] = 1.5
    """Slice thickness [mm]."""
    slice_increment: Annotated[float, arg(metavar="MM")] = 1.0
    """Distance of the slices [mm]."""
    window: str = "hann"
    """Window of the ramp filter (ram-lak, shepp-logan, cosine, hann), or a clinical kernel (smooth,
    medium, sharp)."""
    z_range: Annotated[tuple[float, float] | None, arg(metavar="LO HI")] = None
    """First and last slice on the scanner's axis [mm]; all that the scan covers by default."""
    centre: Annotated[tuple[float, float], arg(metavar="X Y")] = (0.0, 0.0)
    """Middle of the image: mm from the axis, to the right and downward."""
    preview: bool = False
    """Single-slice rebinning: several times faster, with cone-beam artefacts."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Where the backprojection runs."""
    geometry: Literal["as-stated", "as-fitted"] | None = None
    """What to do if the geometry that the files state does not fit the data: go on with it, or with
    what fits. Without this, such a scan is refused."""
    patient_position: Annotated[str, arg(metavar="HFS|FFS|...")] = ""
    """Position of the patient on the table, in place of the files' own: HFS, HFP, FFS, FFP, HFDR,
    HFDL, FFDR or FFDL."""
    volume: Literal["nii.gz", "nrrd"] | None = None
    """Also write the slices of each series as one file, slices.nii.gz or slices.nrrd."""

    def check(self) -> None:
        """Refuse what cannot be reconstructed, whatever the scan."""
        for name, value in (
            ("--fov", self.fov),
            ("--slice-thickness", self.slice_thickness),
            ("--slice-increment", self.slice_increment),
        ):
            if not 0.0 < value < 1e4:
                raise DataError("not positive", where=name, expected="mm, above 0", got=value)
        if not 1 <= self.matrix <= _MOST_PIXELS:
            raise DataError(
                "no such matrix", where="--matrix", expected=f"1 to {_MOST_PIXELS}", got=self.matrix
            )
        numbers = (*self.centre, *(self.z_range or ()))
        if not np.isfinite(numbers).all():
            raise DataError("not finite", where="--centre, --z-range", got=numbers)
        if self.z_range is not None and self.z_range[0] > self.z_range[1]:
            raise DataError(
                "the range runs backwards", where="--z-range", expected="LO ≤ HI",
                got=f"{self.z_range[0]:g} {self.z_range[1]:g}",
            )  # fmt: skip
        from recon import PATIENT_POSITIONS, check_window, require_volume_format

        if self.patient_position not in ("", *PATIENT_POSITIONS):
            raise DataError(
                "no such position of the patient", where="--patient-position",
                expected=", ".join(PATIENT_POSITIONS), got=self.patient_position[:16],
            )  # fmt: skip
        check_window(self.window)
        if self.volume is not None:
            require_volume_format(f"slices.{self.volume}")


@dataclass(frozen=True)
class SlicePlan:
    """Pixels and heights of the slices to reconstruct, and how."""

    grid: ImageGrid
    z: np.ndarray
    options: SliceOptions

    def facts(self) -> dict[str, Any]:
        """What run.json says of it."""
        o = self.options
        return {
            "slices": len(self.z),
            "z_mm": [float(self.z[0]), float(self.z[-1])],
            "increment_mm": o.slice_increment,
            "thickness_mm": o.slice_thickness,
            "matrix": list(self.grid.shape),
            "pixel_mm": list(self.grid.spacing),
            "centre_mm": list(self.grid.centre),
            "window": o.window,
            "method": "single-slice rebinning (preview)" if o.preview else "weighted FBP",
            "device": o.device,
        }

    def seconds(self, scan: Scan) -> float:
        """About how long the slices of a scan take on this machine's cores [s].

        By the time of 300 slices of 512² from 34,561 views of a Flash on two cores.
        """
        g, cores = scan.geometry, len(os.sched_getaffinity(0))
        reach = np.ptp(self.z) + g.collimation + self.options.slice_thickness
        share = min(float(reach / max(np.ptp(g.z), 1e-9)), 1.0)
        rays = share * math.prod(g.shape) * _PER_RAY
        updates = len(self.z) * math.prod(self.grid.shape) * g.views_per_rotation / 2 * _PER_UPDATE
        if self.options.device != "cpu":
            updates = 0.0
        return (rays + updates) * (_PREVIEW if self.options.preview else 1.0) / cores

    def describe(self) -> str:
        """What will be reconstructed, in words."""
        o = self.options
        return (
            f"{len(self.z)} slices of {o.matrix}², {o.fov:g} mm wide, z {self.z[0]:.1f} to "
            f"{self.z[-1]:.1f} mm, {o.slice_thickness:g} mm thick, window {o.window}"
        )


def plan_slices(scan: Scan, options: SliceOptions) -> SlicePlan:
    """Place the slices: those asked for, or all whole increments that the scan covers.

    Parameters
    ----------
    scan : Scan
        Its geometry says what is covered.
    options : SliceOptions

    Raises
    ------
    DataError
        If the scan covers no slice, or not those asked for.

    Warns
    -----
    UserWarning
        If part of the image lies outside the measured field.
    """
    from recon import ImageGrid, covered

    options.check()
    pixel = options.fov / options.matrix
    grid = ImageGrid(
        shape=(options.matrix, options.matrix), spacing=(pixel, pixel), centre=options.centre
    )
    reach = options.fov / 2 + max(map(abs, options.centre))
    if not reach < scan.geometry.src_iso:
        raise DataError(
            "the image reaches the focal spot's orbit", where="--fov, --centre",
            expected=f"within {scan.geometry.src_iso:g} mm of the axis", got=f"{reach:g} mm",
        )  # fmt: skip
    _tell_outside(scan, grid)
    low, high = covered(scan.geometry, grid)
    low, high = _with_thickness(scan, options.slice_thickness, low, high)
    step = options.slice_increment
    span = high - low if options.z_range is None else options.z_range[1] - options.z_range[0]
    if span / step >= _MOST_SLICES:  # one slice more than steps
        raise DataError(
            "too many slices", where="--slice-increment", expected=f"at most {_MOST_SLICES}",
            got=f"{span / step:.3g}",
        )  # fmt: skip
    if options.z_range is not None:
        first, last = options.z_range
        if first < low - 1e-3 or last > high + 1e-3:
            raise DataError(
                "the scan does not cover these slices",
                where="--z-range",
                expected=f"within {low:.2f} to {high:.2f} mm",
                got=f"{first:g} to {last:g}",
            )
        z = first + step * np.arange(int((last - first) / step + 1e-6) + 1)
    else:
        z = step * np.arange(np.ceil(low / step), np.floor(high / step) + 1)
        if len(z) == 0:
            z = np.array([(low + high) / 2])
    return SlicePlan(grid, z, options)


def _tell_outside(scan: Scan, grid: ImageGrid) -> None:
    """Say which part of the image's circle lies outside the measured field, or refuse all of it."""
    radius = scan.geometry.field_radius
    x, y = grid.x[None, :], grid.y[:, None]
    (cx, cy), (sy, sx) = grid.centre, grid.spacing
    own = np.hypot(x - cx, y - cy) <= max(np.ptp(grid.x) / 2, max(sx, sy))
    measured = np.hypot(x, y) <= radius
    if not measured.any():
        raise DataError(
            "the image lies outside the measured field", where="--fov, --centre",
            expected=f"pixels within {radius:.0f} mm of the axis",
            got=f"{grid.radius:.0f} mm about ({cx:g}, {cy:g})",
        )  # fmt: skip
    outside = 1.0 - float(measured[own].mean())
    if outside > _OUTSIDE:
        warnings.warn(
            f"{100 * outside:.0f} % of the image lies outside the measured field, {radius:.0f} mm "
            "about the axis, and is air there",
            stacklevel=3,
        )


def _with_thickness(scan: Scan, thickness: float, low: float, high: float) -> tuple[float, float]:
    """The range of slices that are measured in all their thickness, not in their middle alone.

    Rows see half a collimation beyond what is complete.
    """
    margin = max((thickness - scan.geometry.collimation) / 2, 0.0)
    if low + margin > high - margin:
        raise DataError(
            "slices are thicker than what the scan covers", where="--slice-thickness",
            expected=f"at most {high - low + scan.geometry.collimation:.1f} mm",
            got=f"{thickness:g} mm",
        )  # fmt: skip
    return low + margin, high - margin


def reconstruct_slices(
    scan: Scan, plan: SlicePlan, *, z: np.ndarray | None = None, progress: bool = False
) -> np.ndarray:
    """Return the slices of a plan, or others on its grid, (slices, rows, cols) [HU]."""
    from recon import reconstruct

    return reconstruct(
        scan,
        grid=plan.grid,
        z=plan.z if z is None else z,
        slice_thickness=plan.options.slice_thickness,
        window=plan.options.window,
        preview=plan.options.preview,
        device=plan.options.device,
        progress=progress,
    )


def write_slices(
    folder: Path, hu: np.ndarray, scan: Scan, plan: SlicePlan, *, source: Scan | None = None
) -> list[Path]:
    """Write reconstructed slices as a DICOM series in patient coordinates, and as a volume.

    Parameters
    ----------
    folder : path
    hu : array, shape (slices, rows, cols)
        CT numbers [HU], in the order of the plan.
    scan : Scan
        What they were reconstructed from.
    plan : SlicePlan
    source : Scan, optional
        The measured scan, where ``scan`` was simulated from it.
    """
    from recon import scan_acquisition, write_series

    acquisition = scan_acquisition(scan, grid=plan.grid, z=plan.z, source=source)
    write_beside(
        folder,
        hu,
        plan.options,
        spacing=plan.grid.spacing,
        slice_thickness=plan.options.slice_thickness,
        positions=acquisition.positions,
        orientation=acquisition.orientation,
    )
    known = np.isfinite(scan.mas)
    exposure = f"{'' if source is None else 'simulated '}{scan.mas:.4g} mAs, " if known else ""
    return write_series(
        folder,
        hu,
        acquisition=acquisition,
        spacing=plan.grid.spacing,
        slice_thickness=plan.options.slice_thickness,
        positions=acquisition.positions,
        series_description=(
            f"{exposure}{plan.options.window}, "
            f"{plan.options.slice_thickness:g} mm{', preview' if plan.options.preview else ''}"
        ),
        kvp=scan.kvp,
        mas=scan.mas if known else None,
        kernel=plan.options.window,
        uid_seed=scan.series_uid,
    )


def write_beside(folder: Path, hu: np.ndarray, options: SliceOptions, **geometry: Any) -> None:
    """Write the slices of a series as one file in its folder too, in whole HU, if asked for."""
    from recon import write_volume

    if options.volume is not None:
        whole = np.rint(np.clip(hu, *_INT16)).astype(np.int16)
        write_volume(folder / f"slices.{options.volume}", whole, **geometry)

"""Images at lower doses: which exposures, the series of each, and what noise they have."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis.projections.slices import SliceOptions, SlicePlan, write_beside
from recon import DataError

from .running import current

if TYPE_CHECKING:
    from recon import CTImages

__all__ = ["ImageDoses", "open_images"]

_PER_UPDATE = 1e-10  # s of one core: one pixel, one view, in R and in R⁻¹
_PER_FILE = 0.02  # s: a slice is written and pictured
_DIGITS = 2  # of an exposure that is given as a fraction [mAs]
_OF_IMAGES = ("window", "volume")  # options of slices that mean something for images


@dataclass(frozen=True)
class ImageDoses:
    """High-dose images, and how they are taken to lower exposures."""

    images: CTImages
    kvp: float
    own: np.ndarray | None
    """Exposure of each slice [mAs]; None if the images count as noise-free."""
    options: SliceOptions
    electronic_noise: float
    seed: int

    def levels(
        self, mas: Sequence[float], dose_fractions: Sequence[float]
    ) -> dict[str, np.ndarray]:
        """Exposures [mAs] of each slice by the name of their folder, the highest first.

        Raises
        ------
        DataError
            If an exposure is above a slice's own, or is given as a part of one that is not known.
        """
        from analysis.runs.store import mas_label

        n, own = len(self.images), self.own
        wanted = [np.full(n, float(value)) for value in mas]
        for fraction in dose_fractions:
            if own is None:
                raise DataError(
                    "noise-free images have no exposure to take a part of", where="--dose-fraction",
                    remedy="give --mas",
                )  # fmt: skip
            if not 0.0 < fraction <= 1.0:
                raise DataError(
                    "no dose fraction", where="--dose-fraction", expected="above 0, at most 1",
                    got=fraction,
                )  # fmt: skip
            wanted.append(own * fraction)
        for level in wanted:
            if own is not None and (above := level > own * (1 + 1e-9)).any():
                k = int(np.argmax(above))
                raise DataError(
                    "exposure cannot be simulated from these images",
                    where="--mas",
                    expected=f"at most {own.min():.4g} mAs, the images' own",
                    got=f"{level[k]:g} mAs",
                    remedy="noise can be added to an image but not taken from it; --image-mas "
                    "says what the images really had, or that they are noise-free",
                )
        wanted.sort(key=lambda level: -float(np.median(level)))
        return {mas_label(round(float(np.median(level)), _DIGITS)): level for level in wanted}

    def seconds(self, levels: int) -> float:
        """About how long that many exposures take on this machine's cores [s].

        By the time of 16 slices of 512² and 1152 views on one core.
        """
        from recon import flash_axial

        updates = self.images.hu.size * len(flash_axial().angles) * 2 * _PER_UPDATE
        return levels * (updates / len(os.sched_getaffinity(0)) + len(self.images) * _PER_FILE)

    def at(self, mas: np.ndarray, *, progress: str | None = None) -> np.ndarray:
        """All slices at an exposure of each [mAs], (n, rows, cols) [HU]."""
        from analysis.scanner.low_dose import low_dose_slices, thinned_slices

        scan: dict[str, Any] = {
            "kvp": self.kvp,
            "slice_thickness": self.images.thicknesses,
            "window": self.options.window,
            "electronic_noise": self.electronic_noise,
            "seed": self.seed,
            "progress": progress,
        }
        hu, spacing = self.images.hu, self.images.spacing
        if self.own is None:
            return low_dose_slices(hu, spacing, mas=float(mas[0]), **scan)
        return thinned_slices(hu, spacing, image_mas=self.own, mas=mas, **scan)

    def write(self, folder: Path, hu: np.ndarray, mas: np.ndarray) -> None:
        """Write slices at an exposure as a series of the images' study, where they lie."""
        from recon import write_series

        images, text = self.images, f"{np.median(mas):.4g}"
        write_series(
            folder,
            hu,
            like=images,
            series_description=f"Simulated {text} mAs",
            kvp=self.kvp,
            mas=mas,
            kernel=self.options.window if self.own is None else "",
            uid_seed=f"{self.seed}/{text}",
        )
        write_beside(folder, hu, self.options, like=images)

    def plan(self) -> SlicePlan:
        """Where the slices lie about the rotation axis, for pictures."""
        from recon import ImageGrid

        grid = ImageGrid(shape=self.images.hu.shape[1:], spacing=self.images.spacing)
        return SlicePlan(grid, self.images.positions[:, 2], self.options)

    def metrics(self, hu: np.ndarray, mas: np.ndarray) -> list[dict[str, str]]:
        """Rows of metrics.csv: the noise that was added in the middle of the slices, and quanta."""
        from analysis.projections.noise import REGION, central_region, metric_rows
        from recon import flash_axial, photons_per_column

        region = central_region(self.plan().grid)
        added = hu[:, region] - self._without()[:, region]
        quanta = photons_per_column(
            mas=float(np.median(mas)), kvp=self.kvp, geometry=flash_axial(),
            slice_thickness=self.images.slice_thickness,
        )  # fmt: skip
        sd = float(np.sqrt(added.var(axis=1, dtype=np.float64).mean()))
        where = f"standard deviation, circle of {REGION:g} mm, {len(hu)} slices"
        values = [
            ("added_noise_sd", sd, "HU", where),
            ("quanta_at_centre", float(quanta[len(quanta) // 2]), "", "per ray, without an object"),
        ]
        return metric_rows(values, mas=f"{np.median(mas):.6g}")

    def _without(self) -> np.ndarray:
        """The slices without the noise that is added: as they are, or R⁻¹R of noise-free ones."""
        from analysis.scanner.low_dose import low_dose_slices

        if self.own is not None:
            return self.images.hu
        images = self.images
        return low_dose_slices(
            images.hu, images.spacing, mas=None, kvp=self.kvp, window=self.options.window,
            slice_thickness=images.thicknesses, seed=self.seed,
        )  # fmt: skip

    def record(self, **configuration: Any) -> dict[str, Any]:
        """What run.json says of the run."""
        from recon.storage import versions

        own = None if self.own is None else [float(self.own.min()), float(self.own.max())]
        asked = {name: value for name, value in asdict(self.options).items() if name in _OF_IMAGES}
        return {
            "command": current().command,
            "configuration": {"command": "simulate", **configuration, **asked},
            "seed": self.seed,
            "images": {
                "slices": len(self.images),
                "kvp": self.kvp,
                "mas": "noise-free" if own is None else own,
                "pixel_mm": list(self.images.spacing),
                "thickness_mm": self.images.slice_thickness,
            },
            "inputs": self.images.inputs(),
            "seconds": round(current().seconds, 1),
            "versions": versions(),
            "notes": list(current().notes),
        }


def open_images(
    path: Path,
    *,
    series: str = "",
    kvp: float | None,
    image_mas: float | str | None,
    options: SliceOptions,
    electronic_noise: float,
    seed: int,
) -> ImageDoses:
    """Read images to be taken to lower doses, and what noise they have.

    Parameters
    ----------
    path : path
        A DICOM series, or a NIfTI or NRRD file.
    series : str
        Which one, where a folder holds several; see `recon.read_images`.
    kvp : float, optional
        In place of the files' own [kV].
    image_mas : float or "noise-free", optional
        In place of the exposures that the files state [mAs].
    options : SliceOptions
        Of these only the window and the volume file mean something here.
    electronic_noise : float
        [quanta].
    seed : int
        Of the noise.

    Raises
    ------
    DataError
        If voltage or exposure are not known, or an option is for projections.
    """
    from recon import mu_water, read_images

    plain = SliceOptions()
    for one in fields(SliceOptions):
        if one.name not in _OF_IMAGES and getattr(options, one.name) != getattr(plain, one.name):
            raise DataError(
                "this is for projection scans: images keep their own slices and pixels",
                where=f"--{one.name.replace('_', '-')}",
            )
    images = read_images(path, series=series)
    voltage = images.kvp if kvp is None else kvp
    if voltage is None:
        raise DataError("the files state no tube voltage", where=path, remedy="give --kvp")
    mu_water(voltage)  # refuses a voltage without a spectrum
    if not np.isfinite(images.thicknesses).all():
        raise DataError(
            "the slice does not state its thickness, which decides its noise",
            where=f"{path}, SliceThickness (0018,0050)",
            expected="mm",
            got="nothing",
            remedy="give the series of several slices, whose distance tells it",
        )
    own: np.ndarray | None = images.exposures
    if image_mas == "noise-free":
        own = None
    elif image_mas is not None:
        own = np.full(len(images), float(image_mas))
        if not 0.0 < own[0] < float("inf"):
            raise DataError(
                "exposure is not positive", where="--image-mas", expected="> 0", got=image_mas
            )
    if own is not None and not np.isfinite(own).all():
        raise DataError(
            "the files state no exposure, so that the noise they have is not known",
            where=path,
            remedy="give --image-mas MAS, or --image-mas noise-free",
        )
    if own is not None:
        current().note(
            f"the noise that is missing is reconstructed with the window {options.window!r}; it "
            "has the texture of the images' own noise only if they were, too"
        )
    return ImageDoses(images, float(voltage), own, options, electronic_noise, seed)

"""What a command works on: slices, and the patch placed in one of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from recon import DataError

from .models import working_point
from .running import current

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from analysis.data.phantom_pairs import WorkingPoint
    from analysis.scanner.slice_scanner import SliceScanner
    from analysis.scanner.slices import Patch
    from analysis.scanner.surroundings import Surroundings
    from ctxai import WeightSet
    from recon import CTImages

__all__ = ["Scene", "open_scene"]


@dataclass
class Scene:
    """Slices from a folder, the one to study, and the patch placed in it."""

    images: CTImages
    index: int
    kvp: float
    patch: Patch
    own: bool = False  # the denoiser is the user's own: samplers are trained for the scan
    _measured: list[tuple[Callable[[Tensor], Tensor], Surroundings]] = field(default_factory=list)

    @property
    def hu(self) -> np.ndarray:
        """The slice under study, (rows, cols) [HU]."""
        return self.images.hu[self.index]

    @property
    def image_mas(self) -> float | None:
        """Exposure whose noise the slice under study has [mAs]; None if it counts as noise-free."""
        return self.mas_of(self.index)

    def mas_of(self, index: int) -> float | None:
        """The same of any slice of the series."""
        own = float(self.images.exposures[index])
        return own if math.isfinite(own) else None

    @property
    def thickness(self) -> float:
        """Thickness of the slice under study [mm]."""
        return float(self.images.thicknesses[self.index])

    def point(self, mas: float, weights: WeightSet) -> WorkingPoint | None:
        """This scan at an exposure [mAs], for which samplers of a user's own denoiser are trained.

        None for a denoiser of the set, whose samplers learnt from scans of many kinds.
        """
        from analysis.data.phantom_pairs import WorkingPoint

        if not self.own:
            return None
        like, spacing = WorkingPoint(**working_point(weights)), self.patch.grid.spacing[0]
        width = like.matrix * like.spacing_mm  # no phantom is narrower than what it was drawn for
        return replace(
            like,
            spacing_mm=spacing,
            matrix=max(*self.hu.shape, math.ceil(width / spacing)),
            kvp=self.kvp,
            mas=mas,
            slice_thickness_mm=self.thickness,
        )

    def surroundings(self, f: Callable[[Tensor], Tensor]) -> Surroundings:
        """What of the slice a denoiser looks at around the patch, measured once."""
        from analysis.scanner.surroundings import measure_surroundings

        for known, around in self._measured:  # a user's callable need not have a hash
            if known is f:
                return around
        around = measure_surroundings(f, self.hu, self.images.spacing, self.patch.grid)
        self._measured.append((f, around))
        return around

    def used_at(self, f: Callable[[Tensor], Tensor]) -> tuple[int, int]:
        """Shape of the images that a denoiser is given."""
        return self.surroundings(f).grid.shape

    def scanner(
        self, f: Callable[[Tensor], Tensor], *, seed: int, device: str = "cpu"
    ) -> SliceScanner:
        """The slice in the scanner, with as much around the patch as a denoiser looks at."""
        from analysis.scanner.slice_scanner import SliceScanner

        around = self.surroundings(f)
        current().note(f"the denoiser sees the patch in {around}")
        return SliceScanner(
            self.hu,
            self.images.spacing,
            kvp=self.kvp,
            slice_thickness=self.thickness,
            patch_grid=self.patch.grid,
            context_grid=around.grid,
            image_mas=self.image_mas,
            seed=seed,
            image=self.index,
            device=device,
        )

    def inputs(self) -> dict[str, str]:
        """SHA-256 of the input files."""
        from recon.storage import digest_files

        return digest_files(self.images.files)


def open_scene(
    folder: Path,
    *,
    number: int | None,
    roi: tuple[int, int] | None,
    kvp: float | None,
    weights: WeightSet,
    pixels: int | None = None,
    own: bool = False,
    series: str = "",
) -> Scene:
    """Read slices and place the patch; notes what differs from an ideal input.

    Parameters
    ----------
    folder : path
        DICOM files of one series.
    number : int, optional
        Slice, counted from 0 in order of position; the middle one by default.
    roi : (row, col), optional
        Centre of the patch in the slice; the body's centre by default.
    kvp : float, optional
        In place of the files' own [kV].
    weights : WeightSet
        Its networks' patch is placed.
    pixels : int, optional
        Side of the patch in place of theirs.
    own : bool
        Whether the denoiser is the user's own, for which samplers are trained.
    series : str
        Which series, where the folder holds several.
    """
    from analysis.scanner.slices import BODY_HU, load_slices, place_patch
    from recon import mu_water

    images = load_slices(folder, series)
    count = len(images.hu)
    index = count // 2 if number is None else number
    if not 0 <= index < count:
        raise DataError("no such slice", where="--slice", expected=f"0 to {count - 1}", got=index)
    voltage = kvp if kvp is not None else images.kvp
    if voltage is None:
        raise DataError("the files state no tube voltage", where=folder, remedy="give --kvp")
    if roi is None and not (images.hu[index] > BODY_HU).any():
        current().note(
            f"slice {index} holds nothing denser than {BODY_HU:g} HU: the patch lies in its middle"
        )
    mu_water(voltage)  # refuses a voltage without a spectrum before any work is done
    point = working_point(weights)
    if pixels is not None and (pixels < 8 or pixels % 8):
        raise DataError("no such patch", where="--patch", expected="a multiple of 8", got=pixels)
    patch = place_patch(
        images.hu[index],
        images.spacing,
        shape=(pixels or int(point["patch"]),) * 2,
        to_spacing=(min(images.spacing),) * 2,
        roi=roi,
    )
    return Scene(images, index, float(voltage), patch, own)

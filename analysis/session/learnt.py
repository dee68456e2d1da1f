"""Slices of a series that samplers learn low-dose images from, beside phantoms."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from recon import DataError

from .running import current

if TYPE_CHECKING:
    from torch import Tensor

    from analysis.data.phantom_pairs import WorkingPoint

    from .scene import Scene

__all__ = ["learnt_from"]

_LEARNT = 32  # slices of a series


def learnt_from(scene: Scene, *, seed: int) -> Callable[[WorkingPoint], tuple[Tensor, Tensor]]:
    """Slices of a series that samplers learn low-dose images from, beside phantoms.

    The middle fifth of the series, where the slice of a study lies by default, is held out; of the
    rest 32 slices at most are taken, and scanned as a study scans them: those that state an
    exposure above that of the scan have its noise, and get what is missing.

    Raises
    ------
    DataError
        If the series has fewer than 5 slices.
    """
    count = len(scene.images.hu)
    if count < 5:
        raise DataError("too few slices to hold any out", expected="at least 5", got=count)
    rest = [k for k in range(count) if not 2 * count <= 5 * k < 3 * count]
    taken = rest[:: -(-len(rest) // _LEARNT)]
    current().note(
        f"{len(taken)} slices of the series are learnt from; slices {-(-2 * count // 5)} to "
        f"{-(-3 * count // 5) - 1} are held out"
    )

    def scans(point: WorkingPoint) -> tuple[Tensor, Tensor]:
        import numpy as np
        import torch

        from analysis.scanner.low_dose import scanned_slices
        from analysis.scanner.slice_scanner import derived_seed
        from analysis.scanner.slices import resample
        from recon import AIR_HU

        y = resample(scene.images.hu[taken], scene.images.spacing, point.grid.spacing)
        around = [((point.matrix - n) // 2, -(-(point.matrix - n) // 2)) for n in y.shape[1:]]
        y = np.pad(y, [(0, 0), *around], constant_values=AIR_HU)
        x = scanned_slices(
            y, point.grid.spacing, image_mas=scene.images.exposures[taken], mas=point.mas,
            kvp=point.kvp, slice_thickness=point.slice_thickness_mm, window=point.window,
            electronic_noise=point.electronic_noise, seed=derived_seed(seed, "learnt from"),
            progress=f"scans at {point.mas:g} mAs",
        )  # fmt: skip
        return torch.from_numpy(x), torch.from_numpy(y)

    return scans

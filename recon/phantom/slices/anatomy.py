"""Random CT slices that look like patients: thorax, abdomen, head."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...checks import count, one_of
from ...errors import DataError
from ...geometry import ImageGrid
from .abdomen import abdomen
from .head import head
from .thorax import thorax

__all__ = ["ANATOMIES", "random_slice"]

# the painter of each, and the least field of view [mm]
_PAINTERS = {"thorax": (thorax, 300.0), "abdomen": (abdomen, 300.0), "head": (head, 220.0)}

ANATOMIES = tuple(_PAINTERS)
"""Names that :func:`random_slice` knows."""


def random_slice(anatomy: str, *, seed: int, grid: ImageGrid) -> NDArray[np.float32]:
    """Noise-free axial CT slice of a random patient.

    Size, level, tilt, contrast phase, organs and textures differ from seed to seed. The anatomy is
    defined in mm: the same seed shows the same patient on any grid.

    Parameters
    ----------
    anatomy : {"thorax", "abdomen", "head"}
        Region of the body.
    seed : int
        Which patient; not negative.
    grid : ImageGrid
        Pixels to fill. Bodies are up to 376 mm wide and heads up to 216 mm long; what lies beyond
        a smaller field of view is cut off.

    Returns
    -------
    numpy.ndarray
        CT numbers [HU], float32 ``(rows, cols)``.

    Raises
    ------
    DataError
        If the anatomy is unknown, the seed is no whole number, or the field of view is below
        300 mm (220 mm for a head).

    Examples
    --------
    >>> from recon import ImageGrid
    >>> grid = ImageGrid(shape=(100, 100), spacing=(4.0, 4.0))
    >>> hu = random_slice("abdomen", seed=1, grid=grid)
    >>> hu.shape, float(hu[0, 0])
    ((100, 100), -1000.0)
    """
    one_of("anatomy", anatomy, _PAINTERS)
    count("seed", seed, 0)
    painter, least = _PAINTERS[anatomy]
    field = [n * step for n, step in zip(grid.shape, grid.spacing)]
    if min(field) < least:
        raise DataError(
            f"the field of view is too small for a slice of the {anatomy}",
            where="grid",
            expected=f"at least {least:g} mm",
            got=f"{min(field):g} mm",
            remedy="take more or larger pixels",
        )
    return painter(grid, np.random.default_rng([int(seed), *anatomy.encode()]))

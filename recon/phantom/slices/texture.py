"""Smooth random fields that are defined in mm, the same on every grid."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["random_field"]

_HALF_WIDTH = 256.0  # mm covered on either side of the isocentre; beyond, its edge is continued
# mean of Σ w² of the cubic B-spline's four weights over a lattice step, 151/315 per direction
_SPREAD = 151.0 / 315.0


def random_field(
    rng: np.random.Generator,
    scale: float,
    x: NDArray[np.float64],
    y: NDArray[np.float64],
) -> NDArray[np.float32]:
    """Gaussian random field with mean 0 and standard deviation 1 on the points of a grid.

    Independent normal numbers on a lattice of ``scale`` mm, joined by cubic B-splines.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of the lattice's numbers; their count does not depend on the grid.
    scale : float
        Lattice step [mm]: about the size of the grains.
    x, y : arrays (cols,), (rows,)
        Positions of the grid's columns and rows [mm].

    Returns
    -------
    numpy.ndarray
        float32 ``(rows, cols)``.

    Examples
    --------
    >>> import numpy as np
    >>> axis = np.linspace(-200.0, 200.0, 401)
    >>> field = random_field(np.random.default_rng(1), 4.0, axis, axis)
    >>> bool(abs(field.std() - 1.0) < 0.05)
    True
    """
    count = 2 * int(np.ceil(_HALF_WIDTH / scale)) + 4
    lattice = rng.standard_normal((count, count), dtype=np.float32) / np.float32(_SPREAD)
    along_y = _weights(y, scale, count)
    along_x = _weights(x, scale, count)
    return (along_x @ (along_y @ lattice).T).T


def _weights(points: NDArray[np.float64], scale: float, count: int) -> Any:
    """Sparse matrix of the cubic B-spline's four weights per point."""
    from scipy.sparse import csr_array  # slow to load

    position = np.clip(points / scale + (count - 1) / 2, 1.0, count - 2.001)
    cell = np.floor(position).astype(np.int32)
    u = position - cell
    weights = np.stack(
        [(1 - u) ** 3, 3 * u**3 - 6 * u**2 + 4, -3 * u**3 + 3 * u**2 + 3 * u + 1, u**3], axis=1
    )
    columns = cell[:, None] + np.arange(-1, 3)
    rows = np.arange(0, 4 * points.size + 1, 4)
    return csr_array(
        ((weights / 6.0).astype(np.float32).ravel(), columns.ravel(), rows),
        shape=(points.size, count),
    )

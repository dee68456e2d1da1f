"""From the axes of the scanner to those of the patient.

The scanner's axes are x to the right and y downward as seen from the table, and z from the table to
the gantry; those of the patient are left, posterior and superior (DICOM PS3.3, C.7.6.2.1.1). How
the patient lies is PatientPosition (0018,5100): head or feet enter the gantry first (HF, FF), and
below is the back (S, supine), the chest (P, prone), or the left or right side (DL, DR). So y runs
to what is below, z to what enters first, and x completes the right-handed system, x = y × z.
"""

from __future__ import annotations

import numpy as np

from ..checks import one_of
from ..scan.helix import PATIENT_POSITIONS

__all__ = ["patient_axes"]

_LEFT, _POSTERIOR, _SUPERIOR = np.eye(3)
_FIRST = {"HF": _SUPERIOR, "FF": -_SUPERIOR}
_BELOW = {"S": _POSTERIOR, "P": -_POSTERIOR, "DL": _LEFT, "DR": -_LEFT}


def patient_axes(position: str) -> np.ndarray:
    """Return the rotation that takes scanner coordinates (x, y, z) to (left, posterior, superior).

    Parameters
    ----------
    position : str
        "HFS", "HFP", "FFS", "FFP", "HFDL", "HFDR", "FFDL" or "FFDR"; "" is taken for HFS.

    Returns
    -------
    np.ndarray, shape (3, 3)
        Its columns are the scanner's x, y and z in patient coordinates; determinant 1.

    Raises
    ------
    DataError
        If there is no such position.

    Examples
    --------
    >>> patient_axes("FFS").diagonal().astype(int).tolist()  # right, posterior, inferior
    [-1, 1, -1]
    """
    position = position or "HFS"
    one_of("patient position", position, PATIENT_POSITIONS)
    y, z = _BELOW[position[2:]], _FIRST[position[:2]]
    return np.stack([np.cross(y, z), y, z], axis=1) + 0.0  # no negative zeros

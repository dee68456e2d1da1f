"""Images as text in a page: 16-bit CT numbers, compressed, in base64.

A canvas hands back 8 bits a channel, after colour management and, in some browsers, with noise
added on purpose, so CT numbers are not stored as pictures. A stack of images is stored as int16 in
units of a stated step, low bytes first and then all high bytes, deflated, in base64; the page
inflates it with the browser's own ``DecompressionStream``. The number under the cursor is then the
number that was written.
"""

from __future__ import annotations

import base64
import hashlib
import zlib
from typing import Any

import numpy as np

from recon import DataError

__all__ = ["Packer", "unpack"]

_STEPS = (0.1, 1.0, 10.0)
_LARGEST = 32767


def _step(values: np.ndarray) -> float:
    """The finest step that holds the values: 0.1 HU as a rule, 1 HU where all are whole."""
    if np.array_equal(values, np.rint(values)) and np.abs(values).max(initial=0.0) <= _LARGEST:
        return 1.0
    for step in _STEPS:
        if np.abs(values).max(initial=0.0) <= _LARGEST * step:
            return step
    raise DataError(
        "CT numbers too large for a report",
        expected=f"at most {_LARGEST * _STEPS[-1]:g} HU",
        got=float(np.abs(values).max()),
    )


class Packer:
    """Collects stacks of images; the same content is kept once.

    Attributes
    ----------
    stacks : dict
        Key → {"rows", "cols", "count", "step", "data"}: step [HU], data the base64 text.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.viewer import Packer, unpack
    >>> packer = Packer()
    >>> key = packer.add(np.array([[[-1000.0, 40.26], [0.0, 3071.0]]]))
    >>> unpack(packer.stacks[key]).tolist()
    [[[-1000.0, 40.3], [0.0, 3071.0]]]
    """

    def __init__(self) -> None:
        self.stacks: dict[str, dict[str, Any]] = {}

    def add(self, images: np.ndarray) -> str:
        """Keep a stack of images (n, rows, cols), or one image, [HU]; returns its key.

        Raises
        ------
        DataError
            If it is not such a stack, not finite, or beyond ±327,670 HU.
        """
        values = np.asarray(images, np.float64)
        values = values[None] if values.ndim == 2 else values
        if values.ndim != 3 or values.size == 0:
            raise DataError("not a stack of images", expected="(n, rows, cols)", got=values.shape)
        if not np.isfinite(values).all():
            raise DataError("images hold NaN or infinite values")
        step = _step(values)
        stored = np.rint(values / step).astype("<i2")
        planes = np.ascontiguousarray(stored.reshape(-1, 1).view(np.uint8).T).tobytes()
        count, rows, cols = stored.shape
        digest = hashlib.sha256(planes + repr((stored.shape, step)).encode())
        key = f"s{digest.hexdigest()[:12]}"
        if key not in self.stacks:
            data = base64.b64encode(zlib.compress(planes, 9)).decode()
            facts = {"rows": rows, "cols": cols, "count": count, "step": step}
            self.stacks[key] = {**facts, "data": data}
        return key


def unpack(stack: dict[str, Any]) -> np.ndarray:
    """CT numbers (n, rows, cols) [HU] of a packed stack, float64.

    Parameters
    ----------
    stack : dict
        As `Packer.stacks` holds it.
    """
    planes = np.frombuffer(zlib.decompress(base64.b64decode(stack["data"])), np.uint8)
    stored = np.ascontiguousarray(planes.reshape(2, -1).T).view("<i2")
    values = stored.astype(np.float64).reshape(stack["count"], stack["rows"], stack["cols"])
    return values / 10 if stack["step"] == 0.1 else values * stack["step"]

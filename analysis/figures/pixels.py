"""A grey image as a PNG of its own pixels, which a page enlarges without smoothing."""

from __future__ import annotations

import io

import numpy as np

from .images import Window

__all__ = ["grey_png"]


def grey_png(hu: np.ndarray, window: Window) -> bytes:
    """The PNG of an image (H, W) [HU] in a window, one pixel a pixel, 256 greys.

    Examples
    --------
    >>> import io, numpy as np
    >>> from PIL import Image
    >>> from analysis.figures.images import Window
    >>> from analysis.figures.pixels import grey_png
    >>> png = grey_png(np.array([[-160.0, 40.0, 400.0]]), Window("soft-tissue", 40.0, 400.0))
    >>> np.asarray(Image.open(io.BytesIO(png))).tolist()
    [[0, 128, 255]]
    """
    from PIL import Image

    low, high = window.limits
    grey = np.floor((np.asarray(hu, np.float64) - low) * (256.0 / (high - low)))
    out = io.BytesIO()
    Image.fromarray(np.clip(grey, 0, 255).astype(np.uint8)).save(out, "png", optimize=True)
    return out.getvalue()

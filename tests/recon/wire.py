"""The MTF of a reconstruction, measured on a thin wire."""

import numpy as np
import torch
from ellipse_truth import fan_sinogram

from recon.geometry import ImageGrid
from recon.operator import operator


def wire_mtf(geometry, window, at, radius=0.05):
    """Return (frequency [lp/cm], MTF) averaged over all directions, of a wire at ``at`` [mm]."""
    pixel = 0.15
    grid = ImageGrid(shape=(128, 128), spacing=(pixel, pixel), centre=(round(at[0]), round(at[1])))
    # many sub-rays, for the wire is thinner than a ray, in the few columns that see it
    wire = [(*at, radius, radius, 0.0, 1.0)]
    shadow = fan_sinogram([(*at, 4.0, 4.0, 0.0, 1.0)], geometry, 1)
    columns = np.argmax(shadow, axis=1)[:, None] + np.arange(-3, 4)
    sinogram = np.zeros(geometry.shape, np.float32)
    np.put_along_axis(sinogram, columns, fan_sinogram(wire, geometry, 101, columns), axis=1)
    spread = operator(geometry, grid).fbp(torch.from_numpy(sinogram), window).double().numpy()
    f = np.fft.fftfreq(1024, pixel)
    centred = np.exp(
        2j * np.pi * (f[None, :] * (at[0] - grid.x[0]) + f[:, None] * (at[1] - grid.y[0]))
    )
    transfer = (np.fft.fft2(spread, (1024, 1024)) * centred).real
    ring = (np.hypot(f[:, None], f[None, :]) / 0.02).astype(int)
    total = np.bincount(ring.ravel(), transfer.ravel())[:80]
    mtf = total / np.bincount(ring.ravel())[:80]
    return 10 * (np.arange(80) + 0.5) * 0.02, mtf / mtf[0]


def falls_to(level, frequency, mtf):
    """First frequency [lp/cm] at which the MTF has fallen to ``level``."""
    i = int(np.flatnonzero(mtf < level)[0])
    return float(np.interp(-level, -mtf[i - 1 : i + 1], frequency[i - 1 : i + 1]))

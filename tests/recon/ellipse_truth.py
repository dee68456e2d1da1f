"""Exact line integrals of ellipses, from focal spot and detector positions alone.

Nothing here uses the package's own ray formulae: each ray is drawn between two points in the plane,
with y downward, so that a mirrored or shifted projector cannot agree with it.
"""

import numpy as np

MU_WATER = 0.02
SHIFT = (7.3, -4.1)
# x, y (downward), semi-axes [mm], turn [rad], attenuation [1/mm]
BODY = [
    (0.0, 0.0, 160.0, 120.0, 0.0, MU_WATER),
    (60.0, -30.0, 20.0, 20.0, 0.0, 0.1 * MU_WATER),
    (-60.0, -30.0, 20.0, 20.0, 0.0, -0.1 * MU_WATER),
    (0.0, 60.0, 15.0, 25.0, -0.5, 0.5 * MU_WATER),
    (-80.0, 40.0, 10.0, 10.0, 0.0, 1.0 * MU_WATER),
    (40.0, 40.0, 5.0, 5.0, 0.0, 0.3 * MU_WATER),
]
BODY = [(x + SHIFT[0], y + SHIFT[1], *rest) for x, y, *rest in BODY]


def integrals(ellipses, at, towards):
    """Integrals along the lines through ``at`` in direction ``towards`` (pairs of arrays)."""
    norm = np.hypot(*towards)
    total = 0.0
    for x, y, a, b, turn, mu in ellipses:
        c, s = np.cos(turn), np.sin(turn)
        px = ((at[0] - x) * c + (at[1] - y) * s) / a
        py = (-(at[0] - x) * s + (at[1] - y) * c) / b
        dx = (towards[0] * c + towards[1] * s) / a / norm
        dy = (-towards[0] * s + towards[1] * c) / b / norm
        square = dx * dx + dy * dy
        half = px * dx + py * dy
        root = half * half - square * (px * px + py * py - 1)
        total = total + mu * 2 * np.sqrt(np.maximum(root, 0)) / square
    return total


def fan_sinogram(ellipses, fan, subrays=5, columns=None):
    """Mean of ``subrays`` rays over each detector column, (views, cols) float64.

    ``columns``, (views, some): only those of each view, in place of all.
    """
    columns = np.arange(fan.n_cols)[None, :] if columns is None else columns
    beta = np.asarray(fan.angles)[:, None]
    focus = (-fan.src_iso * np.sin(beta), -fan.src_iso * np.cos(beta))
    total = 0.0
    for k in range(subrays):
        c = columns + (k + 0.5) / subrays - 0.5
        along = (c - (fan.n_cols - 1) / 2 + fan.col_offset) * fan.col_pitch
        if fan.detector == "arc":
            depth = fan.src_det * np.cos(along / fan.src_det)
            lateral = fan.src_det * np.sin(along / fan.src_det)
        else:
            depth, lateral = fan.src_det, along
        towards = (
            depth * np.sin(beta) + lateral * np.cos(beta),
            depth * np.cos(beta) - lateral * np.sin(beta),
        )
        total = total + integrals(ellipses, focus, towards)
    return total / subrays


def raster(ellipses, grid, supersample=8):
    """Mean attenuation of each pixel from ``supersample``² points, (rows, cols) float32."""
    (rows, cols), (sy, sx) = grid.shape, grid.spacing
    within = (np.arange(supersample) + 0.5) / supersample - 0.5
    xs = (grid.x[:, None] + within * sx).ravel()
    image = np.zeros((rows, cols), np.float32)
    for i, y0 in enumerate(grid.y):
        ys = (y0 + within * sy)[:, None]
        for x, y, a, b, turn, mu in ellipses:
            if abs(y0 - y) > max(a, b) + sy:
                continue
            c, s = np.cos(turn), np.sin(turn)
            px = ((xs - x) * c + (ys - y) * s) / a
            py = (-(xs - x) * s + (ys - y) * c) / b
            inside = (px * px + py * py <= 1).reshape(supersample, cols, supersample)
            image[i] += mu * inside.mean(axis=(0, 2))
    return image

"""The curves of a training, as a picture beside its checkpoint and its CSV log."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from recon.storage import write_atomic

__all__ = ["curves_figure", "write_curves"]

_UNITS = {"rmse_hu": "rms error [HU]", "rmse": "rms error [unit of the images]", "kl": "KL [nats]"}
_POINTS = 200  # of a smoothed curve
_COLUMNS = 3


def write_curves(checkpoint: Path, logs: Sequence[dict[str, float]], *, title: str) -> Path:
    """Draw the logs of a training to a PNG beside its checkpoint."""
    return write_atomic(checkpoint.with_suffix(".png"), curves_figure(logs, title=title))


def curves_figure(logs: Sequence[dict[str, float]], *, title: str) -> bytes:
    """A panel for each logged quantity over the steps: every step faint, means of them on top.

    Parameters
    ----------
    logs : sequence of dict
        What each step logged, as :func:`ctxai.training.loop.train` returns it.
    title : str
        Name of the network.

    Examples
    --------
    >>> from analysis.training.curves import curves_figure
    >>> curves_figure([{"loss": 1.0 / (k + 1)} for k in range(20)], title="f")[1:4]
    b'PNG'
    """
    from ..figures.drawing import INK, new_figure, written

    names = list(logs[0])
    rows = -(-len(names) // _COLUMNS)
    columns = min(len(names), _COLUMNS)
    figure = new_figure(4.2 * columns, 2.8 * rows + 0.4)
    for k, name in enumerate(names):
        axes = figure.add_subplot(rows, columns, k + 1)
        values = np.array([log[name] for log in logs])
        steps = np.arange(1, len(values) + 1)
        axes.plot(steps, values, color=INK, alpha=0.2, lw=0.6)
        parts = np.array_split(np.arange(len(values)), min(_POINTS, len(values)))
        means = [values[part].mean() for part in parts]
        axes.plot([steps[part].mean() for part in parts], means, color="#b3541e", lw=1.5)
        if (values > 0).all() and values.max() > 20 * values.min():
            axes.set_yscale("log")
        axes.set_xlabel("step", fontsize=8.5)
        axes.set_ylabel(_UNITS.get(name, name), fontsize=8.5)
        axes.tick_params(labelsize=8)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    figure.suptitle(title, fontsize=10, color=INK)
    figure.subplots_adjust(wspace=0.35, hspace=0.45, bottom=0.2 if rows == 1 else 0.12)
    return written(figure, "png")

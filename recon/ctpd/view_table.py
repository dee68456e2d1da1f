"""What differs from view to view of a series, gathered from the headers."""

from __future__ import annotations

import math

import numpy as np

from .tags import View

__all__ = ["ViewTable", "rotation_time"]

_PER_VIEW = ("angle", "z", "shift_angle", "shift_z", "shift_radius", "slope", "intercept")


class ViewTable:
    """Numbers that each view has for itself, in the order in which the files were found.

    Attributes
    ----------
    table : np.ndarray, shape (views,)
        A record of named numbers a view; NaN where a file does not say.
    uids : list of str
        SOP instance UIDs.
    photons : np.ndarray or None, shape (views, cols), float32
        PhotonStatistics, where the files have it.
    """

    def __init__(self, count: int, n_cols: int) -> None:
        names = (*_PER_VIEW, "timestamp", "instance", "offset", "mas", "stated_mas")
        self.table = np.full(count, np.nan, dtype=[(name, np.float64) for name in names])
        self.uids = [""] * count
        self.photons: np.ndarray | None = None
        self._n_cols = n_cols
        self._has_photons = False

    def put(self, k: int, view: View) -> None:
        """Keep the numbers of the view that file ``k`` holds."""
        for name in _PER_VIEW:
            self.table[name][k] = view.number(name)
        for name in ("timestamp", "instance"):
            self.table[name][k] = view.number_or(name, math.nan)
        self.table["offset"][k] = view.header.pixels[0]
        self.table["mas"][k], self.table["stated_mas"][k] = _mas(view)
        self.uids[k] = view.text("sop_instance")
        self._put_photons(k, view)

    def _put_photons(self, k: int, view: View) -> None:
        if k == 0:
            self._has_photons = view.raw("photons") is not None
            if self._has_photons:
                self.photons = np.empty((len(self.uids), self._n_cols), dtype=np.float32)
        if (view.raw("photons") is not None) != self._has_photons:
            raise view.refusal(
                "photons",
                "only some views state their quanta",
                "PhotonStatistics in all views or in none",
                "a value" if view.raw("photons") else "nothing",
            )
        if self.photons is not None:
            quanta = view.array("photons")
            if len(quanta) != self._n_cols:
                raise view.refusal(
                    "photons", "quanta do not fit the detector", f"{self._n_cols} values",
                    len(quanta),
                )  # fmt: skip
            self.photons[k] = quanta


def _mas(view: View) -> tuple[float, float]:
    """MAs per rotation, and what (0018,1152) states beside it (NaN: nothing)."""
    stated = view.number_or("exposure", math.nan)
    if view.raw("exposure_uas") is not None:
        stated = view.number("exposure_uas") / 1e3
    current = _current(view)
    time = rotation_time(view)
    if current is not None and time is not None:
        return current * time, stated
    if math.isnan(stated):
        name = "current" if current is None else "rotation_time"
        raise view.refusal(
            name, "the exposure is not known", "tube current and rotation time", "nothing"
        )
    return stated, math.nan


def _current(view: View) -> float | None:
    if view.raw("current_ua") is not None:
        return view.number("current_ua") / 1e3
    return view.number("current") if view.raw("current") is not None else None


def rotation_time(view: View) -> float | None:
    """Time of a turn [s]; None where the file does not say."""
    if view.raw("rotation_time_us") is not None:
        return view.number("rotation_time_us") / 1e6
    return view.number("rotation_time") / 1e3 if view.raw("rotation_time") is not None else None

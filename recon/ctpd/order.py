"""Views in the order of the scan, from where they were taken.

File names say nothing. The height of the focal centre gives the turn that an angle belongs to, the
angle gives the place within the turn, so that heights need not be exact; which end came first is
told by time stamps, or by the instance numbers, or else by the gantry's own sense of rotation.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..errors import DataError

__all__ = ["check_steps", "scan_order"]

_AGREES = 0.9  # correlation from which a clock is believed
_ANGLE_TOLERANCE = 0.25  # of a step
_ROTATION_TOLERANCE = 0.01  # of the median step against the stated views per rotation
_Z_TOLERANCE = 0.25  # mm, of a step in z against the median step: positions are read back with 0.03
_STRAIGHT = 0.5  # mm, and
_STRAIGHT_SHARE = 0.005  # of the span in z: what z may deviate from a constant table speed


def scan_order(
    angles: np.ndarray, z: np.ndarray, *, clocks: Sequence[np.ndarray] = ()
) -> tuple[np.ndarray, np.ndarray]:
    """Sort the views of a helix and unwrap their angles.

    Parameters
    ----------
    angles : array, shape (views,)
        View angles [rad], wrapped or not.
    z : array, shape (views,)
        Heights [mm].
    clocks : sequence of arrays, shape (views,)
        What grows with time, the best first. One that does not follow the order, forward or
        backward, is ignored; without any, angles grow with time.

    Returns
    -------
    order : array of int, shape (views,)
        Number of the view that comes first, second, …
    unwrapped : array, shape (views,)
        View angles in that order [rad], beginning within ±π of the first view's.

    Examples
    --------
    >>> import numpy as np
    >>> order, angles = scan_order(np.array([2.0, 0.0, 1.0]), np.array([-2.0, 0.0, -1.0]))
    >>> order.tolist(), angles.tolist()
    ([1, 2, 0], [0.0, 1.0, 2.0])
    """
    views = len(z)
    if views == 1:
        return np.zeros(1, dtype=np.intp), np.array(angles, dtype=np.float64)
    by_height = np.argsort(z, kind="stable")
    height = z[by_height]
    climb = np.unwrap(angles[by_height])
    # over an eighth of the views: most of these steps do not contain a gap, where there is one
    lag = max(views // 8, 1)
    rise = height[lag:] - height[: views - lag]
    moved = rise > 0
    if not moved.any():
        raise DataError("the table does not move", expected="a helical scan", got=f"z {z[0]:g} mm")
    slope = np.median((climb[lag:] - climb[: views - lag])[moved] / rise[moved])
    expected = slope * height + np.median(climb - slope * height)
    wrapped = angles[by_height]
    unwrapped = wrapped + 2 * np.pi * np.round((expected - wrapped) / (2 * np.pi))

    order = np.argsort(unwrapped, kind="stable")
    place = np.arange(views)
    for clock in clocks:
        ticks = clock[by_height][order]
        if np.isfinite(ticks).all() and np.ptp(ticks) > 0:
            agreement = np.corrcoef(ticks, place)[0, 1]
            if abs(agreement) > _AGREES:
                order = order if agreement > 0 else order[::-1]
                break
    unwrapped = unwrapped[order]
    unwrapped += 2 * np.pi * np.round((wrapped[order[0]] - unwrapped[0]) / (2 * np.pi))
    return by_height[order], unwrapped


def check_steps(
    angles: np.ndarray, z: np.ndarray, paths: Sequence[str], *, views_per_rotation: int
) -> None:
    """Refuse a scan whose views, in order, are not evenly spaced in angle and in z.

    ``angles`` (views,) are unwrapped [rad], ``z`` (views,) heights [mm], both in scan order, and
    ``paths`` their files; the two next to a view that is there twice, missing or out of line are
    named. ``views_per_rotation`` is what the files state.
    """
    if len(angles) == 1:
        return
    nominal = 2 * np.pi / views_per_rotation
    steps = np.diff(angles)
    relative = steps * np.sign(np.median(steps)) / nominal

    def between(k: int, tag: str) -> str:
        return f"between {paths[k]} and {paths[k + 1]}, {tag}"

    angle_tag = "DetectorFocalCenterAngularPosition (7031,1001)"
    z_tag = "DetectorFocalCenterAxialPosition (7031,1002)"
    wrong = np.flatnonzero(np.abs(relative - 1) > _ANGLE_TOLERANCE)
    typical = float(np.median(relative))
    if abs(typical - 1) > _ROTATION_TOLERANCE:
        raise DataError(
            "views per rotation do not fit the view angles",
            where=f"{paths[0]}, NumberofSourceAngularSteps (7033,1013)",
            expected=f"{nominal * typical:.6g} rad a view, "
            f"{2 * np.pi / max(nominal * typical, 1e-9):.6g} views",
            got=f"{views_per_rotation} views",
            remedy="every other view may be missing",
        )
    if wrong.size:
        k = int(wrong[0])
        if relative[k] < _ANGLE_TOLERANCE:
            what, remedy = "a view is there twice", "remove the duplicate"
        elif relative[k] > 2 - _ANGLE_TOLERANCE:
            lost = round(relative[k]) - 1
            what = f"{lost} views are missing" if lost > 1 else "a view is missing"
            remedy = "fetch the series again, or split it there"
        else:
            what, remedy = "irregular step in the view angle", "the view may be of another scan"
        raise DataError(
            what,
            where=between(k, angle_tag),
            expected=f"a step of {nominal:.6g} rad",
            got=f"{steps[k]:.6g} rad",
            remedy=remedy,
        )
    climb = np.diff(z)
    usual = float(np.median(climb))
    wrong = np.flatnonzero(np.abs(climb - usual) > max(_Z_TOLERANCE, 0.5 * abs(usual)))
    if wrong.size:
        k = int(wrong[0])
        raise DataError(
            "irregular step in z",
            where=between(k, z_tag),
            expected=f"{usual:.5g} mm a view",
            got=f"{climb[k]:.5g} mm",
            remedy="the view may be of another scan",
        )
    turn = angles - angles.mean()
    straight = z.mean() + turn * (turn @ (z - z.mean())) / (turn @ turn)
    k = int(np.argmax(np.abs(z - straight)))
    allowed = max(_STRAIGHT, _STRAIGHT_SHARE * float(np.ptp(z)))
    if abs(z[k] - straight[k]) > allowed:
        raise DataError(
            "the table does not move at one speed",
            where=f"{paths[k]}, {z_tag}",
            expected=f"z {straight[k]:.2f} mm ± {allowed:.2g} mm",
            got=f"{z[k]:.2f} mm",
            remedy="the folder may hold parts of two scans",
        )

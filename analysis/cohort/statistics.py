"""Statistics of patients: drawn anew as wholes, signs turned, many comparisons at once.

Patches of one patient resemble each other, so that neither they nor cells are counted: a patient is
one number, the mean over its places, and the mean of a cohort is that over its patients.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["REDRAWS", "bootstrap_interval", "holm", "sign_flip_p"]

REDRAWS = 4000
"""Cohorts that are drawn anew."""

_FLIPS = 4095  # turned signs, beside the signs as they are
_EXACT = 12  # patients, up to which all signs are turned
_LEVEL = 0.95
_SEED = 20


def bootstrap_interval(values: np.ndarray) -> np.ndarray:
    """95 % interval of means over patients, from patients drawn with putting back.

    Of few patients the plain percentile interval is too narrow, by √((P - 1)/P) and by what the
    normal quantile lacks to Student's: its level is widened for that (T. Hesterberg,
    "What Teachers Should Know about the Bootstrap", The American Statistician 69, 371, 2015, the
    expanded percentile interval). A mean of draws never leaves the patients' range: of 5 patients
    it covers a normal mean in 91 % of cohorts, of 20 in 95 %.

    Parameters
    ----------
    values : ndarray, (P, ...)
        A number for each patient.

    Returns
    -------
    ndarray, (2, ...)
        Low and high; NaN of fewer than two patients.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.cohort.statistics import bootstrap_interval
    >>> low, high = bootstrap_interval(np.arange(20.0))
    >>> bool(6 < low < 7.5 and 11.5 < high < 13)
    True
    """
    from scipy.special import ndtr, stdtrit

    values = np.asarray(values, float)
    patients, shape = len(values), values.shape[1:]
    if patients < 2:
        return np.full((2, *shape), np.nan)
    drawn = np.random.default_rng([_SEED, patients]).multinomial(
        patients, np.full(patients, 1 / patients), size=REDRAWS
    )
    flat = values.reshape(patients, -1)
    # by einsum's own loop, whose order of summation depends on no library and no thread
    means = np.einsum("bp,pg->bg", drawn / patients, flat, optimize=False)
    student = float(stdtrit(patients - 1, (1 + _LEVEL) / 2))
    tail = float(ndtr(-np.sqrt(patients / (patients - 1)) * student))
    return np.quantile(means, [tail, 1 - tail], axis=0).reshape(2, *shape)


def sign_flip_p(differences: np.ndarray) -> np.ndarray:
    """Two-sided p of the hypothesis that differences of patients are as often positive as negative.

    The mean is held against that after the signs of patients were turned at random; all turns are
    taken of up to 12 patients, 4095 beside the signs as they are of more. With P patients p is
    never below 2/2ᴾ.

    Parameters
    ----------
    differences : ndarray, (P, ...)
        A paired difference for each patient.

    Returns
    -------
    ndarray, (...)

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.cohort.statistics import sign_flip_p
    >>> float(sign_flip_p(np.array([1.0, 2.0, 1.5, 3.0])))
    0.125
    """
    differences = np.asarray(differences, float)
    patients, shape = len(differences), differences.shape[1:]
    if patients <= _EXACT:
        signs = 1.0 - 2.0 * ((np.arange(2**patients)[:, None] >> np.arange(patients)) & 1)
    else:
        random = np.random.default_rng([_SEED, patients])
        signs = random.choice([-1.0, 1.0], size=(_FLIPS + 1, patients))
        signs[0] = 1.0
    flat = differences.reshape(patients, -1)
    p = []
    for column in flat.T:
        turned = np.abs((signs * column).sum(1))
        p.append(np.mean(turned >= turned[0] * (1 - 1e-12)))
    return np.array(p).reshape(shape)


def holm(p: Sequence[float]) -> list[float]:
    """p values that hold for all comparisons of a family together (Holm, 1979).

    The k-th smallest of m is multiplied by m - k + 1, and none is below a smaller one's.

    Examples
    --------
    >>> from analysis.cohort.statistics import holm
    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    order = np.argsort(p, kind="stable")
    found, least = [0.0] * len(p), 0.0
    for rank, k in enumerate(order):
        least = max(least, min(1.0, float(p[k]) * (len(p) - rank)))
        found[int(k)] = least
    return found

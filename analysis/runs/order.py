"""The order in which sampled anatomies ȳ are shown, and what is said of each.

First come the compatible ones that differ most from y: they show how much the output leaves open.
The others follow in the order of their number. Numbers are counted from 1, as in an export;
``most_different`` in run.json counts from 0, as arrays do.
"""

from __future__ import annotations

from .store import Study

__all__ = ["capital", "order_words", "p_words", "sample_order", "sample_words"]


def capital(words: str) -> str:
    """Words with a capital, as a sentence begins."""
    return f"{words[:1].upper()}{words[1:]}"


def sample_order(study: Study) -> list[int]:
    """Places of all ȳ in the arrays, the most different compatible ones first.

    Parameters
    ----------
    study : Study
        A target-domain study; one without the test of compatibility keeps its order.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.runs.order import sample_order
    >>> from analysis import Study
    >>> facts = {"compatibility": {"most_different": [3, 1]}}
    >>> arrays = {"ybar": np.ones((4, 8, 8))}
    >>> sample_order(Study("target-domain", "chen", 10.0, facts, arrays=arrays))
    [3, 1, 0, 2]
    """
    first = _first(study)
    return first + [k for k in range(len(study.arrays["ybar"])) if k not in first]


def sample_words(study: Study, k: int) -> list[str]:
    """Words on the ȳ at place k: ["ȳ 17, p = .43"], or ["ȳ 3, p = .002", "not compatible"].

    p has three digits below .1. Without the test of compatibility there is the number alone.
    """
    if "compatibility_p" not in study.arrays:
        return [f"ȳ {k + 1}"]
    p = study.arrays["compatibility_p"][k : k + 1]
    digits = f"{p[0]:.2f}" if p[0] >= 0.1 else f"{p[0]:.3f}"
    words = [f"ȳ {k + 1}, p = {digits.removeprefix('0')}"]
    # an array beside a plain number is compared in its own precision: p = 0.05 does not exceed 0.05
    compatible = p > study.facts["compatibility"]["alpha"]
    return words if compatible.all() else [*words, "not compatible"]


def order_words(study: Study, shown: int) -> str:
    """A sentence on the order of the first so many ȳ; nothing where they were not tested."""
    if "compatibility" not in study.facts:
        return ""
    first = _first(study)
    if not first:
        return "No ȳ is compatible with the output: they are shown in the order of their number."
    rest = ", then others by number" if len(first) < shown else ""
    return f"First the compatible ȳ that differ most from y{rest}."


def p_words(study: Study) -> str:
    """A sentence on what p is; nothing where the ȳ were not tested."""
    if "compatibility" not in study.facts:
        return ""
    alpha = study.facts["compatibility"]["alpha"]
    return f"Compatible: the test does not rule it out, p above {alpha:g}."


def _first(study: Study) -> list[int]:
    return list(study.facts.get("compatibility", {}).get("most_different", []))

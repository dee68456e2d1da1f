"""In which unit a network takes its images and gives them back: declared, never guessed.

A network is given (HU + offset) / scale, and what it returns is turned back in the same way, so
that f maps HU to HU whatever the network was trained on.
"""

from __future__ import annotations

from dataclasses import dataclass

from recon.errors import DataError

__all__ = ["LIKELY", "Convention", "convention_of"]


@dataclass(frozen=True)
class Convention:
    """A network is given (HU + offset) / scale.

    Attributes
    ----------
    name : str
        As it is declared, "water" or "scale=4096,offset=1024".
    offset, scale : float
        In HU.

    Examples
    --------
    >>> from ctxai.weights.convention import convention_of
    >>> water = convention_of("water")
    >>> water.given(-1000.0), water.given(0.0), water.back(1.0)
    (0.0, 1.0, 0.0)
    """

    name: str
    offset: float
    scale: float = 1.0

    def given(self, hu):
        """What the network is given."""
        return (hu + self.offset) / self.scale

    def back(self, answer):
        """What its answer is in HU."""
        return answer * self.scale - self.offset


_NAMED = {
    "hu": Convention("hu", 0.0),
    "hu+1024": Convention("hu+1024", 1024.0),
    "hu+1000": Convention("hu+1000", 1000.0),
    "water": Convention("water", 1000.0, 1000.0),
}


def convention_of(text: str) -> Convention:
    """The convention that a user declares.

    Parameters
    ----------
    text : str
        "hu"; "hu+1024" or "hu+1000"; "water" (water is 1 and air 0); or "scale=S,offset=O".

    Raises
    ------
    DataError
        If it is none of these, or the scale is not positive.

    Examples
    --------
    >>> from ctxai.weights.convention import convention_of
    >>> convention_of("scale=4096,offset=1024").given(0.0)
    0.25
    """
    if text.lower() in _NAMED:
        return _NAMED[text.lower()]
    parts = dict(part.strip().partition("=")[::2] for part in text.lower().split(","))
    try:
        if set(parts) != {"scale", "offset"}:
            raise ValueError(text)
        offset, scale = float(parts["offset"]), float(parts["scale"])
    except ValueError:
        raise DataError(
            "no such convention of a network's input",
            where="--input",
            expected=", ".join(_NAMED) + " or scale=S,offset=O, for (HU + O) / S",
            got=text,
        ) from None
    if not 0.0 < scale < float("inf") or not abs(offset) < float("inf"):
        raise DataError("a scale is positive", where="--input", expected="S > 0", got=text)
    return Convention(f"scale={scale:g},offset={offset:g}", offset, scale)


LIKELY = (
    *_NAMED.values(),
    *(
        convention_of(f"scale={scale},offset={offset}")
        for scale, offset in ((4096, 1024), (4095, 1024), (2000, 1000), (3000, 1000), (400, 160))
    ),
    *(convention_of(f"scale={scale},offset=0") for scale in (1000, 2048, 4096)),
)
"""Conventions that are in use, the plainest first: what a refusal may propose."""

"""What a network takes and gives back: its unit, declared and never guessed, and how many slices.

A network is given (HU + offset) / scale, and what it returns is turned back in the same way, so
that f maps HU to HU whatever the network was trained on. One that sees neighbouring slices takes
them as channels and gives the slice in the middle.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from recon.errors import DataError

__all__ = ["LIKELY", "Convention", "convention_of"]


@dataclass(frozen=True)
class Convention:
    """A network is given (HU + offset) / scale, of one slice or of several as channels.

    Attributes
    ----------
    unit : str
        As it is declared, "water" or "scale=4096,offset=1024".
    offset, scale : float
        In HU.
    slices : int
        An odd number: the slice and its neighbours.

    Examples
    --------
    >>> from ctxai.weights.convention import convention_of
    >>> water = convention_of("water")
    >>> water.given(-1000.0), water.given(0.0), water.back(1.0)
    (0.0, 1.0, 0.0)
    """

    unit: str
    offset: float
    scale: float = 1.0
    slices: int = 1

    @property
    def name(self) -> str:
        """All that is declared, "water,slices=3"."""
        if self.slices == 1:
            return self.unit
        several = f"slices={self.slices}"
        return several if self.unit == "hu" else f"{self.unit},{several}"

    def of_slices(self, slices: int) -> Convention:
        """The same unit for a network of as many slices."""
        return replace(self, slices=slices)

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
        "hu"; "hu+1024" or "hu+1000"; "water" (water is 1 and air 0); or "scale=S,offset=O". Beside
        it, or alone for HU, "slices=3" for a network that is given a slice and its neighbours.

    Raises
    ------
    DataError
        If it is none of these, the scale is not positive, or the number of slices not odd.

    Examples
    --------
    >>> from ctxai.weights.convention import convention_of
    >>> convention_of("scale=4096,offset=1024").given(0.0)
    0.25
    >>> convention_of("water, slices=3").slices
    3
    """
    words = [word.strip() for word in text.lower().split(",")]
    several = [word for word in words if word.startswith("slices=")]
    if several:
        unit = ",".join(word for word in words if word not in several) or "hu"
        number = several[0].removeprefix("slices=")
        if len(several) > 1 or not (number.isdecimal() and int(number) % 2 and int(number) > 1):
            raise DataError(
                "a slice has as many neighbours on either side", where="--input",
                expected="slices=3, or another odd number", got=text,
            )  # fmt: skip
        return convention_of(unit).of_slices(int(number))
    if text.lower() in _NAMED:
        return _NAMED[text.lower()]
    parts = dict(word.partition("=")[::2] for word in words)
    try:
        if set(parts) != {"scale", "offset"}:
            raise ValueError(text)
        offset, scale = float(parts["offset"]), float(parts["scale"])
    except ValueError:
        raise DataError(
            "no such convention of a network's input",
            where="--input",
            expected=", ".join(_NAMED) + " or scale=S,offset=O, for (HU + O) / S; with slices=3",
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

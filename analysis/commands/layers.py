"""`ctxai layers`: the layers of a denoiser that can be wiretapped."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

__all__ = ["layers"]


def layers(
    denoiser: Positional[str],
    *,
    patch: int = 64,
    input: str = "hu",
    weights: Annotated[Path | None, arg(metavar="DIR")] = None,
) -> None:
    """Which layers of a denoiser can be tapped, what each sees, and what passes it.

    A line a layer, in the order of execution: its name, as `--layers` takes it; the shape of z for
    one patch; the receptive field, in pixels of the image; whether it is a cut, so that z alone
    determines the output; and else what passes by (a skip connection, the size of a tensor), with
    the name under which all that crosses there is tapped together.

    Example: ctxai layers yang

    Example: ctxai layers my_unet.py:build --patch 128

    Args:
        denoiser: chen, yang, or your own as path/to/module.py:factory, or in another form that the
            studies take.
        patch: Side of the patch in pixels; receptive fields are seen up to this size.
        input: What your denoiser takes and returns: hu, hu+1024, hu+1000, water, or
            scale=S,offset=O; with slices=3 beside it, neighbouring slices as channels.
        weights: Networks made by `ctxai train`, in place of those that come along.
    """
    from analysis import session
    from ctxai import Wiretap, taps

    session.require_count(patch, "--patch", most=4096)
    loaded = session.load_named(denoiser, session.weight_set(weights), input=input)
    found = taps(loaded.f, (patch, patch))
    rows = [("layer", "z", "sees", "cut", "passes by")]
    for tap in found:
        together = f"; together: {tap.crossing}" if tap.crossing else ""
        by = ", ".join(tap.passing) or ("" if tap.is_cut else "the output does not depend on it")
        rows.append(
            (
                tap.name,
                " × ".join(map(str, tap.shape)),
                _seen(tap.field, patch),
                "yes" if tap.is_cut else "no",
                by + together,
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths))
        print("  ".join(cells).rstrip())
    if len(found) == 2:
        obstacle = Wiretap(loaded.f, "input").obstacle
        session.current().note(f"{loaded.name} has no layers inside: {obstacle}")


def _seen(field: tuple[int, int] | None, patch: int) -> str:
    """A receptive field in words."""
    if field is None:
        return "?"
    words = [f"≥ {side}" if side >= patch else str(side) for side in field]
    return words[0] if words[0] == words[1] else " × ".join(words)

"""`ctxai train`: the networks, from nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from tyro.conf import arg

__all__ = ["train"]


def train(
    *,
    out: Annotated[Path, arg(metavar="DIR")],
    denoiser: str | None = None,
    layers: tuple[str, ...] = ("output",),
    seed: int = 1,
) -> None:
    """Train the networks on scans of random phantoms.

    Without --denoiser: everything that comes along (Chen, Yang, VAE_x, VAE_y and a cINN for each
    wiretapped layer), some 20 minutes on two cores; other commands take the result as
    --weights OUT. With --denoiser: the cINNs of your own denoiser, minutes each, kept in
    OUT/trained, where `ctxai target-domain --out OUT` and `ctxai invariances --out OUT` find them.

    A run that was stopped goes on where it was, with the same result.

    Example: ctxai train --out WEIGHTS

    Example: ctxai train --denoiser my_network.py:make --layers output --out OUT

    Args:
        out: Folder for the weights.
        denoiser: Your own denoiser as path/to/module.py:factory.
        layers: Layers of your denoiser: numbers of convolution blocks from 1, dotted module names,
            or output.
        seed: Seed of everything random.
    """
    from analysis import commands

    commands.require_count(seed, "--seed", least=0)
    out = commands.require_out(out)
    if denoiser is None:
        from analysis.recipes import train_all

        weights = train_all(out, seed=seed)
        print(weights.folder / "manifest.json")
        return
    for domain in ("x", "y"):
        commands.models_for(denoiser, layers, domain, out=out)
    print(out / "trained")

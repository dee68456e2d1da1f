"""`ctxai train`: the networks, from nothing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from tyro.conf import arg

from recon import DataError

if TYPE_CHECKING:
    from ctxai import WeightSet

__all__ = ["train"]


def train(
    *,
    out: Annotated[Path, arg(metavar="DIR")],
    denoiser: str | None = None,
    input: str = "hu",
    layers: tuple[str, ...] = ("output",),
    sampler: Literal["flow", "cinn"] | None = None,
    preset: Literal["chen2017", "yang2018", "talk", "eulig2024"] | None = None,
    steps: int | None = None,
    slices: int | None = None,
    images: Annotated[Path | None, arg(metavar="DIR")] = None,
    series: str = "",
    mas: float | None = None,
    seed: int = 1,
) -> None:
    """Train the networks on scans of random phantoms.

    Without --denoiser: everything that comes along (Chen, Yang, VAE_x, VAE_y, a cINN and a
    flow for each wiretapped layer), one to two hours on two cores; other commands take the result
    as --weights OUT. With --denoiser: the samplers of your own denoiser, minutes each, kept
    in OUT/trained, where `ctxai target-domain --out OUT` and `ctxai invariances --out OUT` find
    them. With --preset: a denoiser as it was published, or the two of the talk, as
    OUT/NAME.safetensors, which other commands take as --denoiser; or, with eulig2024, VAE_x and the
    cINN of yang's output at the 2024 paper's size, as a set that goes in --weights OUT.

    A run that was stopped goes on where it was, with the same result.

    Example: ctxai train --out WEIGHTS

    Example: ctxai train --denoiser my_network.py:make --layers output --out OUT

    Example: ctxai train --denoiser my_network.py:make --images ABDOMEN --mas 25 --out OUT

    Example: ctxai train --preset talk --out OUT

    Args:
        out: Folder for the weights.
        denoiser: Your own denoiser as path/to/module.py:factory, or in another form that the
            studies take.
        input: What your denoiser takes and returns: hu, hu+1024, hu+1000, water, or
            scale=S,offset=O; with slices=3 beside it, neighbouring slices as channels.
        layers: Layers of your denoiser: numbers of convolution blocks from 1, dotted module names,
            or output.
        sampler: What your denoiser gets: flow (flow matching in pixel space) or cinn (VAE + cINN);
            by default flow, and cinn after a layer that is no map of the image's size.
        preset: chen2017 and yang2018 (settings of the papers; days on a processor), or talk: one
            network trained on thoraces (t-net) and on abdomens (a-net), minutes each; eulig2024 is
            meant for a GPU.
        steps: Of a preset, fewer than its own.
        slices: Phantom slices of a preset, fewer than its own.
        images: With --denoiser, a series (DICOM) whose pixels, slice thickness and voltage the
            samplers are trained for, and whose slices they learn from beside phantoms; its middle
            fifth is held out. With --preset, pairs in place of phantoms: DIR/PATIENT with the
            images of a patient at two doses, as in LDCT-and-Projection-data ('Full Dose Images',
            'Low Dose Images') or as `ctxai simulate` leaves them (mas-010, mas-100). A fifth of the
            patients is held out.
        series: With --denoiser, number, UID or description of the series to take, where the folder
            holds several.
        mas: With --denoiser, the exposure of the scans that samplers are trained for, in mAs; 10 by
            default. With --preset, which of several simulated exposures is the low dose; the lowest
            by default.
        seed: Seed of everything random.
    """
    from analysis import session
    from ctxai import require_denoiser
    from recon.storage import require_there

    session.require_count(seed, "--seed", least=0)
    for value, option in ((steps, "--steps"), (slices, "--slices")):
        if value is not None:
            session.require_count(value, option)
    for given, option in ((steps, "--steps"), (slices, "--slices")):
        if given is not None and preset is None:
            raise DataError("only presets take that", where=option, remedy="give --preset")
    if images is not None and preset is None and denoiser is None:
        raise DataError(
            "images of what", where="--images", remedy="give --preset, or a --denoiser of your own"
        )
    if denoiser is None and (layers != ("output",) or sampler is not None):
        raise DataError(
            "only a denoiser of your own takes that", where="--layers, --sampler",
            remedy="give --denoiser",
        )  # fmt: skip
    if mas is not None and images is None:
        raise DataError("a low dose of which images", where="--mas", remedy="give --images")
    if series and (images is None or denoiser is None):
        raise DataError("a series of which images", where="--series", remedy="give --images")
    if images is not None:
        require_there(images)
    if denoiser is not None:
        require_denoiser(denoiser, input)
    out = session.require_out(out)
    if preset is not None:
        if denoiser is not None:
            raise DataError("a preset trains a denoiser of its own", where="--denoiser, --preset")
        from analysis.training.presets import train_preset

        for path in train_preset(
            preset, out, steps=steps, slices=slices, images=images, mas=mas, seed=seed
        ):
            print(path)
        return
    if denoiser is None:
        from analysis.training.recipes import train_all

        weights = train_all(out, seed=seed)
        print(weights.folder / "manifest.json")
        return
    networks = session.weight_set(None)
    scan = {} if images is None else _scan_of(images, series, networks, mas=mas, seed=seed)
    shape = scan["scene"].used_at if scan else None
    loaded = session.load_named(denoiser, networks, input=input, shape=shape)
    for domain in ("x", "y"):
        session.models_for(
            loaded, layers, domain, out=out, sampler=sampler, weights=networks, **scan
        )
    trained = out / "trained"
    print(trained if trained.exists() else "nothing to train: the samplers of these come along")


def _scan_of(
    images: Path, series: str, networks: WeightSet, *, mas: float | None, seed: int
) -> dict[str, Any]:
    """What samplers are trained for, and which slices they learn from, of a series."""
    from analysis import session

    scene = session.open_scene(
        images, series=series, number=None, roi=None, kvp=None, weights=networks, own=True
    )
    exposure = session.working_point(networks)["mas"] if mas is None else mas
    session.require_mas([exposure])
    anatomies = session.learnt_from(scene, seed=seed)
    return {"scene": scene, "mas": exposure, "anatomies": anatomies}

"""Sampling invariances: other images that a layer of a network represents in the same way."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import torch
from torch import Tensor

from recon.errors import DataError
from recon.units import hu_remark

from .fibre import project_to_fibre, rms
from .model import Sampler

__all__ = ["REDRAWS", "Samples", "draw", "sample_invariances"]

REDRAWS = 16
"""Noise realisations behind the reference that a relative tolerance is a multiple of."""


@dataclass(frozen=True)
class Samples:
    """Sampled invariances and what is known about them.

    Attributes
    ----------
    images : Tensor
        ``(n, *x.shape)`` in the unit of x.
    v : Tensor
        Their normal coordinates ``(n, latent)``.
    violation : Tensor or None
        Rms of ``Φ(x̄) - Φ(x)`` over the entries of z, in the layer's units (HU at the output):
        ``(n,)`` for one image, ``(n, B)`` for a batch. None in domain "y": Φ(ȳ) means nothing.
    tolerance : Tensor or None
        The bound that was asked for, in the same units: a number for one image, ``(B,)`` for a
        batch. None if there was none.
    pulled : Tensor
        Samples that Gauss–Newton could not bring within the tolerance and that were pulled towards
        x instead, bool, shaped as ``violation``.
    """

    images: Tensor
    v: Tensor
    violation: Tensor | None
    tolerance: Tensor | None
    pulled: Tensor

    @property
    def n_pulled(self) -> int:
        """How many samples had to be pulled towards x."""
        return int(self.pulled.sum())

    def describe(self) -> list[tuple[str, str]]:
        """Return what is known of the samples, as pairs of name and value."""
        spread = float(self.images.std(0).square().mean().sqrt()) if len(self.images) > 1 else 0.0
        moved = "not measured: the network never sees them"
        if self.violation is not None:
            moved = f"{self.violation.median():.3g} median, {self.violation.max():.3g} at most"
        asked = "none" if self.tolerance is None else f"{self.tolerance.max():.3g}"
        return [
            ("samples", f"{len(self.images)} of {tuple(self.images.shape[1:])}"),
            ("standard deviation", f"{spread:.3g}, rms over pixels"),
            ("‖Φ(x̄) - Φ(x)‖", moved),
            ("tolerance", asked),
            ("pulled towards x", str(self.n_pulled)),
        ]

    def _repr_html_(self) -> str:
        cells = "".join(f"<tr><th>{n}</th><td>{v}</td></tr>" for n, v in self.describe())
        return f"<table><caption>Samples</caption>{cells}</table>"


def _batched(x: Tensor, model: Sampler) -> Tensor:
    """View one image ``(H, W)``, a batch ``(B, H, W)`` or ``(B, C, H, W)`` as ``(B, C, H, W)``."""
    expected = f"(..., {model.shape[0]}, {model.shape[1]}) with up to two leading dimensions"
    if x.ndim not in (2, 3, 4) or (x.ndim < 4 and model.channels != 1):
        raise DataError("not an image or a batch", where="x", expected=expected, got=tuple(x.shape))
    batch = x.reshape(-1, model.channels, *x.shape[-2:]) if x.ndim < 4 else x
    if tuple(batch.shape[1:]) != (model.channels, *model.shape):
        raise DataError(
            "image does not fit the model",
            where="x",
            expected=expected,
            got=tuple(x.shape),
            remedy="cut a patch of that size at the pixel spacing of the training",
        )
    if not bool(torch.isfinite(batch).all()):
        raise DataError("image holds NaN or infinite values", where="x")
    remark = hu_remark(batch.detach().cpu().numpy()) if model.unit == "HU" else None
    if remark:
        warnings.warn(f"x is taken as HU, but it holds {remark}", stacklevel=4)
    return batch


def _coordinates(v: Tensor | None, n: int, latent: int, seed: int, x: Tensor) -> Tensor:
    if n < 1:
        raise DataError("no samples asked for", where="n", expected="≥ 1", got=n)
    if v is None:
        v = torch.randn(n, latent, generator=torch.Generator().manual_seed(seed))
    elif tuple(v.shape) != (n, latent):
        raise DataError(
            "normal coordinates have the wrong shape",
            where="v",
            expected=f"(n, latent) = ({n}, {latent})",
            got=tuple(v.shape),
        )
    return v.to(x)


def _check_tolerances(model: Sampler, tolerance: float | None, tolerance_hu: float | None) -> None:
    if tolerance is None and tolerance_hu is None:
        return
    if tolerance is not None and tolerance_hu is not None:
        raise DataError(
            "two tolerances at once",
            where="tolerance, tolerance_hu",
            got=f"tolerance={tolerance} and tolerance_hu={tolerance_hu}",
            remedy="give one of them",
        )
    name = "tolerance" if tolerance is not None else "tolerance_hu"
    value = tolerance if tolerance is not None else tolerance_hu
    if not 0 < value < float("inf"):  # type: ignore[operator]
        raise DataError("tolerance is not positive", where=name, expected="> 0", got=value)
    if model.domain == "y":
        raise DataError(
            "target-domain samples cannot be projected onto a fibre",
            where=name,
            expected="a model of domain 'x'",
            got="domain 'y', whose images the network never sees",
            remedy="push the samples through the scanner and compare outputs instead",
        )
    if tolerance is not None and model.redraw is None:
        raise DataError(
            "a relative tolerance needs redrawn noise",
            where="tolerance",
            got="a model without redraw",
            remedy="give the model a redraw(x, n, seed), or use tolerance_hu at the output",
        )
    if tolerance_hu is not None and (model.wiretap.layer != "output" or model.unit != "HU"):
        raise DataError(
            "a tolerance in HU means something at the output of a CT network only",
            where="tolerance_hu",
            expected="layer 'output' and images in HU",
            got=f"layer {model.wiretap.layer!r} and unit {model.unit!r}",
            remedy="use tolerance=, a multiple of what redrawing the noise gives",
        )


def _noise_reference(model: Sampler, image: Tensor, z: Tensor, seed: int) -> Tensor:
    """Median rms of ``Φ(x with redrawn noise) - z`` for one image ``(1, C, H, W)``."""
    bare = image[0, 0] if model.channels == 1 else image[0]
    redrawn = model.redraw(bare, REDRAWS, seed)  # type: ignore[misc]
    if tuple(redrawn.shape) != (REDRAWS, *bare.shape):
        raise DataError(
            "redraw returned another shape",
            where="redraw(x, n, seed)",
            expected=(REDRAWS, *bare.shape),
            got=tuple(redrawn.shape),
        )
    redrawn = redrawn.reshape(REDRAWS, *image.shape[1:]).to(image)
    return rms(model.represent(redrawn) - z).median()


@torch.no_grad()
def draw(
    model: Sampler,
    x: Tensor,
    *,
    n: int = 250,
    v: Tensor | None = None,
    tolerance: float | None = None,
    tolerance_hu: float | None = None,
    seed: int,
) -> Samples:
    """Sample invariances and report how far each is from the fibre; see `sample_invariances`.

    Parameters
    ----------
    model : Sampler
        Such as `SHIPPED.load_model` gives.
    x : Tensor
        One image ``(H, W)`` or a batch ``(B, H, W)`` or ``(B, C, H, W)`` in the model's unit;
        arrays are taken too.
    n : int
        Number of samples for each image.
    v : Tensor, optional
        Normal coordinates ``(n, latent)``; drawn from ``seed`` otherwise.
    tolerance : float, optional
        Largest violation as a multiple of the median ``‖Φ(x with redrawn noise) - Φ(x)‖``.
    tolerance_hu : float, optional
        Largest violation as an rms in HU, at the layer "output" only.
    seed : int
        Of v and of the redrawn noise.

    Returns
    -------
    Samples
        The images, their v, how far each is from the fibre, and which had to be pulled towards x.
    """
    _check_tolerances(model, tolerance, tolerance_hu)
    x = torch.as_tensor(x, dtype=torch.float32)
    batch = _batched(x, model)
    v = _coordinates(v, n, model.latent, seed, x)
    images, violations, pulled, limits = [], [], [], []
    for image in batch.split(1):
        z = model.represent(image)
        samples = model.generate(v, z)
        caught = torch.zeros(n, dtype=torch.bool, device=x.device)
        if tolerance is None and tolerance_hu is None:
            if model.domain == "x":
                violation = [rms(model.represent(some) - z) for some in samples.split(25)]
                violations.append(torch.cat(violation))
        else:
            if tolerance is not None:
                limit = tolerance * _noise_reference(model, image, z, seed)
            else:
                limit = torch.as_tensor(tolerance_hu).to(x)
            if not limit > 1e-6 * rms(z):
                raise DataError(
                    "redrawing the noise does not change the representation at all",
                    where="tolerance",
                    got=f"a median ‖Φ(x redrawn) - z‖ of {float(limit):.3g} (rms)",
                )
            result = project_to_fibre(model.represent, samples, z, tolerance=limit, anchor=image)
            samples, caught = result.x, result.pulled
            violations.append(result.residual)
            limits.append(limit)
        images.append(samples)
        pulled.append(caught)

    def per_image(values: list[Tensor]) -> Tensor:
        return values[0] if x.ndim == 2 else torch.stack(values, dim=-1)

    return Samples(
        images=torch.stack(images, dim=1).reshape(n, *x.shape),
        v=v,
        violation=per_image(violations) if violations else None,
        tolerance=per_image(limits) if limits else None,
        pulled=per_image(pulled),
    )


def sample_invariances(
    model: Sampler,
    x: Tensor,
    *,
    n: int = 250,
    v: Tensor | None = None,
    tolerance: float | None = None,
    tolerance_hu: float | None = None,
    seed: int,
) -> Tensor:
    """Sample images that the layer represents as it represents x.

    With a VAE and a cINN ``x̄ = D(t⁻¹(v | Φ(x)))`` (Rombach, Esser and Ommer, ECCV 2020), with flow
    matching the end of the path that starts at the noise image v. What the trained networks give is
    an approximation; with a tolerance every sample is moved onto the fibre
    ``‖Φ(x̄) - Φ(x)‖ ≤ tolerance`` (rms) by `project_to_fibre`, and one that cannot be is pulled
    towards x. `draw` does the same and also returns the violations and how many were pulled.

    Parameters
    ----------
    model : InvarianceModel or FlowModel
    x : Tensor
        One image ``(H, W)`` or a batch ``(B, H, W)`` or ``(B, C, H, W)`` in the model's unit.
    n : int
        Number of samples for each image.
    v : Tensor, optional
        Normal coordinates ``(n, latent)``, so that the same v can be used for other layers and
        images; drawn from ``seed`` otherwise.
    tolerance : float, optional
        Largest violation as a multiple of the median ``‖Φ(x with redrawn noise) - Φ(x)‖``.
    tolerance_hu : float, optional
        Largest violation as an rms in HU, at the layer "output" only.
    seed : int
        Of v and of the redrawn noise.

    Returns
    -------
    Tensor
        ``(n, *x.shape)`` in the unit of x: x̄ in domain "x", ȳ in domain "y".

    Raises
    ------
    DataError
        If x or v do not fit, both tolerances are given, one is given in domain "y", a relative one
        without ``model.redraw``, or ``tolerance_hu`` elsewhere than at the output.

    Warns
    -----
    UserWarning
        If x can hardly be HU although the model's unit is (`recon.hu_remark`): numbers from 0 to 1,
        a mean far from any tissue's, stored numbers with their offset.

    Examples
    --------
    >>> import torch
    >>> from ctxai import ConditionalINN
    >>> from ctxai import InvarianceModel
    >>> from ctxai import sample_invariances
    >>> from ctxai import VAE
    >>> from ctxai import Wiretap
    >>> model = InvarianceModel(
    ...     wiretap=Wiretap(lambda x: x, "output"),
    ...     vae=VAE(shape=(16, 16), latent=4, widths=(8, 8)),
    ...     cinn=ConditionalINN(latent=4, condition_shape=(1, 16, 16), blocks=2, hidden=8),
    ... )
    >>> x = torch.zeros(16, 16)
    >>> samples = sample_invariances(model, x, n=5, tolerance_hu=0.1, seed=1)
    >>> samples.shape, bool((samples.square().mean((1, 2)).sqrt() <= 0.1).all())
    (torch.Size([5, 16, 16]), True)
    """
    return draw(
        model, x, n=n, v=v, tolerance=tolerance, tolerance_hu=tolerance_hu, seed=seed
    ).images

r"""What a layer hardly sees around an image: the near-null space of its Jacobian.

To first order Φ changes by J d when the image changes by d. The singular vectors of J whose σ is
below a tenth of the largest span what the layer hardly sees: a deviation is a local invariance as
far as its energy lies there. The share of a deviation's energy below a threshold is

.. math::
    \sum_{σ_i < τ σ_\max} \frac{⟨d, v_i⟩²}{‖d‖²} ,

a cumulative spectral measure of :math:`JᵀJ` at d. Lanczos iterations started at d give its Gauss
quadrature: nodes are the eigenvalues of the tridiagonal matrix, weights the squares of their first
components (Golub and Meurant, "Matrices, moments and quadrature", 2010). Averaged over white noise
it is the dimension of the space, as a share of all (stochastic Lanczos quadrature: Ubaru, Chen and
Saad, SIAM J. Matrix Anal. 38, 2017).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from recon.errors import DataError

from .jacobian import Linearisation, linearise
from .local import LocalJacobian

__all__ = ["NearNull", "near_null", "unseen_part"]

Layer = Callable[[Tensor], Tensor] | LocalJacobian
_STEPS = 60
_CHUNK = 16


@dataclass(frozen=True)
class NearNull:
    """Deviations and white noise, as a layer sees them around one image.

    Attributes
    ----------
    energy : Tensor
        Share of each deviation's energy in the near-null space, ``(n,)``.
    gain : Tensor
        ``‖J d‖ / ‖d‖`` of each deviation, norms being sums over entries, ``(n,)``.
    white_energy, white_gain : float
        The same for white noise, the mean over its draws.
    dimension : float
        Estimated dimension of the near-null space.
    entries : int
        Dimensions of the image.
    largest : float
        σ_max of J, in units of z per unit of x.
    """

    energy: Tensor
    gain: Tensor
    white_energy: float
    white_gain: float
    dimension: float
    entries: int
    largest: float


@torch.no_grad()
def near_null(
    phi: Layer,
    x: Tensor,
    deviations: Tensor,
    *,
    threshold: float = 0.1,
    steps: int = _STEPS,
    draws: int = 4,
    largest: float | None = None,
    seed: int,
) -> NearNull:
    """How much of each deviation lies where a layer hardly sees it.

    Parameters
    ----------
    phi : callable or LocalJacobian
        The layer's representation Φ of a batch of images, or its Jacobian around x where that is
        known already.
    x : Tensor
        The image around which Φ is linearised, ``(1, C, H, W)``.
    deviations : Tensor
        ``(n, C, H, W)``, in the unit of x; none of them zero everywhere.
    threshold : float
        In units of the largest singular value: features have an arbitrary scale.
    steps : int
        Lanczos iterations, each a product with J and one with its transpose.
    draws : int
        Draws of white noise. With 0 of them what is said of white noise, and the dimension, is NaN.
    largest : float, optional
        σ_max, where it is known; else the largest that deviations and white noise meet.
    seed : int
        Of the white noise.

    Returns
    -------
    NearNull

    Raises
    ------
    DataError
        If the shapes do not fit, a deviation is zero, or there are too few steps or draws.

    Examples
    --------
    >>> import torch
    >>> from ctxai import near_null
    >>> pairs = lambda x: x.unflatten(-1, (-1, 2)).mean(-1)  # sees the mean of two neighbours
    >>> d = torch.tensor([[1.0, -1.0, 0.0, 0.0], [3.0, 1.0, 0.0, 0.0]]).reshape(2, 1, 1, 4)
    >>> found = near_null(pairs, torch.zeros(1, 1, 1, 4), d, draws=50, seed=1)
    >>> found.energy, round(found.largest, 2)
    (tensor([1.0000, 0.2000]), 0.71)
    """
    if len(x) != 1 or deviations.shape[1:] != x.shape[1:] or len(deviations) < 1:
        raise DataError(
            "deviations do not fit the image",
            where="deviations",
            expected=f"(n, {', '.join(map(str, x.shape[1:]))}) for one image",
            got=f"{tuple(deviations.shape)} for an image of shape {tuple(x.shape)}",
        )
    if steps < 1 or draws < 0:
        raise DataError(
            "too few", where="steps, draws", expected="≥ 1 and ≥ 0", got=f"{steps}, {draws}"
        )
    if bool((deviations.flatten(1).norm(dim=1) == 0).any()):
        raise DataError("a deviation of zero has no direction", where="deviations")
    noise = torch.Generator().manual_seed(seed)
    white = torch.randn((draws, *x.shape[1:]), generator=noise).to(x)
    starts = torch.cat([deviations.to(x), white])
    parts = [_quadrature(phi, x, some, steps) for some in starts.split(_CHUNK)]
    nodes, weights, whole = (torch.cat(column) for column in zip(*parts))
    seen = (nodes.clamp_min(0.0) * weights).sum(1).sqrt()
    top = nodes.max().clamp_min(0.0).sqrt() if largest is None else torch.tensor(largest).to(nodes)
    share = _below(nodes.clamp_min(0.0).sqrt(), weights, whole, threshold * top)
    n, entries = len(deviations), x[0].numel()
    return NearNull(
        energy=share[:n].float(),
        gain=seen[:n].float(),
        white_energy=float(share[n:].mean()),
        white_gain=float(seen[n:].square().mean().sqrt()),
        dimension=float(share[n:].mean()) * entries,
        entries=entries,
        largest=float(top),
    )


@torch.no_grad()
def unseen_part(
    phi: Layer,
    x: Tensor,
    directions: Tensor,
    *,
    threshold: float = 0.1,
    steps: int = _STEPS,
) -> Tensor:
    """The part of each direction in the near-null space of a layer around one image.

    The rest is what the layer sees. σ_max is the largest that the directions meet.

    Parameters
    ----------
    phi : callable or LocalJacobian
        The layer's representation Φ of a batch of images, or its Jacobian around x where that is
        known already.
    x : Tensor
        One image ``(1, C, H, W)``.
    directions : Tensor
        ``(n, C, H, W)``.
    threshold : float
        Of σ_max.
    steps : int
        Lanczos steps; as many as there are entries make it exact.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import torch
    >>> from ctxai import unseen_part
    >>> mask = torch.tensor([[[[1.0, 0.0]]]])  # a layer that sees the left one of two pixels
    >>> direction = torch.tensor([[[[3.0, 4.0]]]])
    >>> part = unseen_part(lambda x: mask * x, torch.zeros(1, 1, 1, 2), direction)
    >>> [round(abs(value), 3) for value in part.flatten().tolist()]
    [0.0, 4.0]
    """
    parts = []
    for some in directions.to(x).split(_CHUNK):
        found = _lanczos(phi, x, some, steps)
        parts.append((some, *found[:3]))
    largest = max(float(values.max()) for _, values, *_ in parts)
    unseen = []
    for some, values, vectors, basis in parts:
        below = (values <= threshold**2 * largest).to(vectors)  # all, where J is zero
        weights = torch.einsum("nij,nj,nj->ni", vectors, below, vectors[:, 0])
        along = torch.einsum("nk,nkp->np", weights.to(basis), basis)
        unseen.append((along * some.flatten(1).norm(dim=1, keepdim=True)).reshape(some.shape))
    return torch.cat(unseen)


def _quadrature(phi: Layer, x: Tensor, starts: Tensor, steps: int) -> tuple[Tensor, Tensor, Tensor]:
    """Nodes (σ²) and weights ``(n, steps)`` of JᵀJ at each start, and whether that is all."""
    nodes, vectors, _, whole = _lanczos(phi, x, starts, steps)
    return nodes, vectors[:, 0].square(), whole


def _lanczos(
    phi: Layer, x: Tensor, starts: Tensor, steps: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Eigenvalues and vectors of T, and the basis ``(n, steps, entries)``, of JᵀJ at each start.

    Last, whether the iterations found all that J can reach from the start. Every new vector is made
    orthogonal to all before it, twice: otherwise rounding brings copies of the largest eigenvalues
    back.
    """
    n, steps = len(starts), min(steps, x[0].numel())
    at = _around(phi, x, n)
    basis = torch.zeros(n, steps, x[0].numel()).to(x)
    diagonal = torch.zeros(n, steps, dtype=torch.float64)
    beside = torch.zeros(n, steps, dtype=torch.float64)
    q = starts.flatten(1)
    q = q / q.norm(dim=1, keepdim=True)
    scale = torch.zeros(n, dtype=torch.float64)
    for k in range(steps):
        basis[:, k] = q
        image = at.times_j(q.reshape(starts.shape))
        w = at.times_jt(image).flatten(1)
        diagonal[:, k] = image.flatten(1).double().square().sum(1).cpu()
        scale = torch.maximum(scale, diagonal[:, k])
        for _ in range(2):
            along = torch.einsum("nkp,np->nk", basis[:, : k + 1], w)
            w = w - torch.einsum("nk,nkp->np", along, basis[:, : k + 1])
        length = w.norm(dim=1)
        # what is left is rounding: the directions that J can reach from the start are all found
        going = length.cpu().double() > 1e-6 * scale
        beside[:, k] = torch.where(going, length.cpu().double(), 0.0)
        q = torch.where(going.to(w.device)[:, None], w / length.clamp_min(1e-30)[:, None], 0.0)
    between = beside[:, :-1]
    matrix = torch.diag_embed(diagonal)
    matrix += torch.diag_embed(between, 1) + torch.diag_embed(between, -1)
    nodes, vectors = torch.linalg.eigh(matrix)
    return nodes, vectors, basis, beside[:, -1] == 0


def _around(phi: Layer, x: Tensor, n: int) -> LocalJacobian | Linearisation:
    """Φ's Jacobian around one image, for products with n at a time."""
    if isinstance(phi, LocalJacobian):
        return phi
    at = linearise(phi, x)
    # a recorded chain takes any number of images, and reads the masks of one
    return at if at.recorded else linearise(phi, x.expand(n, *x.shape[1:]))


def _below(sigma: Tensor, weights: Tensor, whole: Tensor, limit: Tensor) -> Tensor:
    """Weight of the nodes below a limit ``(n,)``.

    The true cumulative measure at a node lies between the sums without and with it (Chebyshev,
    Markov, Stieltjes), so their mean is taken there, and a straight line in σ in between. Where
    the iterations found the ``whole`` spectrum of the start, the nodes are its singular values.
    """
    below = sigma < limit
    exact = (weights * below).sum(1)
    middle = weights.cumsum(1) - 0.5 * weights
    k = below.sum(1, keepdim=True)  # nodes are sorted
    inside = (k > 0) & (k < sigma.shape[1])
    left, right = (k - 1).clamp_min(0), k.clamp_max(sigma.shape[1] - 1)
    near, far = sigma.gather(1, left), sigma.gather(1, right)
    part = (limit - near) / (far - near).clamp_min(1e-30)
    line = middle.gather(1, left) + part * (middle.gather(1, right) - middle.gather(1, left))
    share = torch.where((inside & ~whole[:, None])[:, 0], line[:, 0], exact)
    # a layer that sees nothing at all has no scale: all of it is near-null
    return torch.where(limit > 0, share, 1.0).clamp(0.0, 1.0)

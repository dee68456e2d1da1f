r"""Directions of meaning about a scan, and which part of each a denoiser sees.

A direction is what a unit of something nameable does to the scan x: a lesion's contrast, radius and
place, the level of the noise, the density of soft tissue. Anatomy is changed before the scanner,
``u = R⁻¹R ∂y``, the noise after it, ``u = x - E x``.

About x the denoiser is its Jacobian J. A direction's *invisible* part is its projection onto the
singular vectors of J with σ < σ_max/10 (:func:`ctxai.unseen_part`); the rest is visible.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor

from ctxai import InPlace, LocalJacobian, linearise, unseen_part

from ..lesions.lesion import Lesion
from ..projection_domain.inserted import image_of_rays, lesion_rays
from ..scanner.slice_scanner import SliceScanner, seam_weight

__all__ = ["Direction", "SeenDirection", "see_directions", "semantic_directions"]

TISSUE_HU = (-50.0, 150.0)
"""Soft tissue."""

_STEP = 0.05  # of the radius, for the derivatives
_EDGE_PIXELS = 1.0  # blur of the border of the soft tissue
_LEAST_TISSUE = 0.05  # of the patch: with less of it there is no such direction


@dataclass(frozen=True)
class Direction:
    """What a unit of something nameable does to a scan.

    Attributes
    ----------
    name : str
        "lesion contrast", "lesion radius", "lesion place x", "lesion place y", "noise level" or
        "tissue density".
    unit : str
        HU, mm, or 1 (of the noise that the scan has).
    image : Tensor, (rows, cols)
        Change of the scan, in its surroundings, for one unit [HU per unit].
    """

    name: str
    unit: str
    image: Tensor


def semantic_directions(scanner: SliceScanner, noise: Tensor, lesion: Lesion) -> list[Direction]:
    """The directions of a lesion, of the noise, and of the soft tissue about a scan.

    Parameters
    ----------
    scanner : SliceScanner
        The slice y.
    noise : Tensor, (rows, cols)
        What its scan x has of noise, in its surroundings [HU].
    lesion : Lesion
        Where, how large and how bright the lesion is whose derivatives are taken.

    Returns
    -------
    list of Direction
        Soft tissue is left out of a patch that has next to none.
    """

    def slope(**moved: tuple[object, object]) -> Tensor:
        (name, (below, above)), = moved.items()  # fmt: skip
        ends = [lesion_rays(scanner, replace(lesion, **{name: at})) for at in (below, above)]  # type: ignore[arg-type]
        return image_of_rays(scanner, ends[1] - ends[0]) / (2 * h)

    h, (px, py) = _STEP * lesion.radius, lesion.place
    contrast = image_of_rays(scanner, lesion_rays(scanner, lesion)) / lesion.contrast
    found = [
        Direction("lesion contrast", "HU", contrast),
        Direction("lesion radius", "mm", slope(radius=(lesion.radius - h, lesion.radius + h))),
        Direction("lesion place x", "mm", slope(place=((px - h, py), (px + h, py)))),
        Direction("lesion place y", "mm", slope(place=((px, py - h), (px, py + h)))),
        Direction("noise level", "1", noise),
    ]
    tissue = (scanner.y > TISSUE_HU[0]) & (scanner.y < TISSUE_HU[1])
    if float(tissue.float().mean()) >= _LEAST_TISSUE:
        soft = gaussian_filter(tissue.double().cpu().numpy(), _EDGE_PIXELS)
        change = seam_weight(scanner) * torch.from_numpy(soft).to(scanner.y)
        rays = scanner.patch_operator(change * (scanner.mu_water / 1000.0))
        image = image_of_rays(scanner, rays[..., scanner.crossing])
        found.append(Direction("tissue density", "HU", image))
    return found


@dataclass(frozen=True)
class SeenDirection:
    """A direction, and what a denoiser sees of it.

    Attributes
    ----------
    direction : Direction
    visible, invisible : Tensor, (rows, cols)
        Its two parts, which add up to it [HU per unit].
    invisible_share : float
        Of its energy.
    gain : float
        ``‖J u‖ / ‖u‖``, norms being sums over pixels.
    output : Tensor, (H, W)
        J u, what the output shows of one unit [HU per unit].
    """

    direction: Direction
    visible: Tensor
    invisible: Tensor
    invisible_share: float
    gain: float
    output: Tensor


@torch.no_grad()
def see_directions(
    f: InPlace, directions: Sequence[Direction], *, threshold: float = 0.1, steps: int = 60
) -> list[SeenDirection]:
    """Part each direction into what a denoiser sees about its scan, and what it does not.

    Parameters
    ----------
    f : InPlace
        The denoiser in the scan x.
    directions : sequence of Direction
        About the same scan.
    threshold : float
        Of the largest singular value that was met, below which J does not see.
    steps : int
        Lanczos steps.
    """
    images = torch.stack([direction.image for direction in directions]).to(f.surroundings)
    x = f.surroundings[None, None]
    local = LocalJacobian.of(linearise(f, x), tuple(x.shape[2:]))
    unseen = unseen_part(local or f, x, images[:, None], threshold=threshold, steps=steps)[:, 0]
    at = local or linearise(f, x.expand(len(images), -1, -1, -1))
    found = []
    for direction, image, part, shown in zip(
        directions, images, unseen, at.times_j(images[:, None])[:, 0], strict=True
    ):
        whole = float(image.double().norm())
        found.append(
            SeenDirection(
                direction, image - part, part, (float(part.double().norm()) / whole) ** 2,
                float(shown.double().norm()) / whole, shown,
            )
        )  # fmt: skip
    return found

"""A network that is given neighbouring slices as channels, as a function of the middle slice.

Such a network g maps a slice and the k slices on either side of it, (B, 2k+1, H, W), to the slice
in the middle, (B, 1, H, W). Everything here asks what *one* image would have given the same output,
so that the neighbours are held fixed:

    f(x̄) = g(x₋ₖ, ..., x₋₁, x̄, x₁, ..., xₖ).

An image of another size than they, such as a patch that a sampler is trained on, has none, and is
its own neighbour.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, fx, nn

from recon.errors import DataError

__all__ = ["AmongNeighbours"]


class AmongNeighbours(nn.Module):
    """A network of 2k+1 slices as a function of the one in the middle.

    Parameters
    ----------
    network : Module or callable
        (B, 2k+1, H, W) to (B, 1, H, W).
    slices : int
        2k+1, an odd number from 3.
    neighbours : Tensor, (2k, H, W), optional
        The other slices, in order of position and in the unit of the network: for images of their
        size. Any other image is its own neighbour.

    Attributes
    ----------
    sides : int
        k, the neighbours on each side.

    Raises
    ------
    DataError
        If the number of slices is not odd, or that of the neighbours another.

    Examples
    --------
    >>> import torch
    >>> from ctxai import AmongNeighbours
    >>> mean = lambda x: x.mean(1, keepdim=True)
    >>> x = torch.full((1, 1, 2, 2), 6.0)
    >>> float(AmongNeighbours(mean, 3)(x).mean())
    6.0
    >>> f = AmongNeighbours(mean, 3).held(torch.stack([torch.zeros(2, 2), torch.full((2, 2), 3.0)]))
    >>> float(f(x).mean())
    3.0
    """

    names_of = "network"
    """Whose modules give the layers their names."""

    neighbours: Tensor | None

    def __init__(
        self,
        network: Callable[[Tensor], Tensor],
        slices: int,
        neighbours: Tensor | None = None,
    ) -> None:
        super().__init__()
        if slices < 3 or slices % 2 == 0:
            raise DataError(
                "a slice has as many neighbours on either side", where="slices",
                expected="an odd number from 3", got=slices,
            )  # fmt: skip
        if neighbours is not None and len(neighbours) != slices - 1:
            raise DataError(
                "not the neighbours of one slice", where="neighbours", expected=slices - 1,
                got=len(neighbours),
            )  # fmt: skip
        self.network, self.slices, self.sides = network, slices, slices // 2
        self.register_buffer("neighbours", neighbours, persistent=False)
        self.train(isinstance(network, nn.Module) and network.training)

    def held(self, neighbours: Tensor) -> AmongNeighbours:
        """The same network among the neighbours of a scan, (2k, H, W)."""
        return AmongNeighbours(self.network, self.slices, neighbours)

    def forward(self, x: Tensor) -> Tensor:
        """Denoise images (B, 1, H, W) of the middle slice."""
        return self.network(_stacked(x, self.neighbours, self.slices))


@fx.wrap  # one step of a traced network, since it asks for sizes
def _stacked(x: Tensor, neighbours: Tensor | None, slices: int) -> Tensor:
    """Each image of a batch between the neighbours, (B, slices, H, W)."""
    if neighbours is None or neighbours.shape[-2:] != x.shape[-2:]:
        return torch.cat([x] * slices, dim=1)
    around, sides = neighbours + torch.zeros_like(x), slices // 2
    return torch.cat([around[:, :sides], x, around[:, sides:]], dim=1)

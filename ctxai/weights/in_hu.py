"""A network of any unit as a function from HU to HU."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from .convention import Convention

__all__ = ["InConvention", "in_hu"]


class InConvention(nn.Module):
    """A network whose own unit is another, as one of HU.

    Layers keep the names that they have in the network itself.

    Parameters
    ----------
    network : Module
    convention : Convention

    Examples
    --------
    >>> from torch import nn
    >>> from ctxai import Wiretap
    >>> from ctxai.weights.convention import convention_of
    >>> from ctxai.weights.in_hu import InConvention
    >>> network = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 1, 1))
    >>> Wiretap(InConvention(network, convention_of("water")), "1").layers
    ['input', '0', '1', '2', 'output']
    """

    names_of = "network"
    """Whose modules give the layers their names."""

    def __init__(self, network: nn.Module, convention: Convention) -> None:
        super().__init__()
        self.network = network
        self.convention = convention

    def forward(self, x: Tensor) -> Tensor:
        """Denoise images (B, 1, H, W) [HU]."""
        return self.convention.back(self.network(self.convention.given(x)))


def in_hu(network: Callable[[Tensor], Tensor], convention: Convention) -> Callable:
    """A network of a convention as a function from HU to HU; itself, if that is its unit.

    Examples
    --------
    >>> from ctxai.weights.convention import convention_of
    >>> from ctxai.weights.in_hu import in_hu
    >>> double = in_hu(lambda x: 2 * x, convention_of("water"))
    >>> double(0.0)  # water, 1, becomes 2
    1000.0
    """
    if convention.offset == 0.0 and convention.scale == 1.0:
        return network
    if isinstance(network, nn.Module):
        return InConvention(network, convention)
    return lambda x: convention.back(network(convention.given(x)))

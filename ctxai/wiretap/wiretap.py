"""Split a denoiser after a named layer: f = Ψ∘Φ, and z = Φ(x) is what the layer represents.

A network is traced once with `torch.fx`; Φ is the part of its graph up to the layer, Ψ the part
behind it. Ψ takes z alone, so it exists only where the layer is a *cut*: where nothing that was
computed from x before the layer is used behind it, except through the layer. A skip connection
that passes the layer is found on the graph and named.

Both parts run the network's own modules, so they follow its weights and its device, work on
batches of any size, and under `torch.func.jvp`, `vjp` and `vmap`.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from recon.errors import DataError

from .graph import NetworkGraph

__all__ = ["Wiretap"]


class Wiretap:
    """A denoiser seen from one of its layers, f(x) = Ψ(Φ(x)).

    Parameters
    ----------
    f : Module or callable
        Takes an image batch (B, 1, H, W) and returns one. A plain callable has only the layers
        ``"input"`` and ``"output"``.
    layer : str or int
        ``"input"`` (Φ is the identity), ``"output"`` (Ψ is the identity), the dotted name of a
        module in the network, or a number k: the output of the k-th block, a block being a
        convolution with its activation (a normalisation or dropout may stand between). Blocks
        count from 1; the last is the output where only constants are added or multiplied behind
        it. A text of digits is a module's name if there is one, else a number.

    Attributes
    ----------
    layer : str
        Canonical name: two wiretaps of one network at the same place have the same.
    layers : list of str
        Canonical names of all layers of this network, in the order of execution.
    is_cut : bool
        Whether :meth:`psi` exists.
    f : callable
        The denoiser itself.

    Raises
    ------
    DataError
        If there is no such layer, its name is used several times, or the network cannot be traced.

    Examples
    --------
    >>> import torch
    >>> from ctxai import Yang
    >>> from ctxai import Wiretap
    >>> f, x = Yang(), torch.zeros(2, 1, 16, 16)
    >>> tap = Wiretap(f, 4)
    >>> tap.phi(x).shape
    torch.Size([2, 32, 16, 16])
    >>> torch.equal(tap.psi(tap.phi(x)), f(x))
    True
    >>> Wiretap(f, 8).layer
    'output'
    """

    def __init__(self, f: Callable[[torch.Tensor], torch.Tensor], layer: str | int) -> None:
        if not callable(f):
            raise DataError(
                "a denoiser must be a module or a callable", where="f", got=type(f).__name__
            )
        self.f = f
        self._network = NetworkGraph(f)
        self.layers = self._network.layers
        self.layer, node = self._network.find(layer)
        self._bypass = None if node is None else self._network.bypass(node)
        self._before = None if node is None else self._network.before(node)
        self._behind = None
        if node is not None and self._bypass is None:
            self._behind = self._network.behind(node)

    @property
    def is_cut(self) -> bool:
        """Whether Ψ exists: z alone determines the output."""
        return self._bypass is None

    def phi(self, x: torch.Tensor) -> torch.Tensor:
        """What the layer represents, z = Φ(x).

        Parameters
        ----------
        x : Tensor
            Images (B, 1, H, W) in the denoiser's unit [HU].

        Returns
        -------
        Tensor
            Features (B, ...) in the layer's own scale; at "input" and "output" in the image's.
        """
        if self.layer == "input":
            return x
        z = self.f(x) if self._before is None else self._network.run(self._before, x)
        if not isinstance(z, torch.Tensor):
            raise DataError(
                "the layer does not give one tensor",
                where=f"layer {self.layer!r}",
                got=type(z).__name__,
            )
        return z

    def psi(self, z: torch.Tensor) -> torch.Tensor:
        """What the rest of the network makes of z alone, Ψ(z).

        Parameters
        ----------
        z : Tensor
            Features as :meth:`phi` gives them (B, ...).

        Returns
        -------
        Tensor
            Images (B, 1, H, W) [HU].

        Raises
        ------
        DataError
            If a skip connection passes the layer, so that z alone does not determine the output.
        """
        if self.layer == "output":
            return z
        if self.layer == "input":
            return self.f(z)
        if self._behind is None:
            raise DataError(
                "a connection passes this layer, so Ψ does not exist",
                where=f"layer {self.layer!r}",
                got=self._bypass,
                remedy="tap one of " + ", ".join(self._network.cuts()),
            )
        return self._network.run(self._behind, z.clone())  # the next layer may work in place

    def __repr__(self) -> str:
        f = self.f
        name = type(f).__name__ if isinstance(f, nn.Module) else getattr(f, "__name__", repr(f))
        return f"Wiretap({name}, {self.layer!r})"

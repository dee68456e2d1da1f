"""Split a denoiser after a named layer: f = Ψ∘Φ, and z = Φ(x) is what the layer represents.

A network is traced once with `torch.fx`; Φ is the part of its graph up to the layer, Ψ the part
behind it. Ψ takes z alone, so it exists only where the layer is a *cut*: where nothing that was
computed from x before the layer is used behind it, except through the layer. A skip connection
that passes the layer is found on the graph and named; what crosses together with it is a cut of
several tensors, "down1+bottleneck", which can be tapped too.

Both parts run the network's own modules, so they follow its weights and its device, work on
batches of any size, and under `torch.func.jvp`, `vjp` and `vmap`.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from recon.errors import DataError

from .graph import NetworkGraph
from .several import joined, parted

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
        it. A text of digits is a module's name if there is one, else a number. Several of these
        with "+" between them are tapped together; z then holds all of them as one tensor
        (`ctxai.wiretap.several`).

    Attributes
    ----------
    layer : str
        Canonical name: two wiretaps of one network at the same place have the same.
    layers : list of str
        Canonical names of all layers of this network, in the order of execution.
    is_cut : bool
        Whether :meth:`psi` exists.
    passing : list of str
        What of x reaches the output past the layer, by names that can be tapped; "size" for the
        size of a tensor. Empty at a cut.
    crossing : str or None
        The layer with all that passes it: the name of a cut. None at a cut, and where the image
        itself passes, or the size of a tensor that does not cross.
    obstacle : str
        Why the denoiser has no layers inside; empty if it has.
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
        self.obstacle = self._network.obstacle
        self.layer, nodes = self._network.find(layer)
        self._obstacle = self._network.obstacle_of(nodes)
        self.passing = self._network.passing(nodes) if nodes else []
        self.crossing = self._network.crossing(nodes) if nodes else None
        self._before = self._network.before(nodes) if nodes else None
        self._behind = self._network.behind(nodes) if nodes and self.is_cut else None
        self._channels_last: list[bool] | None = None  # of each tensor, once one was seen
        self._shapes: dict[tuple[int, ...], list[tuple[int, ...]]] = {}  # by that of z

    @property
    def is_cut(self) -> bool:
        """Whether Ψ exists: z alone determines the output."""
        return self._obstacle is None

    def phi(self, x: torch.Tensor) -> torch.Tensor:
        """What the layer represents, z = Φ(x).

        Parameters
        ----------
        x : Tensor
            Images (B, 1, H, W) in the denoiser's unit [HU].

        Returns
        -------
        Tensor
            Features (B, ...) in the layer's own scale; at "input" and "output" in the image's. Maps
            are (B, channels, rows, cols), also where the network keeps its channels last.
        """
        if self.layer == "input":
            return x
        if self._before is None:
            return self._one_tensor(self.f(x))
        tensors = [self._one_tensor(t) for t in self._network.run(self._before, x)]
        if self._channels_last is None:
            self._channels_last = self._find_layout(x, tensors)
        maps = [t.movedim(-1, 1) if last else t for t, last in zip(tensors, self._channels_last)]
        z = joined(maps)
        self._shapes[tuple(z.shape[1:])] = [tuple(t.shape[1:]) for t in maps]
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
            If a skip connection passes the layer, so that z alone does not determine the output; if
            z is of several tensors of sizes that no :meth:`phi` has given yet.
        """
        if self.layer == "output":
            return z
        if self.layer == "input":
            return self.f(z)
        if self._behind is None:
            together = f"tap all that crosses, {self.crossing!r}; or " if self.crossing else ""
            raise DataError(
                "a connection passes this layer, so Ψ does not exist",
                where=f"layer {self.layer!r}",
                got=self._obstacle,
                remedy=f"{together}tap one of " + ", ".join(self._network.cuts()),
            )
        several = "+" in self.layer and tuple(z.shape[1:]) not in self._shapes
        if several:
            raise DataError(
                "the sizes of the tensors in z are not known", where=f"layer {self.layer!r}",
                expected="z as phi gives it", got=tuple(z.shape),
            )  # fmt: skip
        maps = parted(z, self._shapes.get(tuple(z.shape[1:]), [tuple(z.shape[1:])]))
        layouts = self._channels_last or [False] * len(maps)
        parts = [m.movedim(1, -1) if last else m for m, last in zip(maps, layouts)]
        # the next layer may work in place
        whole = torch.contiguous_format if len(parts) > 1 else torch.preserve_format
        return self._network.run(self._behind, *(p.clone(memory_format=whole) for p in parts))

    def _one_tensor(self, value: object) -> torch.Tensor:
        if not isinstance(value, torch.Tensor):
            raise DataError(
                "the layer does not give one tensor",
                where=f"layer {self.layer!r}",
                got=type(value).__name__,
            )
        return value

    def _find_layout(self, x: torch.Tensor, tensors: list[torch.Tensor]) -> list[bool]:
        """Which tensors are (B, rows, cols, channels): those whose last but one side grows with x.

        Asked of an image of twice the columns where the shape alone leaves it open.
        """

        def like(t: torch.Tensor, row: int, col: int) -> bool:
            return t.ndim == 4 and t.shape[row] * x.shape[-1] == t.shape[col] * x.shape[-2]

        open_ = [like(t, 1, 2) for t in tensors]
        if not any(open_) or self._before is None:
            return [False] * len(tensors)
        try:
            with torch.no_grad():
                wide = torch.zeros(1, *x.shape[-3:-1], 2 * x.shape[-1], dtype=x.dtype)
                shapes = [t.shape for t in self._network.run(self._before, wide.to(x.device))]
        except Exception:  # a network of one size
            return [o and not like(t, 2, 3) for o, t in zip(open_, tensors)]
        return [
            o and wider[-1] == t.shape[-1] and wider[2] != t.shape[2]
            for o, wider, t in zip(open_, shapes, tensors)
        ]

    def __repr__(self) -> str:
        f = self.f
        name = type(f).__name__ if isinstance(f, nn.Module) else getattr(f, "__name__", repr(f))
        return f"Wiretap({name}, {self.layer!r})"

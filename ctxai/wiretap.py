"""Split a denoiser after a named layer: f = Ψ∘Φ, and z = Φ(x) is what the layer represents.

A network is traced once with `torch.fx`; Φ is the part of its graph up to the layer, Ψ the part
behind it. Ψ takes z alone, so it exists only where the layer is a *cut*: where nothing that was
computed from x before the layer is used behind it, except through the layer. A skip connection
that passes the layer is found on the graph and named.

Both parts run the network's own modules, so they follow its weights and its device, work on
batches of any size, and under `torch.func.jvp`, `vjp` and `vmap`.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import fx, nn
from torch.nn import functional

from recon.errors import DataError

__all__ = ["Wiretap"]

_CONVOLUTIONS = {
    functional.conv1d, functional.conv2d, functional.conv3d,
    functional.conv_transpose1d, functional.conv_transpose2d, functional.conv_transpose3d,
}  # fmt: skip
_ACTIVATIONS = {
    functional.relu, functional.relu_, torch.relu, torch.relu_, functional.relu6,
    functional.leaky_relu, functional.leaky_relu_, functional.prelu, functional.elu,
    functional.elu_, functional.selu, functional.celu, functional.gelu, functional.silu,
    functional.mish, functional.softplus, functional.hardtanh, functional.hardswish,
    functional.sigmoid, functional.tanh, torch.sigmoid, torch.tanh,
    "relu", "relu_", "sigmoid", "sigmoid_", "tanh", "tanh_",
}  # fmt: skip
_BETWEEN = (  # what may stand between a convolution and its activation
    nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm, nn.LocalResponseNorm,
    nn.modules.dropout._DropoutNd,
)  # fmt: skip
_ARITHMETIC = {
    operator.add, operator.sub, operator.mul, operator.truediv,
    operator.iadd, operator.isub, operator.imul, operator.itruediv,
    torch.add, torch.sub, torch.mul, torch.div, "add", "sub", "mul", "div",
}  # fmt: skip


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
    >>> from ctxai.denoisers import Yang
    >>> from ctxai.wiretap import Wiretap
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
        self._map = _Map(f)
        self.layers = self._map.listed()
        self.layer, self._node = self._map.find(layer)
        self._phi_graph = self._psi_graph = None
        if self._node is not None:
            self._phi_graph = _prefix(self._node)
            self._bypass = _bypass(self._map.graph, self._node)
            if self._bypass is None:
                self._psi_graph = _suffix(self._map.graph, self._node)
                self._clone = any(
                    _writes(node, self._map.modules) for node in self._psi_graph.nodes
                )

    @property
    def is_cut(self) -> bool:
        """Whether Ψ exists: z alone determines the output."""
        return self._node is None or self._bypass is None

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
        z = self.f(x) if self._phi_graph is None else _run(self.f, self._phi_graph, x)
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
        if self._psi_graph is None:
            cuts = [name for name in self.layers if self._map.is_cut(name)]
            raise DataError(
                "a connection passes this layer, so Ψ does not exist",
                where=f"layer {self.layer!r}",
                got=self._bypass,
                remedy="tap one of " + ", ".join(cuts),
            )
        return _run(self.f, self._psi_graph, z.clone() if self._clone else z)

    def __repr__(self) -> str:
        f = self.f
        name = type(f).__name__ if isinstance(f, nn.Module) else getattr(f, "__name__", repr(f))
        return f"Wiretap({name}, {self.layer!r})"


class _Single(nn.Module):
    """A network as a function of one image: its other arguments keep their defaults."""

    def __init__(self, f: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.f = f

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.f(x)


def _run(
    f: Callable[[torch.Tensor], torch.Tensor], graph: fx.Graph, value: torch.Tensor
) -> torch.Tensor:
    """Run part of the graph of a network on its own modules."""
    interpreter = fx.Interpreter(_Single(f), graph=graph)
    interpreter.extra_traceback = False
    return interpreter.run(value)


class _Tracer(fx.Tracer):
    """Records which node each call of each module ends in, containers included."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: dict[str, list[fx.Node | None]] = {}

    def call_module(self, m, forward, args, kwargs):
        out = super().call_module(m, forward, args, kwargs)
        name = self.path_of_module(m).removeprefix("f").removeprefix(".")
        self.calls.setdefault(name, []).append(out.node if isinstance(out, fx.Proxy) else None)
        return out


@dataclass
class _Map:
    """The layers of a network: names, block numbers, and the graph nodes they mean."""

    f: Callable[[torch.Tensor], torch.Tensor]

    def __post_init__(self) -> None:
        self.obstacle = "a plain callable has no layers inside"
        self.graph = fx.Graph()
        self.calls: dict[str, list[fx.Node | None]] = {}
        self.modules: dict[str, nn.Module] = {}
        self.blocks: list[fx.Node] = []
        if isinstance(self.f, nn.Module):
            single, tracer = _Single(self.f), _Tracer()
            self.modules = dict(single.named_modules())
            try:
                self.graph = tracer.trace(single)
            except Exception as error:  # whatever a forward does that cannot be traced
                reason = (str(error) or repr(error)).splitlines()[0]
                self.obstacle = f"torch.fx cannot trace {type(self.f).__name__}: {reason}"
            else:
                self.obstacle = ""
                self.calls = {name: nodes for name, nodes in tracer.calls.items() if name}
                self.blocks = _blocks(self.graph, self.modules)
        ends = self.blocks and _only_constants_follow(self.graph, self.blocks[-1])
        self.last = self.blocks[-1] if ends else None
        self.names = self._canonical()

    def listed(self) -> list[str]:
        """Canonical names in the order of execution."""
        inner = [self.names[node] for node in self.graph.nodes if node in self.names]
        return ["input", *(name for name in inner if name not in ("input", "output")), "output"]

    def find(self, layer: str | int) -> tuple[str, fx.Node | None]:
        """Canonical name and node of a layer; no node for "input" and "output"."""
        if layer in ("input", "output"):
            return str(layer), None
        known = isinstance(layer, (str, int)) and not isinstance(layer, bool)
        if known and not self.obstacle:
            name, number = str(layer), str(layer).removeprefix("block-")
            if isinstance(layer, str) and name in self.calls:
                return self._named(name)
            if number.isdecimal() and 1 <= int(number) <= len(self.blocks):
                node = self.blocks[int(number) - 1]
                if node is self.last:
                    return "output", None
                return self._canonical_of(node)
        blocks = f" or a block from 1 to {len(self.blocks)}" if self.blocks else ""
        raise DataError(
            "unknown layer",
            where=f"layer {layer!r}",
            expected=", ".join(self.listed()) + blocks,
            remedy=self.obstacle or None,
        )

    def is_cut(self, name: str) -> bool:
        _, node = self.find(name)
        return node is None or _bypass(self.graph, node) is None

    def _named(self, name: str) -> tuple[str, fx.Node]:
        nodes = self.calls[name]
        if len(nodes) > 1:
            raise DataError(
                f"the module is called {len(nodes)} times, so its name does not say where",
                where=f"layer {name!r}",
                remedy="give the number of a convolution block, or one of "
                + ", ".join(self.listed()),
            )
        if nodes[0] is None:
            raise DataError("the layer does not give one tensor", where=f"layer {name!r}")
        return self._canonical_of(nodes[0])

    def _canonical_of(self, node: fx.Node) -> tuple[str, fx.Node | None]:
        name = self.names[node]
        return name, None if name == "output" else node

    def _canonical(self) -> dict[fx.Node, str]:
        """One name for each node that has any: its block number, or the module that ends in it."""
        names: dict[fx.Node, str] = {}
        for name, nodes in self.calls.items():  # leaves come before the containers they end
            if len(nodes) == 1 and nodes[0] is not None:
                names.setdefault(nodes[0], name)
        for number, node in enumerate(self.blocks, 1):
            if node is self.last:
                continue  # its number means the output
            if str(number) not in self.calls:
                names[node] = str(number)
            else:  # the number alone would mean the module of that name
                names.setdefault(node, f"block-{number}")
        result = _output(self.graph).args[0] if self.calls else None
        if isinstance(result, fx.Node):
            names[result] = "output"
        return names


def _blocks(graph: fx.Graph, modules: dict[str, nn.Module]) -> list[fx.Node]:
    """The node in which each convolution block ends, in the order of execution."""

    def module(node: fx.Node) -> nn.Module | None:
        return modules[str(node.target)] if node.op == "call_module" else None

    def is_convolution(node: fx.Node) -> bool:
        return isinstance(module(node), nn.modules.conv._ConvNd) or node.target in _CONVOLUTIONS

    def is_activation(node: fx.Node) -> bool:
        home = type(module(node)).__module__
        return home == "torch.nn.modules.activation" or node.target in _ACTIVATIONS

    ends = []
    for convolution in filter(is_convolution, graph.nodes):
        end = node = convolution
        while node is not None:
            behind = list(node.users)
            end = next(filter(is_activation, behind), end)
            between = (user for user in behind if isinstance(module(user), _BETWEEN))
            node = next(between, None) if end is convolution else None
        ends.append(end)
    return ends


def _tainted(graph: fx.Graph, sources: set[fx.Node]) -> set[fx.Node]:
    """The nodes whose value depends on any of the sources, these included."""
    found = set(sources)
    for node in graph.nodes:
        if found.intersection(node.all_input_nodes):
            found.add(node)
    return found


def _input(graph: fx.Graph) -> fx.Node:
    return next(node for node in graph.nodes if node.op == "placeholder")


def _output(graph: fx.Graph) -> fx.Node:
    return next(node for node in graph.nodes if node.op == "output")


def _only_constants_follow(graph: fx.Graph, node: fx.Node) -> bool:
    """Whether the output is the node's value with constants added and multiplied."""
    of_x = _tainted(graph, {_input(graph)})
    while len(node.users) == 1:
        (user,) = node.users
        if user.op == "output":
            return user.args[0] is node
        others = of_x.intersection(user.all_input_nodes) - {node}
        if user.target not in _ARITHMETIC or others:
            return False
        node = user
    return False


def _bypass(graph: fx.Graph, layer: fx.Node) -> str | None:
    """How something of x reaches the output past the layer, in words; None if nothing does."""
    of_x = _tainted(graph, {_input(graph)})
    tail = _tainted(graph, {layer})
    if _output(graph) not in tail:
        return "the output does not depend on the layer"
    for node in graph.nodes:
        if node in tail and node is not layer:
            for source in node.all_input_nodes:
                if source in of_x and source not in tail:
                    return f"{_words(source)} is used behind it by {_words(node)}"
    return None


def _words(node: fx.Node) -> str:
    if node.op == "placeholder":
        return "the network's input"
    if node.op == "output":
        return "the network's output"
    if node.op == "call_module":
        return f"module {str(node.target).removeprefix('f.')!r}"
    target = node.target if isinstance(node.target, str) else node.target.__name__
    return f"operation {node.name!r} ({target})"


def _prefix(layer: fx.Node) -> fx.Graph:
    """Φ: everything up to the layer in the order of execution."""
    graph, copies = fx.Graph(), {}
    for node in layer.graph.nodes:
        copies[node] = graph.node_copy(node, copies.__getitem__)
        if node is layer:
            break
    graph.output(copies[layer])
    return graph


def _suffix(whole: fx.Graph, layer: fx.Node) -> fx.Graph:
    """Ψ: everything that depends on the layer, with z in its place, and the constants it needs."""
    graph, tail, of_x = fx.Graph(), _tainted(whole, {layer}), _tainted(whole, {_input(whole)})
    copies = {layer: graph.placeholder("z")}
    for node in whole.nodes:
        if node is not layer and (node in tail or node not in of_x):
            copies[node] = graph.node_copy(node, copies.__getitem__)
    return graph


def _writes(node: fx.Node, modules: dict[str, nn.Module]) -> bool:
    """Whether a node may overwrite its argument."""
    if node.op == "call_module":
        return bool(getattr(modules[str(node.target)], "inplace", False))
    name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
    inplace = name.endswith("_") and not name.endswith("__")
    return (
        inplace
        or name in ("iadd", "isub", "imul", "itruediv", "setitem")
        or bool(node.kwargs.get("inplace"))
    )

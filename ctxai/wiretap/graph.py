"""The layers of a network as nodes of its traced graph: their names, and which of them are cuts."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import fx, nn

from recon.errors import DataError

from .blocks import convolution_blocks

__all__ = ["NetworkGraph"]

_ARITHMETIC = {
    operator.add, operator.sub, operator.mul, operator.truediv,
    torch.add, torch.sub, torch.mul, torch.div, "add", "sub", "mul", "div",
}  # fmt: skip


class NetworkGraph:
    """A network traced once: names of its layers, and the parts of its graph before and behind one.

    A layer that has a node of its own is named by the number of the convolution block that it
    ends (as text), else by the dotted name of the module. Where a module already has a number for
    its name, as in `nn.Sequential`, the module's name comes first. An operation between modules,
    such as the sum of a skip connection, goes by its name in the graph ("add_1"); it is found, but
    not listed. Several layers go by their names with "+" between them.

    Parameters
    ----------
    f : callable
        The network. A plain callable, or a module that `torch.fx` cannot trace, has no layers
        inside, and ``obstacle`` says why.

    Attributes
    ----------
    layers : list of str
        Canonical names in the order of execution, from "input" to "output".
    obstacle : str
        Why there is nothing inside; empty if there is.
    """

    def __init__(self, f: Callable[[torch.Tensor], torch.Tensor]) -> None:
        self.f = f
        self.obstacle = "a plain callable has no layers inside"
        self._calls: dict[str, list[fx.Node | None]] = {}
        self._blocks: list[fx.Node] = []
        self._names: dict[fx.Node, str] = {}
        self._operations: dict[str, fx.Node] = {}
        if isinstance(f, nn.DataParallel):  # its layers are those of the network that it spreads
            f = f.module
        self._network: Any = f
        if isinstance(_named(f), torch.jit.ScriptModule):
            self.obstacle = "a TorchScript module has no layers inside that can be tapped"
        elif isinstance(f, nn.Module):
            single, tracer = _Single(f), _Tracer(_prefix(f))
            try:
                self._graph = tracer.trace(single)
            except Exception as error:  # whatever a forward does that cannot be traced
                reason = (str(error) or repr(error)).splitlines()[0]
                self.obstacle = f"torch.fx cannot trace {type(f).__name__}: {reason}"
            else:
                self.obstacle = ""
                self._input = next(n for n in self._graph.nodes if n.op == "placeholder")
                self._output = next(n for n in self._graph.nodes if n.op == "output")
                self._of_x = self._depends_on(self._input)
                self._sizes = self._find_sizes()
                self._calls = tracer.calls
                self._blocks = convolution_blocks(self._graph, dict(single.named_modules()))
                self._names = self._canonical_names()
                self._operations = {
                    node.name: node
                    for node in self._graph.nodes
                    if node.op in ("call_function", "call_method") and node in self._of_x
                }
        inner = [
            self._names[n] for n in getattr(self, "_graph", fx.Graph()).nodes if n in self._names
        ]
        self.layers = ["input", *(n for n in inner if n not in ("input", "output")), "output"]

    def find(self, layer: str | int) -> tuple[str, tuple[fx.Node, ...]]:
        """Canonical name and nodes of a layer, or of several with "+" between their names.

        There is no node for "input" and "output" alone; the input beside other layers has one.

        Raises
        ------
        DataError
            If there is no such layer, or its name means several places.
        """
        if not isinstance(layer, str) or "+" not in layer or layer in self._calls:
            name, node = self._find(layer)
            return name, () if node is None else (node,)
        found: dict[fx.Node, str] = {}
        for part in layer.split("+"):
            name, node = self._find(part.strip())
            if name == "output":
                raise DataError(
                    "the output is a cut by itself", where=f"layer {layer!r}", remedy="leave it out"
                )
            if name == "input" and not self.obstacle:
                node = self._input
            if node is None:
                raise DataError(self.obstacle, where=f"layer {layer!r}")
            found[node] = name
        order = {node: k for k, node in enumerate(self._graph.nodes)}
        nodes = tuple(sorted(found, key=order.__getitem__))
        if nodes == (self._input,):
            return "input", ()
        return "+".join(found[node] for node in nodes), nodes

    def _find(self, layer: str | int) -> tuple[str, fx.Node | None]:
        """Canonical name and node of one layer; no node for "input" and "output"."""
        if isinstance(layer, str) and layer in ("input", "output"):
            return layer, None
        if isinstance(layer, str) and isinstance(self.f, nn.DataParallel):
            layer = layer.removeprefix("module.")
        if isinstance(layer, str) and layer in self._calls:
            return self._called(layer)
        number = str(layer).removeprefix("block-")
        k = int(number) if number.isdecimal() and not isinstance(layer, bool) else 0
        if 1 <= k <= len(self._blocks):
            node = self._blocks[k - 1]
            is_end = k == len(self._blocks) and self._only_constants_follow(node)
            return self._named(self._output if is_end else node)
        if isinstance(layer, str) and layer in self._operations:
            return self._named(self._operations[layer])
        blocks = f" or a block from 1 to {len(self._blocks)}" if self._blocks else ""
        raise DataError(
            "unknown layer",
            where=f"layer {layer!r}",
            expected=", ".join(self.layers) + blocks,
            remedy=self.obstacle or None,
        )

    def bypass(self, layers: Sequence[fx.Node]) -> list[tuple[fx.Node, fx.Node]]:
        """What of x reaches the output past the layers: each source, and a node that uses it.

        Empty if nothing does. A branch that the output does not see passes nothing.
        """
        tail = self._depends_on(*layers)
        if self._output not in tail:
            return []
        live = self._leads_to_output()
        found: dict[fx.Node, fx.Node] = {}
        for node in self._graph.nodes:
            if node in tail and node in live and node not in layers:
                for source in node.all_input_nodes:
                    if source in self._of_x and source not in tail:
                        found.setdefault(source, node)
        return [(node, found[node]) for node in self._graph.nodes if node in found]

    def obstacle_of(self, layers: Sequence[fx.Node]) -> str | None:
        """Why the layers are no cut, in words; None if they are one."""
        if not layers:
            return None
        if self._output not in self._depends_on(*layers):
            return "the output does not depend on the layer"
        passing = self.bypass(layers)
        if not passing:
            return None
        source, user = passing[0]
        more = f" and {len(passing) - 1} more" if len(passing) > 1 else ""
        return f"{self._words(source)} is used behind it by {self._words(user)}{more}"

    def passing(self, layers: Sequence[fx.Node]) -> list[str]:
        """Names of what passes the layers, as they can be tapped; "size" for a tensor's size."""
        names = ("size" if s in self._sizes else self.name_of(s) for s, _ in self.bypass(layers))
        return list(dict.fromkeys(names))

    def crossing(self, layers: Sequence[fx.Node]) -> str | None:
        """Name of the cut of the layers and all that passes them; None if no z can hold that.

        A size is no tensor, unless the tensor that it is of crosses, too; and beside the image
        itself nothing is left open.
        """
        sources = [source for source, _ in self.bypass(layers) if source not in self._sizes]
        if not sources or self._input in sources:
            return None
        name, nodes = self.find("+".join(map(self.name_of, [*layers, *sources])))
        return None if self.bypass(nodes) else name

    def name_of(self, node: fx.Node) -> str:
        """Canonical name of a node, that of the graph where it has no other."""
        return self._names.get(node, node.name)

    def cuts(self) -> list[str]:
        """The layers that nothing bypasses."""
        nodes = ((name, self.find(name)[1]) for name in self.layers)
        return [name for name, node in nodes if self.obstacle_of(node) is None]

    def before(self, layers: Sequence[fx.Node]) -> fx.Graph:
        """Φ: everything up to the last of the layers in the order of execution."""
        graph = fx.Graph()
        copies: dict[fx.Node, fx.Node] = {}
        kept: dict[fx.Node, fx.Node] = {}
        for node in self._graph.nodes:
            copies[node] = graph.node_copy(node, copies.__getitem__)
            if node in layers:
                kept[node] = copies[node]
                if len(kept) == len(layers):
                    break
                # what follows may work in place
                kept[node] = graph.call_method("clone", (copies[node],))
        graph.output(tuple(kept[layer] for layer in layers))
        return graph

    def behind(self, layers: Sequence[fx.Node]) -> fx.Graph:
        """Ψ of a cut: all that depends on the layers, with theirs in their place, and constants."""
        graph, live = fx.Graph(), self._leads_to_output()
        needed = live & (self._depends_on(*layers) | (set(self._graph.nodes) - self._of_x))
        copies = {layer: graph.placeholder(f"z{k}") for k, layer in enumerate(layers)}
        for node in self._graph.nodes:
            if node not in copies and node in needed:
                copies[node] = graph.node_copy(node, copies.__getitem__)
        return graph

    def run(self, graph: fx.Graph, *values: torch.Tensor) -> Any:
        """Run a part of the graph on the network's own modules, as they are now."""
        interpreter = fx.Interpreter(_Single(self._network), graph=graph)
        interpreter.extra_traceback = False
        return interpreter.run(*values)

    def _called(self, name: str) -> tuple[str, fx.Node | None]:
        nodes = self._calls[name]
        if len(nodes) > 1:
            raise DataError(
                f"the module is called {len(nodes)} times, so its name does not say where",
                where=f"layer {name!r}",
                remedy="give the number of a convolution block, or one of "
                + ", ".join(self.layers),
            )
        if nodes[0] is None:
            raise DataError("the layer does not give one tensor", where=f"layer {name!r}")
        return self._named(nodes[0])

    def _named(self, node: fx.Node) -> tuple[str, fx.Node | None]:
        name = "output" if node is self._output else self.name_of(node)
        return name, None if name in ("input", "output") else node

    def _canonical_names(self) -> dict[fx.Node, str]:
        """One name for each node that has any."""
        names: dict[fx.Node, str] = {}
        for name, nodes in self._calls.items():  # leaves come before the containers they end
            if len(nodes) == 1 and nodes[0] is not None:
                names.setdefault(nodes[0], name)
        for number, node in enumerate(self._blocks, 1):
            if number == len(self._blocks) and self._only_constants_follow(node):
                continue  # its number means the output
            if str(number) not in self._calls:
                names[node] = str(number)
            else:  # the number alone would mean the module of that name
                names.setdefault(node, f"block-{number}")
        names[self._input] = "input"
        if isinstance(self._output.args[0], fx.Node):
            names[self._output.args[0]] = "output"
        return names

    def _find_sizes(self) -> set[fx.Node]:
        """The nodes that are a tensor's size, or are computed of such."""
        found: set[fx.Node] = set()
        for node in self._graph.nodes:
            is_shape = node.target is getattr and node.args[1:] == ("shape",)
            of_x = self._of_x.intersection(node.all_input_nodes)
            computed = node.op == "call_function" and of_x and of_x <= found
            if is_shape or computed or (node.op == "call_method" and node.target == "size"):
                found.add(node)
        return found

    def _leads_to_output(self) -> set[fx.Node]:
        """The nodes that the output depends on, itself included, and those that work in place."""
        found = {self._output, *filter(_is_in_place, self._graph.nodes)}
        for node in reversed(self._graph.nodes):
            if node in found:
                found.update(node.all_input_nodes)
        return found

    def _depends_on(self, *sources: fx.Node) -> set[fx.Node]:
        """The nodes whose value depends on one of these, these included."""
        found = set(sources)
        for node in self._graph.nodes:
            if found.intersection(node.all_input_nodes):
                found.add(node)
        return found

    def _only_constants_follow(self, node: fx.Node) -> bool:
        """Whether the output is the node's value with constants added and multiplied."""
        while len(node.users) == 1:
            (user,) = node.users
            if user is self._output:
                return user.args[0] is node
            others = self._of_x.intersection(user.all_input_nodes) - {node}
            if user.target not in _ARITHMETIC or others:
                return False
            node = user
        return False

    def _words(self, node: fx.Node) -> str:
        if node.op == "placeholder":
            return "the network's input"
        if node.op == "output":
            return "the network's output"
        if node.op == "call_module":
            return f"module {str(node.target).removeprefix(_prefix(self._network))!r}"
        target = node.target if isinstance(node.target, str) else node.target.__name__
        return f"operation {node.name!r} ({target})"


class _Single(nn.Module):
    """A network as a function of one image: its other arguments keep their defaults."""

    def __init__(self, f: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.f = f

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.f(x)


def _prefix(f: Callable[[torch.Tensor], torch.Tensor]) -> str:
    """What stands before the names of a network's own modules in a trace of `_Single`.

    A module that only changes what another one is given says by ``names_of`` which that is.
    """
    prefix = "f."
    while inner := getattr(f, "names_of", ""):
        prefix, f = f"{prefix}{inner}.", getattr(f, inner)
    return prefix


def _named(f: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[torch.Tensor], torch.Tensor]:
    """The network whose modules give the layers their names."""
    while inner := getattr(f, "names_of", ""):
        f = getattr(f, inner)
    return f


class _Tracer(fx.Tracer):
    """Records which node each call of each module ends in, containers included."""

    def __init__(self, prefix: str) -> None:
        super().__init__()
        self.prefix = prefix
        self.calls: dict[str, list[fx.Node | None]] = {}

    def call_module(self, m, forward, args, kwargs):
        out = super().call_module(m, forward, args, kwargs)
        path = f"{self.path_of_module(m)}."
        name = path.removeprefix(self.prefix)[:-1] if path.startswith(self.prefix) else ""
        if name not in ("", "input", "output"):  # the last two always mean those of the network
            self.calls.setdefault(name, []).append(out.node if isinstance(out, fx.Proxy) else None)
        return out


def _is_in_place(node: fx.Node) -> bool:
    """Whether an operation changes what it is given, so that it counts without being used."""
    name = node.target if node.op == "call_method" else getattr(node.target, "__name__", "")
    is_call = node.op in ("call_method", "call_function")
    return is_call and str(name).endswith("_") and not str(name).endswith("__")

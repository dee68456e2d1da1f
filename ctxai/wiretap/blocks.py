"""Which nodes of a traced network are convolution blocks: what a layer's number counts."""

from __future__ import annotations

import torch
from torch import fx, nn
from torch.nn import functional

__all__ = ["convolution_blocks"]

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


def convolution_blocks(graph: fx.Graph, modules: dict[str, nn.Module]) -> list[fx.Node]:
    """The node in which each convolution block ends, in the order of execution.

    A block is a convolution with the normalisation and the activation that follow it, if any.

    Parameters
    ----------
    graph : torch.fx.Graph
    modules : dict
        Modules of the traced network by the names that the graph's nodes call them by.
    """

    def module(node: fx.Node) -> nn.Module | None:
        return modules[str(node.target)] if node.op == "call_module" else None

    def is_convolution(node: fx.Node) -> bool:
        return isinstance(module(node), nn.modules.conv._ConvNd) or node.target in _CONVOLUTIONS

    def is_activation(node: fx.Node) -> bool:
        home = type(module(node)).__module__
        return home == "torch.nn.modules.activation" or node.target in _ACTIVATIONS

    ends = []
    for convolution in filter(is_convolution, graph.nodes):
        end = convolution
        node: fx.Node | None = convolution
        while node is not None:
            behind = list(node.users)
            end = next(filter(is_activation, behind), end)
            between = (user for user in behind if isinstance(module(user), _BETWEEN))
            node = next(between, None) if end is convolution else None
        ends.append(end)
    return ends

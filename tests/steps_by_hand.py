"""One optimiser step written by hand, to hold a training task's against."""

from torch import Tensor, nn

STEP_REL = 1e-6
"""The specification's: gradients to their largest entry, steps to the learning rate, both in 64
bits, where an equal sum in another order differs by some 1e-12."""


def clipped(gradients: list[Tensor], largest_norm: float) -> list[Tensor]:
    """Gradients, together scaled to a norm if theirs is larger, as `torch.nn.utils` does it."""
    norm = sum(float(gradient.square().sum()) for gradient in gradients) ** 0.5
    return [gradient * min(1.0, largest_norm / (norm + 1e-6)) for gradient in gradients]


def assert_adam_step(
    trained: nn.Module, before: nn.Module, gradients: list[Tensor], lr: float
) -> None:
    """The network's gradients are these, and its weights those of Adam's first step down them.

    From zero moments both bias corrections cancel: w - lr g / (|g| + 1e-8).
    """
    pairs = zip(trained.named_parameters(), before.parameters(), gradients, strict=True)
    for (name, found), old, gradient in pairs:
        off = (found.grad - gradient).abs().max()
        assert off <= STEP_REL * gradient.abs().max(), name
        step = lr * gradient / (gradient.abs() + 1e-8)
        assert (found - (old - step)).abs().max() <= STEP_REL * lr, name

"""Where networks work in 16 bits: in training on a GPU, and in sampling on processors that can.

bfloat16 has the range of float32, so that no loss needs scaling. Data, losses, gradients of the
weights and the optimisers' states stay in float32, and so do denoisers, whose HU would be rounded
to 2 to 4, and invertible networks, whose Jacobians have to be exact. Of a denoiser's Jacobian half
the digits do where it only says which way to go.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

__all__ = ["mixed", "normal_like", "sixteen_bits"]


def mixed(data: Tensor) -> torch.autocast:
    """Run what follows in bfloat16 where the data is on a GPU; on a CPU it changes nothing.

    Parameters
    ----------
    data : Tensor
        Any tensor of the batch.

    Examples
    --------
    >>> import torch
    >>> from ctxai.precision import mixed
    >>> x = torch.ones(2, 2)
    >>> with mixed(x):
    ...     (x @ x).dtype
    torch.float32
    """
    kind = data.device.type
    return torch.autocast(kind, dtype=torch.bfloat16, enabled=kind == "cuda")


def normal_like(image: Tensor, generator: torch.Generator) -> Tensor:
    """Standard normal noise of the shape of an image, drawn where the image lives.

    Parameters
    ----------
    image : Tensor
    generator : torch.Generator
        On the CPU; of a GPU's own stream it draws the seed.

    Examples
    --------
    >>> import torch
    >>> from ctxai.precision import normal_like
    >>> generator = torch.Generator().manual_seed(1)
    >>> torch.equal(normal_like(torch.zeros(3), generator),
    ...             torch.randn(3, generator=torch.Generator().manual_seed(1)))
    True
    """
    if image.device.type == "cpu":
        return torch.randn(image.shape, generator=generator).to(image)
    key = int(torch.randint(2**62, (), generator=generator))
    stream = torch.Generator(image.device).manual_seed(key)
    return torch.randn(image.shape, generator=stream, device=image.device)


def sixteen_bits(u: Tensor) -> torch.autocast:
    """Run what follows in bfloat16 on a CPU that multiplies such numbers; elsewhere as it is.

    For the velocity of a flow, whose samples move by 0.5 HU (rms), a thirtieth of their spread, and
    for the steps of a projection, which are measured in 32 bits: its samples move by 0.02 HU.

    Parameters
    ----------
    u : Tensor
        Where it is decides.

    Returns
    -------
    torch.autocast
        A context.
    """
    on_cpu = u.device.type == "cpu" and u.dtype == torch.float32 and _multiplies_bfloat16()
    return torch.autocast(u.device.type, dtype=torch.bfloat16, enabled=on_cpu)


@cache
def _multiplies_bfloat16() -> bool:
    from llvmlite import binding

    return bool(binding.get_host_cpu_features().get("avx512bf16", False))

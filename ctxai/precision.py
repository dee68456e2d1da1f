"""Mixed precision: on a GPU the networks that are trained work in 16 bits, and the rest does not.

bfloat16 has the range of float32, so that no loss needs scaling. Data, losses, gradients of the
weights and the optimisers' states stay in float32, and so do denoisers, whose HU would be rounded
to 2 to 4, and invertible networks, whose Jacobians have to be exact.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["mixed"]


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

"""What a denoiser is known by: what it answers on fixed images, and the tensors that it holds.

Whatever changes the answers changes the key: weights in a closure, a module that the file imports,
another convention of input. What does not, as a comment, leaves it, and samplers trained for the
network are used again.

Answers are rounded before they are hashed, since another number of threads, or another processor,
adds the same products in another order (some 1e-4 HU). Any rounding has edges, so that few numbers
are kept and each is far coarser than that: eight means of f(x) over all pixels with weights of
random sign, which are off by as little as a single pixel is, in steps of 0.2 HU. One key in some
hundred changes with the processor by chance, and its sampler is then trained once more; networks
that differ by half a HU rms have other keys. The layers inside may differ where the answers do not,
and samplers depend on them: the tensors of a module are in the key with all their bits.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import torch
from torch import Tensor, nn

from ..files.tensors import digest_tensors
from .trial_images import trial_images

__all__ = ["fingerprint"]

_NUMBERS = 8
_STEP_HU = 0.2


@torch.no_grad()
def fingerprint(f: Callable[[Tensor], Tensor], shape: tuple[int, int] = (64, 64)) -> str:
    """SHA-256 (hex) of what a denoiser answers.

    Parameters
    ----------
    f : callable
        HU to HU, (B, 1, H, W) to the same shape.
    shape : (rows, cols)
        Of the images that it is asked about where it does not take 64 × 64.

    Examples
    --------
    >>> from ctxai.weights.fingerprint import fingerprint
    >>> one = fingerprint(lambda x: 0.9 * x)
    >>> one == fingerprint(lambda x: x * 0.9), one == fingerprint(lambda x: 0.91 * x)
    (True, False)
    """
    try:
        answers = _answers(f, (64, 64))
    except Exception:  # whatever the user's own code may raise at another size than its own
        answers = _answers(f, shape)
    generator = torch.Generator().manual_seed(8)
    signs = torch.randint(0, 2, (_NUMBERS, answers.numel()), generator=generator) * 2.0 - 1.0
    means = (signs.double() @ answers) / answers.numel() ** 0.5
    digest = hashlib.sha256(str(torch.round(means / _STEP_HU).long().tolist()).encode())
    if isinstance(f, nn.Module):
        digest.update(digest_tensors(f.state_dict()).encode())
    return digest.hexdigest()


def _answers(f: Callable[[Tensor], Tensor], shape: tuple[int, int]) -> Tensor:
    images = trial_images(shape, 2, seed=64).noisy
    return torch.cat([f(image.clone()) for image in images.split(1)]).double().flatten().cpu()

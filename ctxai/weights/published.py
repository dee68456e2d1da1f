"""Weights that others have published, read into our networks.

ldct-benchmark (Eulig et al., "Benchmarking deep learning-based low-dose CT image denoising
algorithms", Med. Phys. 2024) trains the same denoisers: its CNN-10 is `Chen`, its WGAN-VGG the
generator `Yang`, its RED-CNN and the generator of its DU-GAN are `RedCNN`, under the same names of
tensors. Its networks see (HU + 1024 - mean) / sd with one
mean and one sd for all its data, and are trained on targets normalised in the same way, so that the
inverse adds the *mean*. (Its own script for DICOM files adds the sd instead: 20.7 HU too much.)
"""

from __future__ import annotations

from pathlib import Path

import safetensors.torch
from safetensors import SafetensorError

from recon.errors import DataError

from ..denoisers import Chen, RedCNN, Yang
from ..files.modules import load_fitting
from ..files.tensors import require_finite
from .named import PUBLISHED

__all__ = ["BENCHMARK_OFFSET_HU", "BENCHMARK_SCALE_HU", "METHODS", "load_ldct_benchmark"]

BENCHMARK_OFFSET_HU = 481.45419786099086 - 1024.0
"""Mean of ldct-benchmark's training data, on the scale of HU."""

BENCHMARK_SCALE_HU = 502.18507379395044
"""Standard deviation of ldct-benchmark's training data [HU]."""

METHODS: dict[str, type[Chen] | type[RedCNN] | type[Yang]] = dict(
    zip(PUBLISHED, (Chen, RedCNN, Yang, RedCNN), strict=True)
)
"""Its methods that are known here, and the network of each."""


def load_ldct_benchmark(method: str, path: str | Path) -> Chen | RedCNN | Yang:
    """Read a network that ldct-benchmark trained.

    Its files are pickles, which may run anything when they are opened, so a pickle is refused here;
    the message says how to convert one, once, where it is trusted.

    Parameters
    ----------
    method : {"cnn10", "redcnn", "wganvgg", "dugan"}
        Name of the method there.
    path : path
        Its ``model_state_dict`` as a safetensors file.

    Returns
    -------
    Chen, RedCNN or Yang
        HU to HU, in evaluation mode and without gradients.

    Raises
    ------
    DataError
        If there is no such method, or the file is none or does not hold that network.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from safetensors.torch import save_file
    >>> from ctxai import Chen
    >>> from ctxai import load_ldct_benchmark
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "cnn10.safetensors"
    >>> save_file(Chen().state_dict(), path)
    >>> f = load_ldct_benchmark("cnn10", path)
    >>> round(float(f.offset), 2), round(float(f.scale), 2)
    (-542.55, 502.19)
    """
    path = Path(path)
    if method not in METHODS:
        raise DataError(
            "no network of ldct-benchmark that is known here",
            where="method",
            expected=" or ".join(METHODS),
            got=method,
        )
    if path.suffix in (".pt", ".pth"):
        raise DataError(
            "a pickled checkpoint is not opened",
            where=path,
            expected="a .safetensors file",
            remedy="convert it once: safetensors.torch.save_file(torch.load(FILE, weights_only=True"
            f")['model_state_dict'], '{path.stem}.safetensors')",
        )
    try:
        tensors = safetensors.torch.load_file(path)
    except (OSError, SafetensorError) as error:
        raise DataError("weights cannot be read", where=path, got=error) from None
    require_finite(tensors, path)
    f = METHODS[method](offset=BENCHMARK_OFFSET_HU, scale=BENCHMARK_SCALE_HU)
    load_fitting(f, tensors, method, path)
    return f.eval().requires_grad_(False)

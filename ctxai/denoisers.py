"""The two denoisers of the talk, and any other that a user brings.

All denoisers map HU to HU, (B, 1, H, W) to the same shape. They normalise inside: the first thing
that happens to x is (x - offset) / scale, the last is the inverse.
"""

from __future__ import annotations

import hashlib
import sys
import types
from pathlib import Path

import torch
from torch import nn

from recon.errors import DataError

from .files.modules import load_module
from .files.tensors import digest_tensors
from .weights.own_denoiser import Denoiser, require_image_to_image

__all__ = ["OFFSET_HU", "SCALE_HU", "Chen", "Yang", "load_denoiser"]

OFFSET_HU, SCALE_HU = -400.0, 450.0
"""Default normalisation: maps air (-1000 HU) to -1.3, water to 0.9 and 500 HU of bone to 2."""


class Chen(nn.Module):
    """Three-layer denoiser: 9×9 to 64 channels, ReLU, 3×3 to 32, ReLU, 5×5 to 1; 24,513 weights.

    H. Chen et al., "Low-dose CT denoising with convolutional neural network", ISBI 2017. The
    image is predicted directly; "same" padding, no normalisation layers.

    Parameters
    ----------
    offset, scale : float
        Normalisation (x - offset) / scale of the images [HU].

    Examples
    --------
    >>> import torch
    >>> from ctxai.denoisers import Chen
    >>> Chen()(torch.zeros(2, 1, 32, 48)).shape
    torch.Size([2, 1, 32, 48])
    """

    offset: torch.Tensor
    scale: torch.Tensor

    def __init__(self, *, offset: float = OFFSET_HU, scale: float = SCALE_HU) -> None:
        super().__init__()
        self.config = {"offset": offset, "scale": scale}
        _keep_scales(self, offset, scale)
        self.layers = nn.Sequential(
            nn.Conv2d(1, 64, 9, padding=4),
            nn.ReLU(),
            nn.Conv2d(64, 32, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(32, 1, 5, padding=2),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Denoise images (B, 1, H, W) [HU]."""
        return self.layers((x - self.offset) / self.scale) * self.scale + self.offset


class Yang(nn.Module):
    """Eight-layer denoiser: seven times 3×3 to 32 channels with ReLU, 3×3 to 1; 56,097 weights.

    The generator of Q. Yang et al., "Low-dose CT image denoising using a generative adversarial
    network with Wasserstein distance and perceptual loss", IEEE TMI 37(6), 2018. The image is
    predicted directly; "same" padding, no normalisation layers, the last convolution is linear.

    Parameters
    ----------
    offset, scale : float
        Normalisation (x - offset) / scale of the images [HU].

    Examples
    --------
    >>> import torch
    >>> from ctxai.denoisers import Yang
    >>> Yang()(torch.zeros(1, 1, 32, 48)).shape
    torch.Size([1, 1, 32, 48])
    """

    offset: torch.Tensor
    scale: torch.Tensor

    def __init__(self, *, offset: float = OFFSET_HU, scale: float = SCALE_HU) -> None:
        super().__init__()
        self.config = {"offset": offset, "scale": scale}
        _keep_scales(self, offset, scale)
        hidden = [nn.Conv2d(1, 32, 3, padding=1), nn.ReLU()]
        for _ in range(6):
            hidden += [nn.Conv2d(32, 32, 3, padding=1), nn.ReLU()]
        self.net = nn.Sequential(*hidden, nn.Conv2d(32, 1, 3, padding=1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Denoise images (B, 1, H, W) [HU]."""
        return self.net((x - self.offset) / self.scale) * self.scale + self.offset


def load_denoiser(spec: str) -> tuple[Denoiser, str, str]:
    """Load a denoiser by name, or from a user's own Python file.

    Parameters
    ----------
    spec : str
        ``"chen"`` or ``"yang"`` for the weights that ship with the toolbox, or
        ``"path/to/module.py:factory"``: the file is run, ``factory()`` is called and must return a
        module or a callable that maps HU to HU, (B, 1, H, W) to the same shape; or
        ``"file.safetensors"``, a denoiser that this toolbox trained; or
        ``"cnn10:file.safetensors"`` or ``"wganvgg:file.safetensors"``, weights of ldct-benchmark.

    Returns
    -------
    f : Module or callable
        Modules come in evaluation mode and with frozen weights.
    name : str
        ``"chen"``, or ``"module.factory"``.
    digest : str
        SHA-256 (hex) of what defines f: the source file, and all tensors of a module.

    Raises
    ------
    DataError
        If the file, the factory or what it returns cannot be used.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from ctxai.denoisers import load_denoiser
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "mine.py"
    >>> _ = path.write_text("def half():\\n    return lambda x: x / 2\\n")
    >>> f, name, digest = load_denoiser(f"{path}:half")
    >>> name, f(3.0), len(digest)
    ('mine.half', 1.5, 64)
    """
    if spec.lower() in ("chen", "yang"):
        from .weights import sets as weights

        module, _ = weights.load(spec.lower())
        return module.eval().requires_grad_(False), spec.lower(), _digest(module)
    method, _, weights_file = spec.partition(":")
    if method in ("cnn10", "wganvgg"):
        from .weights.published import load_ldct_benchmark

        path = Path(weights_file).expanduser()
        published = load_ldct_benchmark(method, path)
        return published, f"{method}-{path.stem}", _digest(published)
    if spec.endswith(".safetensors"):
        return _saved(Path(spec).expanduser())
    text, colon, factory = spec.rpartition(":")
    if not colon or not factory.isidentifier() or not text.endswith(".py"):
        raise DataError(
            "no such denoiser",
            where=spec,
            expected="chen, yang, file.safetensors, cnn10:file.safetensors, "
            "wganvgg:file.safetensors, or path/to/module.py:factory",
        )
    path = Path(text).expanduser()
    if not path.is_file():
        raise DataError("denoiser file not found", where=path)
    code = path.read_bytes()
    source = hashlib.sha256(code)
    f = _made_by(code, path, factory)
    if isinstance(f, nn.Module):
        f = f.eval().requires_grad_(False)
        source.update(digest_tensors(f.state_dict()).encode())
    require_image_to_image(f, spec)
    return f, f"{path.stem}.{factory}", source.hexdigest()


def _saved(path: Path) -> tuple[Denoiser, str, str]:
    """Load a denoiser that `save_module` wrote, by its path."""
    module, _ = load_module(path)
    if not isinstance(module, Chen | Yang):
        raise DataError(
            "not a denoiser", where=path, expected="Chen or Yang", got=type(module).__name__
        )
    return module.eval().requires_grad_(False), path.stem, _digest(module)


def _digest(module: Chen | Yang) -> str:
    """SHA-256 (hex) of a network: its class, its normalisation and its weights."""
    digest = hashlib.sha256(f"{type(module).__name__} {module.config}".encode())
    digest.update(digest_tensors(module.state_dict()).encode())
    return digest.hexdigest()


def _keep_scales(module: nn.Module, offset: float, scale: float) -> None:
    """Hold the normalisation as buffers: neither trained nor saved (``config`` has it)."""
    if not scale > 0:
        raise DataError("normalisation needs a scale", where="scale", expected="> 0", got=scale)
    module.register_buffer("offset", torch.tensor(float(offset)), persistent=False)
    module.register_buffer("scale", torch.tensor(float(scale)), persistent=False)


def _made_by(code: bytes, path: Path, factory: str) -> Denoiser:
    """Run the code of a Python file, leaving nothing beside it, and call one of its functions."""
    name = f"_denoiser_{hashlib.sha256(code).hexdigest()[:16]}"
    module = types.ModuleType(name)
    module.__file__ = str(path)
    sys.modules[name] = module  # dataclasses and the like look their module up
    try:
        exec(compile(code, str(path), "exec"), module.__dict__)
        make = getattr(module, factory, None)
        f = make() if callable(make) else None
    except (Exception, SystemExit) as error:  # whatever the user's own code may raise
        raise DataError(
            "the denoiser's own code failed",
            where=f"{path}:{factory}",
            got=f"{type(error).__name__}: {error}",
        ) from error
    if not callable(make):
        raise DataError(
            f"the file has no function {factory!r}",
            where=path,
            expected="a function that takes nothing and returns the denoiser",
        )
    if not callable(f):
        raise DataError(
            "the factory returned no denoiser",
            where=f"{path}:{factory}",
            expected="a torch module or a callable",
            got=type(f).__name__,
        )
    return f

"""What VGG19 sees in an image: the space in which WGAN-VGG compares denoised and true images."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from recon.errors import DataError

from ..files.torchvision import cached_weights, read_weights

__all__ = ["VGG19Features"]

_BLOCKS = ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4))  # channels, convolutions; then a pool
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, as torchvision's
_LOW_HU, _HIGH_HU = -1000.0, 1000.0  # what becomes black and white


class VGG19Features(nn.Module):
    """The convolutions of VGG19 up to a layer, frozen, with torchvision's state-dict keys.

    K. Simonyan, A. Zisserman, "Very deep convolutional networks for large-scale image
    recognition", ICLR 2015 (configuration E). CT images enter as u = (HU + 1000) / 2000, so that
    -1000 HU is black (0) and 1000 HU white (1), the same in all three channels, and are then
    standardised with ImageNet's means and deviations as the published weights expect.

    Parameters
    ----------
    weights : path, optional
        A ``.safetensors`` file with the keys ``features.N.weight`` and ``features.N.bias`` of
        torchvision's vgg19 (others are ignored). Without it, ``vgg19-*.safetensors`` in the
        folder ``checkpoints`` of ``torch.hub.get_dir()``, and without that, random weights
        (Kaiming normal). :attr:`source` says which; nothing is ever downloaded.
    cut : str
        Last layer: ``"reluB_I"`` or ``"convB_I"``, block B from 1 to 5. "relu5_4" as published.
    seed : int
        Seed of random weights.

    Attributes
    ----------
    source : str
        Where the weights are from, for the record of a run.

    Raises
    ------
    DataError
        If there is no such layer, or the file cannot be used.

    Examples
    --------
    >>> import torch
    >>> from ctxai import VGG19Features
    >>> VGG19Features(cut="relu2_2")(torch.zeros(1, 1, 64, 64)).shape
    torch.Size([1, 128, 32, 32])
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(
        self, weights: str | Path | None = None, *, cut: str = "relu5_4", seed: int = 0
    ) -> None:
        super().__init__()
        self.cut = cut
        self.features = _layers(cut)
        self.register_buffer("mean", torch.tensor(_MEAN).reshape(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(_STD).reshape(3, 1, 1), persistent=False)
        path = cached_weights("vgg19") if weights is None else Path(weights)
        if path is None:
            _randomise(self, seed)
            self.source = (
                f"random (Kaiming normal, seed {seed}): no weights of VGG19 were given or found, "
                "so the feature loss compares random features and not perceptual ones"
            )
        else:
            _load(self, path)
            self.source = f"weights of {path.name}"
        self.requires_grad_(False).eval()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Features (B, C, h, w) of images (B, 1, H, W) [HU]."""
        u = (x - _LOW_HU) / (_HIGH_HU - _LOW_HU)
        return self.features((u - self.mean) / self.std)


def _layers(cut: str) -> nn.Sequential:
    """VGG19's layers up to one of them; their numbers are torchvision's."""
    layers: list[nn.Module] = []
    names, channels = [], 3
    for block, (width, depth) in enumerate(_BLOCKS, 1):
        for number in range(1, depth + 1):
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
            names += [f"conv{block}_{number}", f"relu{block}_{number}"]
            channels = width
        layers.append(nn.MaxPool2d(2))
        names.append(f"pool{block}")
    if cut not in names:
        raise DataError("VGG19 has no such layer", where="cut", expected=", ".join(names), got=cut)
    return nn.Sequential(*layers[: names.index(cut) + 1])


def _load(module: nn.Module, path: Path) -> None:
    shapes = {key: tuple(value.shape) for key, value in module.state_dict().items()}
    remedy = "use the state dict of torchvision's vgg19, without batch normalisation"
    module.load_state_dict(read_weights(path, "vgg19", shapes, remedy=remedy))


def _randomise(module: nn.Module, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for name, value in module.named_parameters():
        if name.endswith("weight"):
            nn.init.kaiming_normal_(value, generator=generator)
        else:
            nn.init.zeros_(value)

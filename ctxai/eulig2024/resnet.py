"""ResNet50, the encoder of the 2024 paper's autoencoder, with torchvision's state-dict keys."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from recon.errors import DataError

from ..files.torchvision import cached_weights, read_weights
from .batch_norm import BatchNorm2d

__all__ = ["ResNet50", "load_resnet50"]

_STAGES = ((64, 3), (128, 4), (256, 6), (512, 3))  # width of the 3×3 convolutions, blocks
_EXPANSION = 4


class Bottleneck(nn.Module):
    """1×1, 3×3, 1×1 convolutions beside the identity; the 3×3 one carries the stride."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        out = _EXPANSION * width
        self.conv1 = nn.Conv2d(channels, width, 1, bias=False)
        self.bn1 = BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride=stride, padding=1, bias=False)
        self.bn2 = BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, out, 1, bias=False)
        self.bn3 = BatchNorm2d(out)
        self.downsample: nn.Module | None = None
        if stride != 1 or channels != out:
            self.downsample = nn.Sequential(
                nn.Conv2d(channels, out, 1, stride=stride, bias=False), BatchNorm2d(out)
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Features of the same size, or of half of it."""
        h = self.bn1(self.conv1(x)).relu()
        h = self.bn2(self.conv2(h)).relu()
        h = self.bn3(self.conv3(h))
        return (h + (x if self.downsample is None else self.downsample(x))).relu()


class ResNet50(nn.Module):
    """Residual network of 50 layers, with the stride in the 3×3 convolutions, and mean pooling.

    K. He et al., "Deep residual learning for image recognition", CVPR 2016. Names of tensors are
    those of torchvision's resnet50.

    Parameters
    ----------
    channels : int
        Channels of an image.
    outputs : int
        Numbers that it gives.

    Examples
    --------
    >>> import torch
    >>> from ctxai.eulig2024.resnet import ResNet50
    >>> with torch.no_grad():
    ...     ResNet50(channels=2, outputs=10).eval()(torch.zeros(1, 2, 32, 32)).shape
    torch.Size([1, 10])
    """

    def __init__(self, *, channels: int = 3, outputs: int = 1000) -> None:
        super().__init__()
        if channels < 1 or outputs < 1:
            raise DataError(
                "a network needs channels and outputs",
                expected="channels, outputs ≥ 1",
                got=f"{channels}, {outputs}",
            )
        self.conv1 = nn.Conv2d(channels, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = BatchNorm2d(64)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        before = 64
        for number, (width, blocks) in enumerate(_STAGES, 1):
            layers = []
            for block in range(blocks):
                layers.append(Bottleneck(before, width, 2 if number > 1 and block == 0 else 1))
                before = _EXPANSION * width
            self.add_module(f"layer{number}", nn.Sequential(*layers))
        self.fc = nn.Linear(before, outputs)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Numbers (B, outputs) of images (B, channels, H, W)."""
        h = self.maxpool(self.bn1(self.conv1(x)).relu())
        for number in range(1, len(_STAGES) + 1):
            h = self.get_submodule(f"layer{number}")(h)
        return self.fc(h.mean((2, 3)))


def load_resnet50(network: ResNet50, weights: str | Path | None = None) -> str:
    """Give a network torchvision's weights, except for a last layer of another size.

    The first layer of another number C of channels gets, in each of them, 3/C times the mean of the
    weights of the three colours: C equal channels then give what a grey picture in colours gives.

    Parameters
    ----------
    network : ResNet50
    weights : path, optional
        A ``.safetensors`` file with torchvision's keys. Without it ``resnet50-*.safetensors`` in
        the folder ``checkpoints`` of ``torch.hub.get_dir()``; without that nothing is changed.

    Returns
    -------
    str
        Where the weights are from, for the record of a run.

    Raises
    ------
    DataError
        If the file cannot be used.
    """
    path = cached_weights("resnet50") if weights is None else Path(weights)
    if path is None:
        return "random first weights: no weights of ResNet50 were given or found"
    own = network.state_dict()
    shapes = {key: tuple(value.shape) for key, value in own.items()}
    channels = shapes["conv1.weight"][1]
    shapes["conv1.weight"] = (64, 3, 7, 7)
    wanted_last = network.fc.out_features == 1000
    if not wanted_last:
        shapes = {key: shape for key, shape in shapes.items() if not key.startswith("fc.")}
    remedy = "use the state dict of torchvision's resnet50"
    tensors = read_weights(path, "resnet50", shapes, remedy=remedy)
    if channels != 3:
        grey = tensors["conv1.weight"].mean(1, keepdim=True)
        tensors["conv1.weight"] = (3 / channels * grey).expand(-1, channels, -1, -1).clone()
    network.load_state_dict({**own, **tensors})
    return f"weights of {path.name}"

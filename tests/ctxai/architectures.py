"""Small seeded networks of the kinds that people train, and denoisers without any network.

Each is untrained and changes its input by some HU only: what matters is its structure.
"""

import torch
from torch import nn
from torch.nn import functional

SCALE = 500.0  # HU in one unit of the networks


def seeded(make):
    """A factory whose network has the same weights each time."""

    def factory():
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(5)
            return make()

    factory.__name__ = make.__name__
    return factory


def block(inputs, outputs, side=3, norm=False, act=nn.ReLU):
    layers = [nn.Conv2d(inputs, outputs, side, padding=side // 2)]
    return nn.Sequential(*layers, *([nn.BatchNorm2d(outputs)] if norm else []), act())


class Residual(nn.Module):
    """x + what a network makes of it, some HU."""

    def __init__(self, body):
        super().__init__()
        self.body = body

    def forward(self, x):
        return x + 20.0 * self.body(x / SCALE)


@seeded
def dncnn():
    return Residual(
        nn.Sequential(
            block(1, 8),
            *(block(8, 8, norm=True) for _ in range(3)),
            nn.Conv2d(8, 1, 3, padding=1),
        )
    )


class SmallRedCNN(nn.Module):
    def __init__(self):
        super().__init__()
        self.down = nn.ModuleList([nn.Conv2d(1 if n == 0 else 8, 8, 5) for n in range(3)])
        self.up = nn.ModuleList([nn.ConvTranspose2d(8, 1 if n == 2 else 8, 5) for n in range(3)])

    def forward(self, x):
        image = u = x / SCALE
        kept = []
        for layer in self.down:
            kept.append(u)
            u = functional.relu(layer(u), inplace=True)
        for layer, skip in zip(self.up[:2], kept[:0:-1]):
            u = functional.relu(layer(u) + skip)
        return SCALE * (image + 0.04 * self.up[2](u))


@seeded
def redcnn():
    return SmallRedCNN()


class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.enter, self.down = block(1, 8), block(8, 16)
        self.bottom = block(16, 16)
        self.up = nn.ConvTranspose2d(16, 8, 2, stride=2)
        self.leave = nn.Sequential(block(16, 8), nn.Conv2d(8, 1, 1))

    def forward(self, x):
        high = self.enter(x)
        low = self.bottom(self.down(functional.max_pool2d(high, 2)))
        return self.leave(torch.cat([self.up(low), high], 1))


@seeded
def unet():
    return Residual(UNet())


@seeded
def resnet():
    class Step(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = block(8, 8, norm=True), nn.Conv2d(8, 8, 3, padding=1)

        def forward(self, x):
            return functional.relu(x + self.b(self.a(x)))

    return Residual(nn.Sequential(block(1, 8), Step(), Step(), nn.Conv2d(8, 1, 3, padding=1)))


class EdgeDense(nn.Module):
    """Trainable Sobel filters beside the image, each block being given them again (EDCNN)."""

    def __init__(self):
        super().__init__()
        sobel = torch.tensor([[1.0, 2.0, 1.0], [0.0, 0.0, 0.0], [-1.0, -2.0, -1.0]])
        self.filters = nn.Parameter(torch.stack([sobel, sobel.T])[:, None])
        self.blocks = nn.ModuleList([block(3 if n == 0 else 11, 8) for n in range(2)])
        self.leave = nn.Conv2d(11, 1, 1)

    def forward(self, x):
        edges = torch.cat([x, functional.conv2d(x, self.filters, padding=1)], 1)
        h = edges
        for step in self.blocks:
            h = torch.cat([step(h), edges], 1)
        return self.leave(h)


@seeded
def edcnn():
    return Residual(EdgeDense())


class Attention(nn.Module):
    """Attention among tokens (B, N, C) by the fused function of torch."""

    def __init__(self, width):
        super().__init__()
        self.norm, self.qkv = nn.LayerNorm(width), nn.Linear(width, 3 * width)
        self.mix = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, width))

    def forward(self, t):
        q, k, v = (
            part.unflatten(-1, (2, -1)).transpose(1, 2)
            for part in self.qkv(self.norm(t)).chunk(3, -1)
        )
        t = t + functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        return t + self.mix(t)


class Windows(nn.Module):
    """Attention within windows of 8 × 8 pixels, then within windows shifted by 4 (Swin)."""

    def __init__(self):
        super().__init__()
        self.enter, self.leave = nn.Conv2d(1, 8, 3, padding=1), nn.Conv2d(8, 1, 3, padding=1)
        self.steps = nn.ModuleList([Attention(8), Attention(8)])

    def forward(self, x):
        h = self.enter(x)
        batch, _, rows, cols = h.shape
        for shift, step in zip((0, 4), self.steps):
            t = h.roll((-shift, -shift), (2, 3)).unfold(2, 8, 8).unfold(3, 8, 8)
            t = step(t.permute(0, 2, 3, 4, 5, 1).reshape(-1, 64, 8))
            t = t.reshape(batch, rows // 8, cols // 8, 8, 8, 8).permute(0, 5, 1, 3, 2, 4)
            h = t.reshape(h.shape).roll((shift, shift), (2, 3))
        return self.leave(h)


@seeded
def swin():
    return Residual(Windows())


class Patches(nn.Module):
    """Attention among patches of 8 × 8 pixels, whose places are known to it (ViT)."""

    def __init__(self):
        super().__init__()
        self.enter = nn.Conv2d(1, 16, 8, stride=8)
        self.places = nn.Parameter(0.1 * torch.randn(64, 16))
        self.step = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
        self.leave = nn.ConvTranspose2d(16, 1, 8, stride=8)

    def forward(self, x):
        h = self.enter(x)
        t = self.step(h.flatten(2).transpose(1, 2) + self.places)
        return self.leave(t.transpose(1, 2).reshape(h.shape))


@seeded
def vit():
    return Residual(Patches())


class Dense(nn.Module):
    """Three convolutions that are each given all maps before them, scaled and added (ESRGAN)."""

    def __init__(self):
        super().__init__()
        self.steps = nn.ModuleList([nn.Conv2d(8 + 4 * n, 4, 3, padding=1) for n in range(2)])
        self.leave = nn.Conv2d(16, 8, 3, padding=1)

    def forward(self, x):
        maps = x
        for step in self.steps:
            maps = torch.cat([maps, functional.leaky_relu(step(maps), 0.2)], 1)
        return x + 0.2 * self.leave(maps)


class Nested(nn.Module):
    """Two of them, scaled and added again: residual in residual."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Sequential(Dense(), Dense())

    def forward(self, x):
        return x + 0.2 * self.inner(x)


@seeded
def rrdb():
    return Residual(
        nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1), Nested(), Nested(), nn.Conv2d(8, 1, 3, padding=1)
        )
    )


@seeded
def normalised():
    """Normalisation over all pixels of the image."""
    return Residual(
        nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1), nn.InstanceNorm2d(8), nn.ReLU(),
            nn.Conv2d(8, 1, 3, padding=1),
        )
    )  # fmt: skip


@seeded
def slices():
    """Three slices as channels; the one in the middle comes back."""

    class Middle(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(block(3, 8), nn.Conv2d(8, 1, 3, padding=1))

        def forward(self, x):
            return x[:, 1:2] + 20.0 * self.body(x / SCALE)

    return Middle()


def of_one_size():
    """A DnCNN whose places are learnt for slices of 80 × 80 pixels alone."""
    net = dncnn().eval()
    places = torch.linspace(-1.0, 1.0, 80)[:, None].expand(80, 80)
    return lambda x: net(x + places)


def neighbours(x, side):
    x = functional.pad(x, (side // 2,) * 4, mode="reflect")
    return x.unfold(2, side, 1).unfold(3, side, 1).flatten(-2)


def median():
    return lambda x: neighbours(x, 3).median(-1).values


def bilateral():
    def f(x):
        around = neighbours(x, 5)
        weight = torch.exp(-(((around - x[..., None]) / 150.0) ** 2))
        return (weight * around).sum(-1) / weight.sum(-1)

    return f


def numpy_median():
    """Outside torch: no derivative."""
    f = median()
    return lambda x: torch.from_numpy(f(x.detach()).numpy())


NETWORKS = (dncnn, redcnn, unet, resnet, edcnn, rrdb, normalised, swin, vit)
CLASSICAL = (median, bilateral)

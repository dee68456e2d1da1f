"""A denoiser in its place: the window's output is that of the whole slice, and nothing is seen."""

import architectures
import pytest
import torch
from torch import nn
from torch.nn.functional import avg_pool2d, interpolate, relu

from ctxai import Chen, InPlace, PlacedTap, Window, Wiretap, Yang, linearise, needed_context
from recon.errors import DataError

SIDES = (150, 130)
WINDOW = Window(43, 51, (32, 24), SIDES)


class UNet(nn.Module):
    """Two poolings, aligned to the image's origin, and skips."""

    def __init__(self):
        super().__init__()
        self.enter, self.down = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 8, 3, padding=1)
        self.low, self.leave = nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(12, 1, 3, padding=1)

    def forward(self, x):
        first = relu(self.enter(x / 500.0))
        low = relu(self.low(avg_pool2d(relu(self.down(avg_pool2d(first, 2))), 2)))
        up = interpolate(low, size=x.shape[-2:], mode="nearest")
        return x + 500.0 * self.leave(torch.cat([first, up], dim=1))


def normalised(x):
    """Sees the mean of the whole image."""
    mean = x.mean((2, 3), keepdim=True)
    return avg_pool2d(x - mean, 3, 1, 1) + 0.5 * mean


def placed_by_row(x):
    """Darkens towards the bottom: the answer depends on where a pixel lies in the slice."""
    return x * torch.linspace(1.0, 0.5, x.shape[2])[:, None]


def placed_by_column(x):
    """The same from left to right, by a fixed amount rather than a share."""
    return x + torch.linspace(0.0, 5.0, x.shape[3])


def scaled_by_its_range(x):
    """Sees the largest and the smallest pixel, wherever they lie."""
    return avg_pool2d(x, 3, 1, 1) + 0.01 * (x.amax((2, 3), True) - x.amin((2, 3), True))


def of_one_size(x):
    """Takes slices of one size alone."""
    if tuple(x.shape[2:]) != SIDES:
        raise ValueError("positional embedding")
    return avg_pool2d(x, 3, 1, 1)


def scan(seed=1):
    """Tissue with an edge and noise [HU]."""
    torch.manual_seed(seed)
    image = 40.0 + 30.0 * torch.randn(SIDES)
    image[:, 70:] -= 200.0
    return image


def seeded(network):
    torch.manual_seed(0)
    return network().eval().requires_grad_(False)


@pytest.mark.parametrize(
    ("f", "reach"),
    [(seeded(Chen), 7), (seeded(Yang), 8), (lambda x: avg_pool2d(x, 5, 1, 2), 2)],
    ids=["Chen", "Yang", "mean of 5 × 5"],
)
def test_a_local_network_gets_what_it_sees_and_no_more(f, reach):
    image = scan()
    part, off = needed_context(f, image, WINDOW)
    expected = Window(
        WINDOW.top - reach, WINDOW.left - reach, (32 + 2 * reach, 24 + 2 * reach), SIDES
    )
    assert part == expected and off < 1e-3
    whole = WINDOW.of(f(image[None, None]))
    inner = Window(reach, reach, WINDOW.shape, part.shape)
    placed = InPlace(f, inner, part.of(image).contiguous())
    assert (placed(placed.inside[None, None]) - whole).abs().max() < 0.01  # HU
    alone = f(WINDOW.of(image)[None, None].contiguous())
    assert (alone - whole).abs().max() > 1.0  # cut out it is another function


def test_a_network_that_pools_keeps_its_grid():
    f, image = seeded(UNet), scan()
    part, off = needed_context(f, image, WINDOW)
    assert part.top % 4 == part.left % 4 == 0 and not part.whole and off < 1e-3
    shifted = Window(part.top + 1, part.left, part.shape, SIDES)
    inner = Window(WINDOW.top - shifted.top, WINDOW.left - part.left, WINDOW.shape, part.shape)
    output = inner.of(f(shifted.of(image)[None, None].contiguous()))
    assert (output - WINDOW.of(f(image[None, None]))).square().mean().sqrt() > 0.1


@pytest.mark.parametrize("pool", [8, 16, 32, 64])
def test_a_network_of_large_pools_gets_those_that_the_window_touches(pool):
    """Means over squares that begin at the slice's first pixel: whole squares are needed."""

    def f(x):
        return interpolate(avg_pool2d(x, pool), scale_factor=pool, mode="nearest")

    sides = (256, 192)
    image = 30.0 * torch.randn(sides, generator=torch.Generator().manual_seed(7))
    part, off = needed_context(f, image, Window(75, 70, (20, 50), sides))
    top, left = 75 // pool * pool, 70 // pool * pool
    bottom, right = -(-95 // pool) * pool, -(-120 // pool) * pool
    assert part == Window(top, left, (bottom - top, right - left), sides) and off < 1e-3


@pytest.mark.parametrize("f", [normalised, placed_by_row, scaled_by_its_range, of_one_size])
def test_a_network_that_looks_at_everything_gets_the_whole_slice(f):
    part, off = needed_context(f, scan(), WINDOW)
    assert part.whole and off == 0.0


def test_one_that_knows_the_column_gets_all_columns():
    part, off = needed_context(placed_by_column, scan(), WINDOW)
    assert part.shape[1] == SIDES[1] and off < 1e-3


@pytest.mark.parametrize(
    "f",
    [
        lambda x: avg_pool2d(x, 3, 1, 1),
        lambda x: avg_pool2d(x - avg_pool2d(x, 9, 1, 4), 3, 1, 1) + 0.5 * avg_pool2d(x, 9, 1, 4),
        lambda x: x * torch.linspace(1.0, 0.5, 7)[torch.arange(x.shape[2]) % 4][:, None],
    ],
    ids=["mean of 3 × 3", "normalised by 9 × 9", "by the row modulo 4"],
)
def test_one_that_only_resembles_them_gets_a_part(f):
    """The mean of its neighbourhood in place of the image's; the row within a pool."""
    part, off = needed_context(f, scan(), WINDOW)
    assert max(n - m for n, m in zip(part.shape, WINDOW.shape)) <= 10 and off < 1e-3


@pytest.mark.parametrize("make", architectures.NETWORKS, ids=lambda make: make.__name__)
def test_no_change_is_no_change_for_any_network(make):
    """Of a window put into the scan as it is, and as a sampler blends it in."""
    f = make().eval().requires_grad_(False)
    image = scan()[:64, 30:94].contiguous()  # the vision transformer takes 64 × 64 alone
    window = Window(11, 21, (24, 32), (64, 64))
    place = InPlace(f, window, image)
    x = place.inside[None, None]
    assert torch.equal(place(x), window.of(f(image[None, None])))
    blended = x + torch.rand(window.shape) * (x - x)
    assert torch.equal(place(blended), place(image[None, None]))
    assert not torch.equal(place(x + 1.0), place(x))


def test_a_network_of_one_small_size_gets_a_part_of_that_size():
    def small(x):
        if tuple(x.shape[2:]) != (96, 96):
            raise ValueError("positional embedding")
        return avg_pool2d(x, 3, 1, 1)

    part, off = needed_context(small, scan(), WINDOW)
    assert part == Window(11, 15, (96, 96), SIDES) and off != off
    with pytest.raises(DataError, match="takes neither the slice nor a part of it"):
        needed_context(lambda x: x[..., ::2], scan(), WINDOW)


def test_nothing_changes_where_nothing_is_changed():
    f, image = seeded(Chen), scan()
    placed = InPlace(f, WINDOW, image)
    whole = WINDOW.of(f(image[None, None]))
    assert torch.equal(placed(placed.inside[None, None]), whole)
    assert torch.equal(placed(image[None, None]), whole)  # it brings its own surroundings
    other = scan(2)
    assert torch.equal(placed(other[None, None]), WINDOW.of(f(other[None, None])))
    with pytest.raises(DataError, match="neither of the window nor of its surroundings"):
        placed(torch.zeros(1, 1, 16, 16))


@pytest.mark.parametrize("layer", ["1", "4", "output"])
def test_a_layer_of_the_window_is_the_window_of_the_layer(layer):
    f, image = seeded(Yang), scan()
    placed = InPlace(f, WINDOW, image)
    tap = PlacedTap(placed, Wiretap(f, layer))
    x = placed.inside[None, None]
    z = tap.phi(x)
    assert torch.equal(z, WINDOW.of(Wiretap(f, layer).phi(image[None, None])))
    assert (tap.psi(z) - placed(x)).abs().max() < 1e-3
    inner = torch.zeros_like(x)
    inner[..., 10:-10, 10:-10] = 50.0  # all that it changes in the layer lies over the window
    moved = x + inner * torch.randn(x.shape)
    change = (placed(moved) - placed(x)).abs().max()
    assert (tap.psi(tap.phi(moved)) - placed(moved)).abs().max() < 1e-3 * change


def test_a_pooled_layer_is_cut_on_its_own_grid_or_taken_whole():
    f, image = seeded(UNet), scan()[:, :128]
    whole = Wiretap(f, "low").phi(image[None, None])
    fits = Window(40, 48, (32, 24), (150, 128))
    z = PlacedTap(InPlace(f, fits, image), Wiretap(f, "low")).phi(fits.of(image)[None, None])
    assert z.shape == whole.shape  # 150 rows are no multiple of 4: the map is another grid
    square = Window(40, 48, (32, 24), (148, 128))
    tap = PlacedTap(InPlace(f, square, image[:148]), Wiretap(f, "low"))
    z = tap.phi(square.of(image)[None, None])
    assert torch.equal(z, Wiretap(f, "low").phi(image[None, None, :148])[..., 10:18, 12:18])


def test_its_jacobian_is_that_of_the_slice():
    """Products with J and its transpose agree with each other and with a finite difference."""
    f, image = seeded(Chen), scan()
    placed = InPlace(f, WINDOW, image)
    torch.manual_seed(3)
    u = torch.randn(1, 1, *WINDOW.shape)
    for at in (placed.inside, image):  # a change of the window, and of everything
        x = at[None, None]
        linear, w = linearise(placed, x), torch.randn(x.shape)
        assert linear.recorded
        assert float((linear.times_j(w) * u).sum()) == pytest.approx(
            float((w * linear.times_jt(u)).sum()), rel=1e-3
        )
        step = 1e-2 * w
        difference = (placed(x + step) - placed(x - step)) / 2e-2
        off = (difference - linear.times_j(w)).square().mean().sqrt()
        assert off < 0.02 * linear.times_j(w).square().mean().sqrt()


def test_a_window_outside_the_image_is_refused():
    with pytest.raises(DataError, match="does not lie inside"):
        Window(140, 0, (32, 24), SIDES)
    with pytest.raises(DataError, match="another size"):
        InPlace(normalised, WINDOW, torch.zeros(10, 10))

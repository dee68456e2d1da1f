"""Networks of neighbouring slices as channels: what they are given, and what is refused."""

import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional

from ctxai import AmongNeighbours, InPlace, Window, Wiretap, linearise
from ctxai.weights.convention import convention_of
from ctxai.weights.load import load_denoiser
from recon.errors import DataError

NETWORK = """
import torch
from torch import nn
from torch.nn import functional

class Slices(nn.Module):
    # near a mean over slices and 3 × 3 pixels, in which each slice has a weight of its own

    def __init__(self, slices=3, answers=1):
        super().__init__()
        self.first, self.last = nn.Conv2d(slices, 4, 3, padding=1), nn.Conv2d(4, answers, 1)
        weights = torch.tensor([0.2, 0.7, 0.1, 0.05, -0.05])[:slices]
        with torch.no_grad():
            self.first.weight[:] = (weights / weights.sum() / 9)[:, None, None]
            self.last.weight[:] = 0.25
            self.first.bias.zero_(), self.last.bias.zero_()

    def forward(self, x):
        h = self.first(x)
        return self.last(h + 0.01 * torch.tanh(h))
"""


@pytest.fixture
def own(tmp_path):
    def load(body, **how):
        (tmp_path / "mine.py").write_text(NETWORK + body)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*hardly denoises")
            return load_denoiser(f"{tmp_path / 'mine.py'}:make", **how)

    return load


def stack(slices, seed=1):
    return 30.0 * torch.randn(slices, 20, 24, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("slices", [3, 5])
def test_the_slice_stands_in_the_middle_of_its_neighbours(own, slices):
    f, _, _ = own(f"def make(): return Slices({slices})", input=f"slices={slices}")
    assert isinstance(f, AmongNeighbours) and f.sides == slices // 2
    scan, k = stack(slices), slices // 2
    held = f.held(torch.cat([scan[:k], scan[k + 1 :]]))
    batch = torch.stack([scan[k], stack(1, 2)[0]])[:, None]
    for x, output in zip(batch, held(batch)):
        whole = torch.cat([scan[:k], x, scan[k + 1 :]])[None]
        torch.testing.assert_close(output, f.network(whole)[0])
    alone = batch[:1]
    torch.testing.assert_close(f(alone), f.network(alone.expand(-1, slices, -1, -1)))
    assert (f(alone) - held(alone)).abs().max() > 1.0  # real neighbours are another function


def test_layers_derivatives_and_the_place_are_of_the_slice_in_the_middle(own):
    f = own("def make(): return Slices()", input="slices=3")[0]
    scan = stack(3)
    f = f.held(scan[[0, 2]])
    assert Wiretap(f, "first").layers[:2] == ["input", "first"]
    tap, x = Wiretap(f, "first"), scan[None, 1:2]
    assert tap.is_cut and torch.equal(tap.psi(tap.phi(x)), f(x))
    place = InPlace(f, Window(4, 6, (8, 10), (20, 24)), scan[1])
    inner = place.inside[None, None]
    assert torch.equal(place(inner), place.window.of(f.network(scan[None])))  # no change, no HU
    w = torch.randn(inner.shape, generator=torch.Generator().manual_seed(3))
    change = (place(inner + w) - place(inner - w)) / 2
    at = linearise(place, inner)
    assert (at.times_j(w) - change).norm() < 2e-2 * change.norm()
    assert float((at.times_jt(change) * w).sum()) == pytest.approx(
        float(change.square().sum()), rel=2e-2
    )


def test_what_is_not_declared_is_found_and_said(own):
    with pytest.warns(UserWarning, match=r"takes 3 channels and returns one.*--input slices=3"):
        f, _, found = own("def make(): return Slices()")
    assert f.slices == 3
    with warnings.catch_warnings(action="error"):
        assert own("def make(): return Slices()", input="slices=3")[2] == found
    with pytest.warns(UserWarning, match=r"takes 5 channels.*--input hu\+1024,slices=5"):
        own("def make(): return Slices(5)", input="hu+1024")
    # a network that repeats its image by itself is one of one slice
    f = own("def make():\n    net = Slices()\n    return lambda x: net(x.expand(-1, 3, -1, -1))")[0]
    assert not isinstance(f, AmongNeighbours)


def test_the_unit_is_that_of_every_slice(own):
    """A network that adds .01 of its own unit, and one that is given the wrong one."""
    body = "def make():\n    net = Slices()\n    return lambda x: (net(x) + {}).clamp(0, 4)\n"
    scan = stack(3)
    plain, more = (
        own(body.format(add), input="water,slices=3")[0].held(scan[[0, 2]])(scan[None, 1:2])
        for add in (0.0, 0.01)
    )
    torch.testing.assert_close(more - plain, torch.full_like(plain, 10.0), atol=1e-2, rtol=0)
    with pytest.raises(DataError, match=r"does not answer in HU.*try --input water,slices=3"):
        own(body.format(0), input="slices=3")


@pytest.mark.filterwarnings("ignore:.*takes one image at a time")
def test_one_image_at_a_time_keeps_its_neighbours(own):
    f = own(
        "def make():\n"
        "    net = Slices()\n"
        "    def one(x):\n"
        "        assert len(x) == 1\n"
        "        return net(x)\n"
        "    return one\n",
        input="slices=3",
    )[0]
    scan, batch = stack(3), stack(2, 2)[:, None]
    held = f.held(scan[[0, 2]])
    torch.testing.assert_close(held(batch), torch.cat([held(image) for image in batch.split(1)]))


@pytest.mark.parametrize(
    ("body", "input", "said"),
    [
        ("Slices(3, 3)", "hu", r"takes 3 channels.* returns 3 × 64 × 64.*net\(x\)\[:, 1:2\]"),
        ("Slices(5)", "slices=3", r"fails on an image.*to have 5 channels, but got 3"),
        ("Slices(4)", "hu", r"fails on an image.*to have 4 channels, but got 1"),
    ],
)
def test_other_numbers_of_channels_are_refused_in_one_line(own, body, input, said):
    with pytest.raises(DataError, match=said) as caught:
        own(f"def make(): return {body}", input=input)
    assert "\n" not in str(caught.value)


def test_slices_are_declared_beside_the_unit():
    both = convention_of("scale=4096, offset=1024, slices=5")
    assert both == convention_of("slices=5,offset=1024,scale=4096") and both.slices == 5
    assert both.given(0.0) == 0.25 and both.name == "scale=4096,offset=1024,slices=5"
    assert convention_of("slices=3").name == convention_of("hu,slices=3").name == "slices=3"
    for text in ("slices=2", "slices=1", "slices=", "slices=3,slices=5", "slices=-3"):
        with pytest.raises(DataError, match=r"--input.*odd number"):
            convention_of(text)
    with pytest.raises(DataError, match=r"no such convention"):
        convention_of("HUs,slices=3")


def test_what_are_no_neighbours():
    with pytest.raises(DataError, match=r"odd number"):
        AmongNeighbours(nn.Identity(), 4)
    with pytest.raises(DataError, match=r"neighbours.*expected 2, got 3"):
        AmongNeighbours(functional.relu, 3, torch.zeros(3, 8, 8))

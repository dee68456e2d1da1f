"""The table of taps: names, shapes, receptive fields counted by hand, and what passes."""

import architectures
import pytest
import torch
from torch import nn

from ctxai.wiretap.taps import receptive_field, taps
from ctxai.wiretap.wiretap import Wiretap
from recon.errors import DataError


def conv(channels, to, side=3, **more):
    return nn.Conv2d(channels, to, side, **{"padding": "same"} | more)


class Skipped(nn.Module):
    """Pooled once; the first map passes the rest."""

    def __init__(self):
        super().__init__()
        self.first, self.low, self.last = conv(1, 4, 5), conv(4, 4), conv(4, 1, 1)
        self.pool = nn.AvgPool2d(2)

    def forward(self, x):
        h = self.first(x)
        low = nn.functional.interpolate(self.low(self.pool(h)), scale_factor=2)
        return self.last(low + h)


def test_each_layer_with_its_shape_its_field_and_what_passes_it():
    torch.manual_seed(0)
    found = {tap.name: tap for tap in taps(Skipped(), (32, 48))}
    assert list(found) == ["input", "1", "pool", "2", "output"]
    shapes = {"input": (1, 32, 48), "1": (4, 32, 48), "pool": (4, 16, 24), "2": (4, 16, 24)}
    assert {name: found[name].shape for name in shapes} == shapes
    # by hand: 5; a pool of 2 pixels sees 5 + 1; 3 of those, 2 pixels apart, see 6 + 2 × 2
    fields = {"input": (1, 1), "1": (5, 5), "pool": (6, 6), "2": (10, 10), "output": (10, 10)}
    assert {name: found[name].field for name in fields} == fields
    assert [tap.name for tap in found.values() if not tap.is_cut] == ["pool", "2"]
    assert found["2"].passing == ["1"] and found["2"].crossing == "1+2"
    assert found["1"].passing == [] and found["1"].crossing is None


@pytest.mark.parametrize(
    ("layer", "field"),
    [
        (conv(1, 3, (3, 7), padding=(1, 3)), (3, 7)),  # rows and columns are not mixed up
        (conv(1, 3, 3, padding=4, dilation=4), (9, 9)),
        (conv(1, 3, 3, stride=2, padding=1), (3, 3)),
        (conv(1, 1, 1), (1, 1)),
        (nn.InstanceNorm2d(1), (32, 40)),  # the mean of the whole image
    ],
)
def test_fields_of_single_layers(layer, field):
    torch.manual_seed(0)
    after = conv(layer(torch.ones(1, 1, 9, 9)).shape[1], 1, 1)
    assert receptive_field(Wiretap(nn.Sequential(layer, after), "0"), (32, 40)) == field


def test_a_field_is_seen_though_units_are_off():
    torch.manual_seed(0)
    layers = [module for _ in range(4) for module in (conv(8, 8), nn.ReLU())]
    f = nn.Sequential(conv(1, 8), nn.ReLU(), *layers, conv(8, 1))
    assert receptive_field(Wiretap(f, "output"), (32, 32)) == (13, 13)


def test_a_callable_has_its_ends_alone_and_one_without_derivative_no_field():
    import scipy.ndimage

    def median(x):
        return torch.from_numpy(scipy.ndimage.median_filter(x.detach().numpy(), (1, 1, 3, 3)))

    found = taps(median, (16, 16))
    assert [(tap.name, tap.field) for tap in found] == [("input", (1, 1)), ("output", None)]
    assert "plain callable" in Wiretap(median, "input").obstacle


def test_a_size_that_the_network_does_not_take_is_refused_in_one_line():
    f = nn.Sequential(conv(1, 1, 9, padding=0), conv(1, 1, 9, padding=0))
    with pytest.raises(DataError, match=r"does not take an image of this size.*8 × 8") as caught:
        taps(f, (8, 8))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("make", "passing"),
    [
        # noise is predicted: the image itself passes everything
        (architectures.dncnn, {"1": "input", "body.2.1": "input", "5": "input"}),
        # shortcuts of the image in its unit, and of the first two maps; the sums close them
        (
            architectures.redcnn,
            {
                "1": "truediv",
                "2": "truediv 1",
                "3": "truediv 1 2",
                "5": "truediv 1",
                "6": "truediv",
            },
        ),
        (architectures.unet, {"1": "input", "2": "input 1", "4": "input 1", "5": "input"}),
        (architectures.resnet, {"1": "input", "2": "input 1", "body.1": "input"}),
        # the edge maps are given to each block again
        (architectures.edcnn, {"1": "input truediv", "3": "input cat", "4": "input"}),
    ],
    ids=["dncnn", "redcnn", "unet", "resnet", "edcnn"],
)
def test_the_skips_of_networks_that_people_train(make, passing):
    """As one reads them in the networks' own forward."""
    f = make().eval()
    assert {layer: " ".join(Wiretap(f, layer).passing) for layer in passing} == passing

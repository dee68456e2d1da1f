"""Networks of every kind on real slices at their own pixels: the window's output is the slice's.

`pytest -m slow -s tests/analysis/test_in_place_slices.py` prints the table of docs/networks.md.
"""

import architectures
import pytest
import torch
from real_data import DATA, needs

from analysis.scanner.slices import load_slices, place_patch
from analysis.scanner.surroundings import measure_surroundings, window_in
from ctxai import SHIPPED, InPlace
from recon import ImageGrid

SIDE = 64
NETWORKS = {
    "Chen": lambda: SHIPPED.load("chen")[0],
    "Yang": lambda: SHIPPED.load("yang")[0],
    "DnCNN": architectures.dncnn,
    "RED-CNN": architectures.redcnn,
    "U-Net": architectures.unet,
    "ResNet": architectures.resnet,
    "EDCNN": architectures.edcnn,
    "Swin": architectures.swin,
}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*state an exposure", "ignore:.*tilted by", "ignore:.*varies")
@pytest.mark.parametrize("part", ["abdomen", "head"])
@pytest.mark.parametrize("name", NETWORKS)
@needs("abdomen")
@needs("head")
def test_the_output_of_a_window_is_that_of_the_slice(name, part):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        f = NETWORKS[name]().eval().requires_grad_(False)
    images = load_slices(DATA / part)
    hu = images.hu[len(images.hu) // 2]
    patch = place_patch(hu, images.spacing, shape=(SIDE, SIDE), to_spacing=images.spacing).grid
    around = measure_surroundings(f, hu, images.spacing, patch)
    scan = torch.from_numpy(hu) + 40.0 * torch.randn(hu.shape, generator=torch.manual_seed(2))
    window = window_in(ImageGrid(shape=hu.shape, spacing=images.spacing), patch)
    inner = window_in(around.grid, patch)
    top, left = window.top - inner.top, window.left - inner.left
    seen = scan[top : top + inner.image[0], left : left + inner.image[1]].contiguous()
    with torch.no_grad():
        whole = window.of(f(scan[None, None]))
        placed = InPlace(f, inner, seen)
        off = (placed(placed.inside[None, None]) - whole).square().mean().sqrt()
        alone = (f(placed.inside[None, None].contiguous()) - whole).square().mean().sqrt()
    rows, cols = around.grid.shape
    print(f"| {name} | {part} | {rows} × {cols} | {float(off):.4f} HU | {float(alone):.2f} HU |")
    assert off <= 0.01 or (around.whole and off == 0.0)

"""A function of a large batch is that of its parts, whatever their size."""

import pytest
import torch

from ctxai import in_parts


@pytest.mark.parametrize("at_once", [1, 3, 4, 10, 11, 50])
def test_parts_make_the_whole(at_once):
    images, sizes = torch.randn(10, 2, 3), []

    def f(some):
        sizes.append(len(some))
        return some.square().sum(1)

    assert torch.equal(in_parts(f, images, at_once), images.square().sum(1))
    assert sum(sizes) == 10 and max(sizes) == min(at_once, 10)

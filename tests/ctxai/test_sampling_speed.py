"""How long 250 samples of a 64² patch take on two cores: the specification's limits.

The best of some repeats, since other work on the machine makes each of them longer.
"""

import time

import pytest
import torch

from ctxai import SHIPPED, draw
from ctxai.precision import _multiplies_bfloat16

LIMITS = {"sampling [s]": 2.0, "sampling and projection [s]": 60.0}
IN_32_BITS = pytest.mark.xfail(
    not _multiplies_bfloat16(), reason="3 s on a processor that does not multiply bfloat16"
)

pytestmark = pytest.mark.slow


@pytest.fixture(params=["chen", "yang"])
def model(request):
    return SHIPPED.load_model(request.param, "output", "x")


def patch():
    """Blurred noise of 40 HU and some water."""
    white = torch.randn(1, 1, 66, 66, generator=torch.Generator().manual_seed(1))
    return 40.0 + 120.0 * torch.nn.functional.avg_pool2d(white, 3, 1)[0, 0]


def best_of(count, work):
    found = []
    for _ in range(count):
        begun = time.perf_counter()
        work()
        found.append(time.perf_counter() - begun)
    return min(found)


@IN_32_BITS
def test_sampling(model, record_property):
    z = model.represent(patch()[None, None])
    v = torch.randn(250, model.latent, generator=torch.Generator().manual_seed(1))
    taken = best_of(6, lambda: model.generate(v, z))
    record_property("sampling [s]", taken)
    assert taken < LIMITS["sampling [s]"]


def test_sampling_and_projection(model, record_property):
    found = []
    taken = best_of(1, lambda: found.append(draw(model, patch(), n=250, tolerance_hu=3.0, seed=1)))
    record_property("sampling and projection [s]", taken)
    assert taken < LIMITS["sampling and projection [s]"]
    assert (found[0].violation <= 3.0).all() and found[0].n_pulled == 0

"""What tests of small networks share."""

import pytest
import torch


@pytest.fixture(autouse=True)
def numbers_of_its_own():
    """What a test draws without a seed depends on nothing that ran before it."""
    torch.manual_seed(0)


@pytest.fixture(scope="module")
def one_thread():
    """Networks this small train fastest on one thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)

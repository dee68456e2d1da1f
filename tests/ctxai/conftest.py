"""What tests of small networks share."""

import pytest
import torch


@pytest.fixture(scope="module")
def one_thread():
    """Networks this small train fastest on one thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)

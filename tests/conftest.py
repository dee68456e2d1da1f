"""Settings of the whole suite: they must be in place before torch and numba load."""

import os

import pytest

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


@pytest.fixture
def record_property(record_property):
    """A property of a test as text: processes that run side by side pass on no arrays' scalars."""
    return lambda name, value: record_property(name, str(value))

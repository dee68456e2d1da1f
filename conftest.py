"""What holds for every test and every example in a docstring, wherever pytest finds it."""

import builtins
import os

import pytest

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # in place before torch and numba load
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # as the commands do


def pytest_runtest_teardown(item: pytest.Item) -> None:
    """An example's last value stays in ``builtins._``, where a later import may stumble on it.

    The parser of the commands hashes all builtins when it is first loaded, and a tuple of lists
    cannot be hashed: tests would fail or pass by the examples that ran before them.
    """
    if isinstance(item, pytest.DoctestItem):
        vars(builtins).pop("_", None)


@pytest.fixture
def record_property(record_property):
    """A property of a test as text: processes that run side by side pass on no arrays' scalars."""
    return lambda name, value: record_property(name, str(value))

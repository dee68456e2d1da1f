"""Kernels: what they refuse, and how their machine code is kept."""

from typing import NamedTuple

import numba
import numpy as np
import pytest

from recon.engine import machine_code
from recon.engine.machine_code import kernel
from recon.engine.simd import lanes

f32, i64 = numba.float32, numba.int64


@kernel
def times(tag, room: f32[::1], first: i64, last: i64, x: f32[:, ::1], factor: f32, y: f32[:, ::1]):
    """Rows of x, times a factor."""
    for i in range(first, last):
        for j in range(x.shape[1]):
            room[j] = factor * x[i, j]
        for j in range(x.shape[1]):
            y[i, j] = room[j]


X = np.arange(12, dtype=np.float32).reshape(4, 3)


def doubled(x=X):
    y = np.zeros_like(x)
    times(lanes(1), len(x), x, 2.0, y, room=x.shape[1])
    return y


def test_a_kernel_does_all_tasks_once():
    np.testing.assert_array_equal(doubled(), 2 * X)
    big = np.random.default_rng(0).random((1000, 3)).astype(np.float32)
    np.testing.assert_array_equal(doubled(big), 2 * big)
    assert doubled(X[:0]).shape == (0, 3)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ((X.astype(np.float64), 2.0, X), "2-d float64"),
        ((X[0], 2.0, X), "1-d float32"),
        ((X.T, 2.0, X), "not contiguous"),
        ((X, 2.0), "takes 3 arguments, not 2"),
    ],
)
def test_arguments_that_are_not_what_the_machine_code_expects_are_refused(wrong, message):
    with pytest.raises(TypeError, match=message):
        times(lanes(1), 4, *wrong)


class Steps(NamedTuple):
    factors: f32[::1]
    count: i64


class Line(NamedTuple):
    x: f32[:, ::1]
    steps: Steps
    shift: f32


@kernel
def grouped(tag, room: f32[::1], first: i64, last: i64, line: Line, y: f32[:, ::1]):
    """Rows of x, times a factor for each column and the number of steps, and shifted."""
    for i in range(first, last):
        for j in range(line.x.shape[1]):
            y[i, j] = line.x[i, j] * line.steps.factors[j] * line.steps.count + line.shift


def test_a_kernel_takes_named_tuples_of_arrays_numbers_and_named_tuples():
    y, factors = np.zeros_like(X), np.array([1, 2, 4], np.float32)
    grouped(lanes(1), len(X), Line(X, Steps(factors, 3), 0.5), y)
    np.testing.assert_array_equal(y, 3 * X * factors + 0.5)


def test_named_tuples_are_held_to_what_their_fields_state():
    factors, y = np.ones(3, np.float32), np.zeros_like(X)
    with pytest.raises(TypeError, match="Line expected, not tuple"):
        grouped(lanes(1), 4, (X, Steps(factors, 3), 0.5), y)
    with pytest.raises(TypeError, match="Steps expected, not Line"):
        grouped(lanes(1), 4, Line(X, Line(X, factors, 3), 0.5), y)
    with pytest.raises(TypeError, match="1-d float32 expected, not 2-d float32"):
        grouped(lanes(1), 4, Line(X, Steps(X, 3), 0.5), y)


def test_what_cannot_run_without_numba_runs_with_it():
    @kernel
    def needy(tag, room: f32[::1], first: i64, last: i64, x: f32[::1], steps: Steps):
        for i in range(first, last):
            x[i] = i + steps.count
            if x[i] > 9:
                print(x[i])  # needs Python

    x = np.zeros(5, np.float32)
    with pytest.warns(UserWarning, match="cannot stand alone"):
        needy(lanes(1), len(x), x, Steps(x, 1))
    assert x.tolist() == [1, 2, 3, 4, 5]


def test_machine_code_is_kept_and_never_run_when_damaged(tmp_path, monkeypatch):
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    compiled = []
    original = type(times)._compiled

    def counted(self, name, width):
        compiled.append(name)
        return original(self, name, width)

    monkeypatch.setattr(type(times), "_compiled", counted)
    name = times._name(1)
    code = times._kept(name, 1)
    assert times._kept(name, 1) == code
    assert len(compiled) == 1
    (file,) = tmp_path.iterdir()
    whole = file.read_bytes()
    for damaged in (whole[:-1] + b"x", whole[:20], whole[: len(whole) // 2], b""):
        compiled.clear()
        file.write_bytes(damaged)
        made = times._kept(name, 1)
        assert times._kept(name, 1) == made
        assert len(compiled) == 1


def test_where_nothing_can_be_written_the_kernel_is_compiled_all_the_same(tmp_path, monkeypatch):
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(blocked / "folder"))
    assert len(times._kept(times._name(1), 1)) > 100


def test_another_processor_gets_machine_code_of_its_own(monkeypatch):
    here = times._name(1)
    monkeypatch.setattr(machine_code, "_processor", lambda: ("haswell", "+avx2"))
    assert times._name(1) != here
    assert times._name(16) != times._name(1)


def test_a_kernel_is_told_by_its_file_alone():
    factor = 2.0
    with pytest.raises(TypeError, match="depends on"):

        @kernel
        def scaled(tag, room: f32[::1], first: i64, last: i64, x: f32[::1]):
            x[0] *= factor

"""Kernels shared among threads, and views that are read while others are used."""

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from helical_scans import MU, small_helix
from helical_scans import scan_of as exact_scan
from small_scans import small_scan

from recon.ctpd.read import read_scan
from recon.ctpd.view_files import ViewFiles
from recon.ctpd.write import write_scan
from recon.engine.threads import share
from recon.errors import DataError
from recon.geometry import ImageGrid, flash_axial
from recon.helical.plan import plan_helical
from recon.helical.slabs import reconstruct_slabs
from recon.operator import operator
from recon.phantom.exact.ellipsoids import water_with_inserts
from recon.scan.at_dose import at_dose
from recon.scan.lazy_views import LazyViews, ReversedRows, ahead, in_turn

SOON = 10.0  # s, in which another thread does what it has to do
GRID = ImageGrid(shape=(16, 16), spacing=(8.0, 8.0))


def test_an_error_in_any_thread_reaches_the_caller():
    def work(first, last):
        if last == 100:
            raise ValueError("broken")

    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        with pytest.raises(ValueError, match="broken"):
            share(100, work)
    finally:
        torch.set_num_threads(before)


def test_several_threads_may_use_one_operator():
    A = operator(flash_axial(views=48), ImageGrid(shape=(48, 48), spacing=(4.0, 4.0)))
    images = torch.rand(12, 48, 48, generator=torch.Generator().manual_seed(1))
    expected = [A(image) for image in images]
    with ThreadPoolExecutor(6) as pool:
        for found, one in zip(pool.map(A, images), expected):
            assert torch.equal(found, one)


FORKED = """
import os, torch
from recon import ImageGrid, flash_axial, operator, sample_transmission
torch.set_num_threads(2)
A = operator(flash_axial(views=24), ImageGrid(shape=(24, 24), spacing=(8.0, 8.0)))
def scanned():
    p = sample_transmission(A(torch.ones(24, 24)), photons=1e4, electronic_noise=3.0, seed=1)
    return A.fbp(p)
before = scanned()
child = os.fork()
if child == 0:
    os._exit(0 if torch.equal(scanned(), before) else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no processes are forked here")
def test_a_forked_process_may_scan_and_reconstruct_as_its_parent():
    done = subprocess.run(
        [sys.executable, "-c", FORKED], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr


def test_the_next_item_is_made_while_one_is_used():
    begun = [threading.Event() for _ in range(3)]

    def items():
        for k, event in enumerate(begun):
            event.set()
            yield k

    got = ahead(items())
    assert next(got) == 0
    assert begun[1].wait(SOON) and not begun[2].is_set()
    assert list(got) == [1, 2]


def test_an_error_of_the_next_item_comes_in_its_turn():
    def items():
        yield 1
        raise DataError("broken")

    got = ahead(items())
    assert next(got) == 1
    with pytest.raises(DataError, match="broken"):
        next(got)


def test_what_is_not_asked_for_is_not_made():
    made = []
    got = ahead(made.append(k) or k for k in range(9))
    assert next(got) == 0
    got.close()
    assert made in ([0], [0, 1])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A measured scan of water and a ball, in files."""
    folder = tmp_path_factory.mktemp("threads") / "scan"
    write_scan(small_scan(seed=3), folder)
    return folder


def test_files_are_read_while_the_views_before_them_are_used(folder, monkeypatch):
    begun = {start: threading.Event() for start in (0, 50, 100)}
    make = ViewFiles.make

    def seen(self, start, stop):
        begun[start].set()
        return make(self, start, stop)

    monkeypatch.setattr(ViewFiles, "make", seen)
    scan = at_dose(read_scan(folder), dose_fraction=0.5, seed=1)
    pieces = [slice(start, start + 50) for start in begun]
    views = in_turn(ReversedRows(scan.line_integrals), pieces)
    next(views)
    assert begun[50].wait(SOON) and not begun[100].is_set()
    views.close()


@pytest.mark.parametrize("kind", ["files", "noisy", "reversed", "array"])
def test_views_in_turn_are_those_of_a_slice(folder, kind):
    scan = read_scan(folder)
    source = {
        "files": scan.line_integrals,
        "noisy": at_dose(scan, dose_fraction=0.5, seed=1).line_integrals,
        "reversed": ReversedRows(scan.line_integrals),
        "array": scan.line_integrals[:],
    }[kind]
    pieces = [slice(3, 60), slice(60, 61), slice(61, 130)]
    for piece, views in zip(pieces, in_turn(source, pieces), strict=True):
        assert views.dtype == np.float32 and np.array_equal(views, source[piece])


class Recorded(LazyViews):
    """Views of a source, of which it is known which were asked for."""

    def __init__(self, source):
        self.source, self.asked = source, []

    @property
    def shape(self):
        return self.source.shape

    def make(self, start, stop):
        self.asked.append((start, stop))
        return self.source[start:stop]


@pytest.mark.parametrize("backward", [False, True])
def test_slabs_read_each_view_once_in_order_and_not_the_ends_of_the_scan(backward):
    scan = exact_scan(water_with_inserts(MU), small_helix(length=90.0))
    if backward:
        views = scan.line_integrals[0 : len(scan)][::-1]
        scan = scan.changed(
            geometry=scan.geometry[::-1], line_integrals=views, photons=scan.photons[::-1]
        )
    source = Recorded(scan.line_integrals)
    scan = scan.changed(line_integrals=source)
    z = np.linspace(-8.0, 8.0, 40)
    plan = plan_helical(scan.geometry, GRID)
    few = list(reconstruct_slabs(scan, plan, GRID, z, 1.0, "hann", room=0.0))
    assert len(few) == 3
    starts, stops = zip(*source.asked)
    if backward:
        assert starts[:-1] == stops[1:]
    else:
        assert stops[:-1] == starts[1:]
    assert min(starts) > 0 and max(stops) < len(scan)

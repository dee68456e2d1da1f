"""Peak memory of R and FBP on the CPU, and how long the first result takes: in fresh processes."""

import os
import subprocess
import sys

import pytest
from tolerances import COLD, MEMORY

PEAK = """
import resource, sys
import numpy as np, torch
from recon.geometry import FanBeam, ImageGrid
from recon.operator import operator
images, size, views, cols = {job}
torch.set_num_threads(2)
geometry = FanBeam(angles=np.arange(views) * (2 * np.pi / views), n_cols=cols,
                   col_pitch=1.2858 * 736 / cols, src_iso=595.0, src_det=1085.6)
A = operator(geometry, ImageGrid(shape=(size, size), spacing=(400 / size, 400 / size)))
A.fbp(A(torch.zeros(1, size, size)))  # kernels and tables are no part of the stack
# the peak so far, without which a small stack would hide under what the imports once needed
held = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
before = held()
x = torch.full((images, size, size), 0.02)
p = A(x)
out = A.fbp(p)
print((held() - before) / (4.0 * (x.numel() + p.numel())), float(out.mean()))
"""


def peak(*job):
    done = subprocess.run(
        [sys.executable, "-c", PEAK.format(job=job)], capture_output=True, text=True, check=True
    )
    ratio, mean = map(float, done.stdout.split())
    assert 0.005 < mean < 0.03
    return ratio


def test_peak_memory_of_a_stack_stays_under_twice_input_and_output():
    assert peak(256, 256, 192, 368) < MEMORY["peak, ratio"]


@pytest.mark.slow
def test_peak_memory_of_256_slices_of_512_squared():
    assert peak(256, 512, 1152, 736) < MEMORY["peak, ratio"]


# processor time: on an idle machine as long as it takes, and the same on a busy one
FIRST = """
import time
import numpy, torch, numba
began = time.process_time()
import recon
imported = time.process_time()
grid = recon.ImageGrid(shape=(128, 128), spacing=(2.0, 2.0))
A = recon.operator(recon.flash_axial(views=288), grid)
p = A(torch.full((128, 128), 0.02))
forward = time.process_time()
A.fbp(p), A.T(p)
print(imported - began, forward - imported, time.process_time() - forward)
"""


def seconds(cache):
    done = subprocess.run(
        [sys.executable, "-c", FIRST],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "NUMBA_CACHE_DIR": str(cache)},
    )
    return [float(part) for part in done.stdout.split()]


@pytest.mark.slow
def test_first_results_compiled_and_from_the_disk_cache(tmp_path):
    _, forward, rest = seconds(tmp_path)
    assert forward + rest < COLD["compile one operator [s]"]
    assert list(tmp_path.glob("*.machine-code"))
    imported, forward, _ = seconds(tmp_path)
    assert imported + forward < COLD["first result from the disk cache [s]"]

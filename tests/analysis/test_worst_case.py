"""The worst case in the dose-consistent set, against dense eigenproblems and a dual."""

import math

import numpy as np
import pytest
import scipy.linalg
import torch
from scipy.optimize import minimize

from analysis.lesions.lesion import Lesion
from analysis.numbers import apply, rms
from analysis.projection_domain.consistent import ConsistentSet
from analysis.projection_domain.worst import _scaled, largest_change, largest_hidden_lesion
from analysis.scanner.slice_scanner import SliceScanner
from ctxai.wiretap.in_place import InPlace
from recon.errors import DataError
from recon.geometry import ImageGrid, flash_axial

MAS = 10.0
SIDE, AROUND = 12, 16
LESION = Lesion(contrast=20.0, radius=4.0, place=(-19.0, 1.0), edge=1.0)


@pytest.fixture(scope="module")
def scanner(body):
    at = {"spacing": (2.0, 2.0), "centre": (-20.0, 0.0)}
    return SliceScanner(
        body, (2.0, 2.0), kvp=120.0, slice_thickness=1.5, seed=1,
        patch_grid=ImageGrid(shape=(SIDE, SIDE), **at),
        context_grid=ImageGrid(shape=(AROUND, AROUND), **at), geometry=flash_axial(views=96),
    )  # fmt: skip


@pytest.fixture(scope="module")
def consistent(scanner):
    return ConsistentSet.of(scanner, MAS)


@pytest.fixture(scope="module")
def dense(scanner):
    """M and JH of a linear f, column by column, with every column of the detector."""
    unit = torch.eye(SIDE**2).reshape(-1, SIDE, SIDE) * (scanner.mu_water / 1000.0)
    rays = scanner.patch_operator(unit)
    N = torch.from_numpy(scanner.photons(MAS)).double()
    counts = N * (-scanner.p.double()).exp()
    weight = 1.0 / (1.0 / counts + scanner.electronic_noise**2 / counts**2)
    flat = rays.flatten(1).double()
    M = (flat * weight.flatten()) @ flat.T
    image = scanner.context_operator.fbp(rays, window="hann") * (1000.0 / scanner.mu_water)
    JH = scanner.place.of(blur(image[:, None])[:, 0]).flatten(1).double().T
    return M.numpy(), JH.numpy()


def blur(x):
    padded = torch.nn.functional.pad(x, (1, 1, 1, 1), mode="replicate")
    return 0.8 * torch.nn.functional.avg_pool2d(padded, 3, stride=1) + 0.1 * x


def bent(x):
    """A network-like f: two convolutions and a rectifier, of no training."""
    generator = torch.Generator().manual_seed(4)
    first = 0.3 * torch.randn(6, 1, 3, 3, generator=generator)
    last = 0.3 * torch.randn(1, 6, 3, 3, generator=generator)
    hidden = torch.relu(torch.nn.functional.conv2d(x, first, padding=1))
    return torch.nn.functional.conv2d(hidden, last, padding=1)


def placed(f, scanner):
    x = scanner.low_dose(MAS, seed=2)[0]
    return InPlace(f, scanner.place, x), x


def test_the_set_holds_what_the_rays_hold(consistent, dense, scanner):
    assert np.abs(consistent.fisher.numpy() - dense[0]).max() < 1e-4 * np.abs(dense[0]).max()
    change = LESION.on(scanner.patch_grid)
    flat = change.double().numpy().ravel()
    assert consistent.detectability(change) == pytest.approx(
        math.sqrt(flat @ dense[0] @ flat), rel=1e-4
    )


def test_the_largest_change_of_a_linear_f_is_the_generalised_eigenvalue(consistent, dense, scanner):
    M, JH = dense
    values, vectors = scipy.linalg.eigh(JH.T @ JH, M)
    f, x = placed(blur, scanner)
    found = largest_change(f, x, consistent)
    expected = math.sqrt(values[-1] / SIDE**2)
    assert found.change == pytest.approx(expected, rel=0.01)
    assert found.linear == pytest.approx(expected, rel=0.01)
    assert found.rays == pytest.approx(1.0, rel=1e-3)
    along = abs(found.anatomy.double().numpy().ravel() @ M @ vectors[:, -1])
    if values[-2] < 0.97 * values[-1]:  # else the two share the space
        assert along == pytest.approx(1.0, abs=0.02)
    # any other anatomy of the set changes the output less
    other = torch.from_numpy(np.random.default_rng(3).normal(size=SIDE**2))
    other = other / math.sqrt(float(other @ torch.from_numpy(M) @ other))
    moved = apply(f, x + consistent.image(other.reshape(SIDE, SIDE))) - apply(f, x)
    assert float(rms(moved)) < 0.7 * found.change


def test_what_is_said_of_a_network_is_measured_with_it(consistent, scanner):
    f, x = placed(bent, scanner)
    found = largest_change(f, x, consistent)
    moved = apply(f, x + consistent.image(found.anatomy)) - apply(f, x)
    assert float(rms(moved)) == pytest.approx(found.change, rel=1e-3)
    assert found.rays == pytest.approx(1.0, rel=1e-3) and found.rounds > 1
    assert found.change >= 0.98 * found.linear  # a network bends, but little at d' = 1
    assert found.peak >= found.change


def best_by_duality(M, JH, disc, outside, limit):
    """max c with both conditions: the least of its Lagrange dual over two multipliers."""
    S = np.zeros((len(disc), 1 + len(outside)))
    S[:, 0] = disc
    S[outside, 1 + np.arange(len(outside))] = 1.0
    A, C = S.T @ M @ S, (JH @ S).T @ (JH @ S)
    unit = np.eye(len(A))[0]

    def dual(logs):
        a, b = np.exp(logs)
        return 0.5 * (unit @ np.linalg.solve(a * A + b * C, unit) + a + b * limit**2)

    start = np.log([1.0, 1.0 / limit**2])
    found = minimize(
        dual, start, method="Nelder-Mead", options={"xatol": 1e-4, "fatol": 1e-8, "maxiter": 2000}
    )
    return float(found.fun), math.sqrt(unit @ np.linalg.solve(A, unit))


@pytest.mark.parametrize("share", [0.05, 0.5])
def test_the_largest_hidden_lesion_of_a_linear_f_is_that_of_the_dual(
    share, consistent, dense, scanner
):
    M, JH = dense
    f, x = placed(blur, scanner)
    disc = LESION.on(scanner.patch_grid).double().numpy().ravel() / 20.0
    alone = 1.0 / math.sqrt(disc @ M @ disc)
    limit = share * alone * np.linalg.norm(JH @ disc)
    found = largest_hidden_lesion(f, x, consistent, LESION, tolerance_hu=limit / SIDE)
    hidden, bound = best_by_duality(M, JH, disc, np.flatnonzero(disc <= 0.02), limit)
    assert found.contrast == pytest.approx(hidden, rel=0.01)
    assert found.from_rays == pytest.approx(bound, rel=0.01)
    assert found.alone == pytest.approx(alone, rel=1e-3)
    assert found.contrast <= found.from_rays * 1.001 and found.alone <= found.from_rays
    assert found.rays <= 1.001 and found.change <= found.tolerance_hu * 1.002


def test_a_hidden_lesion_is_hidden_from_the_network_itself(consistent, scanner):
    f, x = placed(bent, scanner)
    found = largest_hidden_lesion(f, x, consistent, LESION)
    moved = apply(f, x + consistent.image(found.anatomy)) - apply(f, x)
    assert float(rms(moved)) <= found.tolerance_hu * 1.002 and found.rays <= 1.001
    assert found.contrast > 0.0
    core = LESION.core(scanner.patch_grid)
    disc = LESION.on(scanner.patch_grid)[core] / 20.0
    assert torch.allclose(found.anatomy[core], found.contrast * disc, rtol=1e-4)
    with pytest.raises(DataError, match="tolerance is not positive"):
        largest_hidden_lesion(f, x, consistent, LESION, tolerance_hu=0.0)


@pytest.mark.parametrize("limit", [30.0, 0.5])
def test_a_lesion_that_shows_is_scaled_down_until_it_just_does_not(limit):
    """An output that moves by ‖u‖² of a lesion u: the largest part that is hidden is √limit/‖u‖."""

    class Squares:
        def moved(self, u):
            return u.norm() * u

    u = torch.tensor([3.0, 4.0], dtype=torch.float64)
    part = min(1.0, math.sqrt(limit) / 5.0)
    found = _scaled(Squares(), u, limit)
    assert found.tolist() == pytest.approx((part * u).tolist(), rel=2e-4)

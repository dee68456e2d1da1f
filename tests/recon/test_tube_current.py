"""Modulated tube current: the rule of least noise, and the noise of images made with it."""

import math

import numpy as np
import pytest
import torch

from recon.errors import DataError
from recon.geometry import FanBeam, ImageGrid
from recon.operator import operator
from recon.phantom.exact.ellipsoids import Ellipsoid, EllipsoidPhantom
from recon.phantom.volumes.voxels import VoxelPhantom
from recon.scan.helix import HelicalScan
from recon.scan.scanners import flash_helical
from recon.scan.simulate import simulate_scan
from recon.scan.tube_current import central_line_integrals, modulated_exposures

CURRENT = {
    # p of a mean over 20 mm against that of the central ray of ellipses of 100 mm and more
    "central ray": 0.02,
    "variance by the rule, rel": 0.01,
    # 360 slices of 400 pixels whose noise reaches some pixels far: the ratio of two variances
    # scatters by 1.4 % from seed to seed
    "variance of images, rel": 0.06,
}
AXES, MU = (150.0, 95.0), 0.0193
OVAL = EllipsoidPhantom([Ellipsoid(centre=(0, 0, 0), axes=(*AXES, math.inf), value=MU)])


def turn(rows=2, views=240, cols=180):
    return HelicalScan(
        angles=np.arange(views) * (math.tau / views), z=np.zeros(views), src_iso=595.0,
        src_det=1085.6, n_rows=rows, n_cols=cols, row_pitch=0.01, col_pitch=4.0,
        views_per_rotation=views,
    )  # fmt: skip


def central(geometry):
    """Closed form: a ray of direction (sin β, cos β) through the middle of an ellipse."""
    sine, cosine = np.sin(geometry.angles), np.cos(geometry.angles)
    return 2 * MU / np.sqrt((sine / AXES[0]) ** 2 + (cosine / AXES[1]) ** 2)


def test_the_current_is_the_root_of_the_attenuation():
    g = turn()
    p = central(g)
    assert central_line_integrals(OVAL, g) == pytest.approx(p, abs=CURRENT["central ray"])
    mas = modulated_exposures(OVAL, g, 150.0)
    assert mas.mean() == pytest.approx(150, rel=1e-12)
    log = np.log(mas) - 0.5 * p
    assert np.ptp(log) < CURRENT["central ray"]


def test_no_division_of_the_dose_makes_less_noise_at_the_middle():
    """Σ e^p/N is (mean e^{p/2})²/mean e^p of that at constant current, and least."""
    g = turn()
    p = central(g)
    mas = modulated_exposures(OVAL, g, 150.0)
    scan = simulate_scan(OVAL.views(g), g, mas=mas, kvp=120, mu_water=MU, name="oval", seed=None)
    middle = scan.photons[:, 90]
    assert middle == pytest.approx(scan.exposures / 150 * middle.mean(), rel=1e-5)
    variance = np.mean(np.exp(p) / middle) * middle.mean()
    rule = np.mean(np.exp(p / 2)) ** 2
    assert variance == pytest.approx(rule, rel=CURRENT["variance by the rule, rel"])
    assert rule < 0.9 * np.mean(np.exp(p))
    for power in (0.3, 0.7):  # of e^p, in place of the root
        other = np.exp(power * p)
        assert np.mean(np.exp(p) / other) * other.mean() > 1.01 * variance


def test_modulated_images_are_less_noisy_and_more_isotropic():
    """The middle of an oval, reconstructed from 360 noisy rows of either kind of scan."""
    g = turn(rows=360)
    fan = FanBeam(angles=g.angles, n_cols=180, col_pitch=4.0, src_iso=595.0, src_det=1085.6)
    A = operator(fan, ImageGrid(shape=(20, 20), spacing=(2.0, 2.0)), backend="numba")
    rays = OVAL.views(g)
    p, exact = central(g), torch.from_numpy(rays[:])
    noise = []
    for k, mas in enumerate((400.0, modulated_exposures(OVAL, g, 400.0))):
        scan = simulate_scan(rays, g, mas=mas, kvp=120, mu_water=MU, name="oval", seed=k)
        added = torch.from_numpy(scan.line_integrals[:]) - exact
        image = A.fbp(added.movedim(1, 0).contiguous(), window="hann").numpy()
        noise.append(image - image.mean(axis=0))
    found = noise[1].var() / noise[0].var()
    rule = np.mean(np.exp(p / 2)) ** 2 / np.mean(np.exp(p))
    assert found == pytest.approx(rule, rel=CURRENT["variance of images, rel"])

    def streakiness(n):
        """Streaks along x make neighbours along y differ more than those along x."""
        along, across = np.diff(n, axis=2).var(), np.diff(n, axis=1).var()
        return math.log(across / along)

    constant, modulated = map(streakiness, noise)
    assert constant > 0.5 and 0.3 * constant < modulated < 0.7 * constant


def test_the_current_follows_the_body_along_the_table():
    """A wedge: narrow at one end. And no more than the span, wherever that is."""
    cone = EllipsoidPhantom([Ellipsoid(centre=(0, 0, 60.0), axes=(150, 100, 160), value=MU)])
    g = flash_helical(length=170.0, pitch=0.5)[::16]
    mas = modulated_exposures(cone, g, 100.0)
    turns = mas[: len(mas) // 72 * 72].reshape(-1, 72).mean(axis=1)
    assert (np.diff(turns)[3:] < 0).all() and turns.max() > 2 * turns.min()
    narrow = modulated_exposures(cone, g, 100.0, span=2.0)
    assert narrow.max() / narrow.min() <= 2.0 + 1e-9 < mas.max() / mas.min() <= 10.0 + 1e-9
    assert narrow.mean() == pytest.approx(100)


def test_volumes_modulate_too():
    hu = np.zeros((3, 60, 90))
    box = VoxelPhantom(hu=hu, spacing=(50.0, 3.0, 3.0), mu_water=MU)
    mas = modulated_exposures(box, turn(views=4), 100.0)
    ratio = math.exp(0.5 * MU * (270 - 180))
    assert mas[1] / mas[0] == pytest.approx(ratio, rel=0.01)


def test_impossible_exposures_are_refused():
    for wrong in ({"mas": 0.0}, {"mas": 100.0, "span": 0.0}, {"mas": "much"}):
        with pytest.raises(DataError):
            modulated_exposures(OVAL, turn(), **wrong)

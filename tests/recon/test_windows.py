"""Windows of the ramp filter: their formulae, and the resolution that clinical kernels reach."""

import numpy as np
import pytest
import torch
from ellipse_truth import MU_WATER, fan_sinogram
from tolerances import FBP, MTF
from wire import falls_to, wire_mtf

from recon.errors import DataError
from recon.fbp.plan import chain_mtf, interleaves, plan_fbp
from recon.fbp.windows import KERNELS, WINDOWS, Kernel, window_response
from recon.geometry import FanBeam, ImageGrid, ParallelBeam, flash_axial
from recon.operator import operator

CIRCLE = np.arange(1152) * (2 * np.pi / 1152)
SMALL = ImageGrid(shape=(40, 40), spacing=(1.0, 1.0))


def scanner(offset, **changes):
    values = {"angles": CIRCLE, "n_cols": 736, "col_pitch": 1.2858, "src_iso": 595.0}
    return FanBeam(**{**values, "src_det": 1085.6, "col_offset": offset, **changes})


def test_windows_are_what_their_formulae_say():
    f = np.linspace(0.01, 1, 5)
    np.testing.assert_allclose(window_response("hann", f), np.cos(np.pi * f / 2) ** 2, atol=1e-15)
    np.testing.assert_allclose(window_response("cosine", f), np.cos(np.pi * f / 2))
    np.testing.assert_allclose(
        window_response("shepp-logan", f), np.sin(np.pi * f / 2) / (np.pi * f / 2)
    )
    np.testing.assert_allclose(window_response(lambda f: 1 - f, f), 1 - f)


@pytest.mark.parametrize("window", [*WINDOWS, *KERNELS, lambda f: np.exp(-3 * f**2)])
def test_windows_keep_the_mean(window):
    geometry = flash_axial(views=192)
    disc = [(0, 0, 100.0, 100.0, 0, MU_WATER)]
    sinogram = torch.from_numpy(fan_sinogram(disc, geometry, 1).astype(np.float32))
    found = float(operator(geometry, SMALL).fbp(sinogram, window).mean())
    assert found == pytest.approx(MU_WATER, rel=FBP["mean, rel"])


def test_hann_resolves_five_line_pairs_per_cm_off_centre():
    measured = wire_mtf(scanner(0.0), "hann", (60.03, 80.02))
    assert falls_to(0.1, *measured) > MTF["hann, 10 % [lp/cm]"]


@pytest.mark.parametrize(
    ("name", "offset"),
    [("smooth", 0.0), ("medium", 0.0), ("medium", -1.125), ("sharp", -1.125), ("sharp", 0.25)],
)
def test_images_have_the_mtf_by_which_a_kernel_is_known(name, offset):
    measured = wire_mtf(scanner(offset), name, (12.03, 16.02))
    for level, expected in ((0.5, KERNELS[name].mtf50), (0.1, KERNELS[name].mtf10)):
        assert falls_to(level, *measured) == pytest.approx(expected, rel=MTF["kernel, rel"])


def test_a_kernel_of_ones_own_is_taken_by_its_figures():
    kernel = Kernel(mtf50=3.0, mtf10=5.0)
    measured = wire_mtf(scanner(0.0), kernel, (12.03, 16.02))
    assert falls_to(0.5, *measured) == pytest.approx(3.0, rel=MTF["kernel, rel"])
    A = operator(scanner(0.0), SMALL)
    p = torch.rand(1152, 736, generator=torch.Generator().manual_seed(1))
    assert torch.equal(A.fbp(p, KERNELS["smooth"]), A.fbp(p, "smooth"))


def test_only_a_quarter_offset_resolves_beyond_one_views_nyquist_frequency():
    assert interleaves(scanner(0.25), "sharp")
    assert interleaves(scanner(-1.125), "sharp")
    assert not interleaves(scanner(0.25), "hann")
    half = scanner(0.25, angles=CIRCLE[:800])
    parallel = ParallelBeam(angles=CIRCLE, n_cols=600, col_pitch=0.7047, col_offset=0.25)
    for geometry in (scanner(0.0), half, parallel):
        assert not interleaves(geometry, "sharp")
        p = torch.zeros(geometry.shape)
        with pytest.raises(DataError, match=r"below 7\.(1|09) lp/cm, got 9\.4 lp/cm; .*smoother"):
            operator(geometry, SMALL).fbp(p, "sharp")


def test_noise_follows_the_sharpness():
    noise = torch.randn(1152, 736, generator=torch.Generator().manual_seed(1))
    A = operator(flash_axial(), SMALL)
    sd = [float(A.fbp(noise, name).std()) for name in ("smooth", "medium", "sharp")]
    assert 1.2 * sd[0] < sd[1]
    assert 1.5 * sd[1] < sd[2]


def test_the_chain_takes_away_what_a_columns_width_does():
    f = np.array([0.0, 0.3])
    beam = ParallelBeam(angles=CIRCLE[:576], n_cols=600, col_pitch=0.7)
    # the width of a ray, and the linear interpolation between samples half a ray apart
    expected = np.sinc(0.7 * f) * np.sinc(0.35 * f) ** 2
    np.testing.assert_allclose(chain_mtf(plan_fbp(beam, SMALL), f), expected)
    assert chain_mtf(plan_fbp(scanner(0.25), SMALL), f)[0] == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("mtf50", "mtf10", "message"),
    [
        (0.0, 5.0, r"mtf50 is not positive.*lp/cm > 0"),
        (5.0, 5.0, "above mtf50 = 5"),
        (3.0, None, "no.* number"),
    ],
)
def test_impossible_kernels_are_refused(mtf50, mtf10, message):
    with pytest.raises(DataError, match=message):
        Kernel(mtf50=mtf50, mtf10=mtf10)


@pytest.mark.parametrize("window", ["hanning", 3, lambda f: f[1:], lambda f: f / 0 * 0])
def test_unusable_windows_are_refused(window):
    A = operator(flash_axial(views=36), SMALL)
    with pytest.raises(DataError, match="window"), np.errstate(all="ignore"):
        A.fbp(torch.zeros(36, 736), window)


def test_a_kernel_is_no_function_of_the_share_of_nyquist():
    with pytest.raises(DataError, match=r"pass it to A\.fbp"):
        window_response("smooth", np.linspace(0, 1, 3))

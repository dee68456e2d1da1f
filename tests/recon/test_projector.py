"""R and Rᵀ: against exact integrals, against ASTRA, and against each other."""

import numpy as np
import pytest
import torch
from ellipse_truth import BODY, fan_sinogram, raster
from tolerances import PROJECTOR

from recon.errors import DataError
from recon.geometry import FanBeam, ImageGrid, ParallelBeam, flash_axial
from recon.operator import operator

# the body of the published figures: there y points up, and it is shifted by (7.3, -4.1) mm
UPWARD = [(x, y + 8.2, *rest) for x, y, *rest in BODY]


def circle(views):
    return np.arange(views) * (2 * np.pi / views)


def small_fan(views=36, detector="arc", **changes):
    values = {"n_cols": 40, "col_pitch": 3.0, "src_iso": 120.0, "src_det": 220.0, **changes}
    return FanBeam(angles=circle(views) + 0.05, detector=detector, **values)


SCENES = {
    "arc": (small_fan(), ImageGrid(shape=(33, 33), spacing=(1.5, 1.5))),
    "flat, clockwise": (
        FanBeam(
            angles=-circle(30), n_cols=40, col_pitch=3.0, src_iso=120.0, src_det=220.0,
            detector="flat", col_offset=-1.125,
        ),
        ImageGrid(shape=(20, 31), spacing=(2.1, 1.3)),
    ),
    "arc, off-centre region": (
        small_fan(views=25, col_offset=0.25),
        ImageGrid(shape=(9, 14), spacing=(0.7, 1.1), centre=(17.0, -9.0)),
    ),
    "parallel": (
        ParallelBeam(angles=circle(36)[:18], n_cols=50, col_pitch=1.0, col_offset=0.3),
        ImageGrid(shape=(24, 20), spacing=(1.0, 1.7), centre=(2.0, 3.0)),
    ),
}  # fmt: skip
scenes = pytest.mark.parametrize("scene", SCENES.values(), ids=SCENES.keys())


def signed(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def relative(a, b):
    return float((a.double() - b.double()).norm() / b.double().norm())


@pytest.mark.parametrize("detector", ["arc", "flat"])
def test_projection_of_the_off_centre_body_is_exact(detector):
    geometry = FanBeam(
        angles=circle(1152), n_cols=736, col_pitch=1.2858, src_iso=595.0, src_det=1085.6,
        detector=detector,
    )  # fmt: skip
    grid = ImageGrid(shape=(512, 512), spacing=(400 / 512, 400 / 512))
    found = operator(geometry, grid)(torch.from_numpy(raster(UPWARD, grid)))
    exact = torch.from_numpy(fan_sinogram(UPWARD, geometry))
    assert relative(found, exact) < PROJECTOR[f"forward, {detector}"]


@pytest.mark.parametrize("offset", [0.0, -1.125, 2.25])
def test_the_detector_is_shifted_by_col_offset_columns(offset):
    geometry = small_fan(views=120, n_cols=160, col_pitch=0.75, col_offset=offset)
    grid = ImageGrid(shape=(192, 192), spacing=(0.3, 0.3))
    disc = [(9.0, -12.0, 8.0, 5.0, 0.4, 0.02)]
    found = operator(geometry, grid)(torch.from_numpy(raster(disc, grid)))
    exact = torch.from_numpy(fan_sinogram(disc, geometry))
    assert relative(found, exact) < PROJECTOR["shifted detector"]


def test_hand_computed_integrals_of_three_by_two_pixels():
    grid = ImageGrid(shape=(2, 3), spacing=(2.0, 1.0))
    image = torch.tensor([[1.0, 2.0, 4.0], [8.0, 16.0, 32.0]])
    down = ParallelBeam(angles=[0.0], n_cols=3, col_pitch=1.0)
    assert operator(down, grid)(image).tolist() == [[18.0, 36.0, 72.0]]
    # a quarter turn: rays run along +x, and t runs along -y
    right = ParallelBeam(angles=[np.pi / 2], n_cols=2, col_pitch=2.0)
    np.testing.assert_allclose(operator(right, grid)(image), [[56.0, 7.0]], rtol=1e-6)
    # half-way between two columns a ray takes half of each; outside there is nothing
    half = ParallelBeam(angles=[0.0], n_cols=4, col_pitch=1.0)
    np.testing.assert_allclose(operator(half, grid)(image), [[9.0, 27.0, 54.0, 36.0]], rtol=1e-6)


@scenes
@pytest.mark.parametrize("images", [1, 3, 17])
def test_transpose_of_signed_data(scene, images):
    geometry, grid = scene
    A = operator(geometry, grid)
    x, p = signed(images, *grid.shape), signed(images, *geometry.shape, seed=1)
    forward, back = A(x).double(), A.T(p).double()
    difference = (forward * p).sum() - (x * back).sum()
    assert abs(float(difference)) / float(forward.norm() * p.norm()) < PROJECTOR["adjoint"]


def test_transpose_at_full_size():
    grid = ImageGrid(shape=(256, 256), spacing=(1.5, 1.5))
    geometry = flash_axial(views=288)
    A = operator(geometry, grid)
    x, p = signed(*grid.shape), signed(*geometry.shape, seed=1)
    forward, back = A(x).double(), A.T(p).double()
    difference = (forward * p).sum() - (x * back).sum()
    assert abs(float(difference)) / float(forward.norm() * p.norm()) < PROJECTOR["adjoint"]


@scenes
def test_compiled_kernels_agree_with_the_reference(scene):
    geometry, grid = scene
    fast, slow = operator(geometry, grid), operator(geometry, grid, backend="reference")
    x, p = signed(2, *grid.shape), signed(2, *geometry.shape, seed=1)
    assert relative(fast(x), slow(x.double())) < PROJECTOR["float32"]
    assert relative(fast.T(p), slow.T(p.double())) < PROJECTOR["float32"]


@scenes
def test_every_image_of_a_stack_is_projected_alike(scene):
    geometry, grid = scene
    A = operator(geometry, grid)
    x, p = signed(19, *grid.shape), signed(19, *geometry.shape, seed=1)
    assert A(x.reshape(19, 1, *grid.shape)).shape == (19, 1, *geometry.shape)
    assert A(x[:0]).shape == (0, *geometry.shape)
    for count in (1, 2, 5, 16):
        assert relative(A(x[:count]), A(x)[:count]) < PROJECTOR["float32"]
        assert relative(A.T(p[:count]), A.T(p)[:count]) < PROJECTOR["float32"]
    assert relative(A(x[18]), A(x)[18]) < PROJECTOR["float32"]


@pytest.mark.parametrize("turn", [1, -1], ids=["counter-clockwise", "clockwise"])
@pytest.mark.parametrize("beam", ["fan", "parallel"])
def test_quarter_turns_of_a_few_images_give_what_the_whole_circle_gives(beam, turn):
    angles = 0.1 + turn * circle(32)
    geometry = small_fan(col_offset=-1.125)
    geometry = FanBeam(**{**vars(geometry), "angles": angles})
    if beam == "parallel":
        geometry = ParallelBeam(angles=angles, n_cols=40, col_pitch=1.6, col_offset=0.25)
    A = operator(geometry, ImageGrid(shape=(21, 21), spacing=(1.5, 1.5)))
    x, p = signed(16, 21, 21), signed(16, 32, 40, seed=1)
    for count in (1, 3, 4):
        assert relative(A(x[:count]), A(x)[:count]) < PROJECTOR["float32"]
        assert relative(A.T(p[:count]), A.T(p)[:count]) < PROJECTOR["float32"]


@pytest.mark.parametrize("images", [1, 16])
def test_the_number_of_threads_changes_nothing(images):
    geometry, grid = flash_axial(views=144), ImageGrid(shape=(96, 96), spacing=(3.0, 3.0))
    A = operator(geometry, grid)
    x, p = signed(images, *grid.shape), signed(images, *geometry.shape, seed=1)
    before = torch.get_num_threads()
    results = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        results.append((A(x), A.T(p), A.fbp(p, window="hann")))
    torch.set_num_threads(before)
    for one, two in zip(*results):
        assert torch.equal(one, two)


def test_a_region_off_centre_sees_what_the_whole_image_sees():
    geometry = flash_axial(views=90)
    whole = ImageGrid(shape=(120, 120), spacing=(2.0, 1.5))
    region = ImageGrid(
        shape=(30, 20), spacing=(2.0, 1.5), centre=(whole.x[40:60].mean(), whole.y[70:100].mean())
    )
    patch = signed(3, 30, 20)
    image = torch.zeros(3, 120, 120)
    image[:, 70:100, 40:60] = patch
    assert (
        relative(operator(geometry, region)(patch), operator(geometry, whole)(image))
        < PROJECTOR["region"]
    )


def test_flat_fan_agrees_with_astra():
    astra = pytest.importorskip("astra")
    views, cols, size = 180, 220, 128
    geometry = FanBeam(
        angles=circle(views), n_cols=cols, col_pitch=1.5, src_iso=300.0, src_det=550.0,
        detector="flat",
    )  # fmt: skip
    grid = ImageGrid(shape=(size, size), spacing=(1.0, 1.0))
    y, x = np.meshgrid(grid.y, grid.x, indexing="ij")
    image = np.zeros((size, size))
    for cx, cy, width, mu in ((20.0, -11.0, 9.0, 0.02), (-30.0, 25.0, 8.0, 0.05)):
        image += mu * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * width**2))
    image = image.astype(np.float32)
    # ASTRA's y points up and row 0 lies at the top, so the picture is the same. Its focal spot
    # starts at 6 o'clock and turns counter-clockwise as ours does; its columns run left to right
    # there, so half a turn later, where ours start, they run the other way
    beams = astra.create_proj_geom(
        "fanflat", 1.5, cols, np.asarray(geometry.angles) + np.pi, 300.0, 250.0
    )
    volume = astra.create_vol_geom(size, size)
    projector = astra.create_projector("line_fanflat", beams, volume)
    out = np.zeros((views, cols), np.float32)
    back = np.zeros((size, size), np.float32)
    astra.projector.direct_FP(projector, image, out=out)
    astra.projector.direct_BP(projector, out, out=back)
    astra.projector.delete(projector)
    theirs = torch.from_numpy(out[:, ::-1].copy())
    A = operator(geometry, grid)
    found = A(torch.from_numpy(image))
    assert relative(found, theirs) < PROJECTOR["astra"]
    # and the transpose of the same data, over blocks of 8² pixels: rays and pixels no longer beat
    mean = lambda image: torch.nn.functional.avg_pool2d(image[None], 8)
    assert relative(mean(A.T(theirs)), mean(torch.from_numpy(back))) < PROJECTOR["astra"]


@pytest.mark.parametrize("name", ["__call__", "T"])
@pytest.mark.parametrize("scene", list(SCENES.values())[:2], ids=list(SCENES)[:2])
def test_gradients(scene, name):
    geometry, grid = scene
    A = operator(geometry, grid)
    shapes = (grid.shape, geometry.shape) if name == "__call__" else (geometry.shape, grid.shape)
    x = signed(2, *shapes[0]).requires_grad_()
    weight = signed(2, *shapes[1], seed=1)
    (getattr(A, name)(x) * weight).sum().backward()
    transpose = A.T if name == "__call__" else A
    assert torch.equal(x.grad, transpose(weight))
    slow = operator(geometry, grid, backend="reference")
    z = x.detach().double().requires_grad_()
    (getattr(slow, name)(z) * weight.double()).sum().backward()
    assert relative(x.grad, z.grad) < PROJECTOR["float32"]


@pytest.mark.parametrize("name", ["__call__", "T"])
def test_gradcheck_of_the_reference(name):
    geometry = small_fan(views=4, n_cols=5, col_pitch=20.0)
    grid = ImageGrid(shape=(3, 4), spacing=(6.0, 5.0), centre=(3.0, -2.0))
    A = operator(geometry, grid, backend="reference")
    shape = grid.shape if name == "__call__" else geometry.shape
    x = signed(2, *shape).double().requires_grad_()
    assert torch.autograd.gradcheck(getattr(A, name), x)
    assert torch.autograd.gradgradcheck(getattr(A, name), x)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda x: x[..., :-1], r"wrong shape: expected \(..., 33, 33\)"),
        (lambda x: x[0, 0], "wrong shape"),
        (lambda x: x.double(), "wrong dtype.*float32.*float64"),
        (lambda x: x.to("meta"), "wrong device.*cpu.*meta"),
        (lambda x: x.tolist(), "no torch tensor.*torch.as_tensor"),
        (lambda x: x.to_sparse(), "sparse.*to_dense"),
        (lambda x: x.long(), "wrong dtype.*float32.*int64.*x.to"),
        (lambda x: x.log(), r"NaN or infinity.*got \d+ of 2178 not finite"),
        (lambda x: x / 0, "NaN or infinity"),
    ],
)
def test_unusable_input_is_refused(wrong, message):
    A = operator(*SCENES["arc"])
    image = signed(2, 33, 33)
    with pytest.raises(DataError, match=message):
        A(wrong(image))


def test_a_detector_that_misses_the_grid_is_refused():
    far = ImageGrid(shape=(4, 4), spacing=(1.0, 1.0), centre=(90.0, 0.0))
    with pytest.raises(DataError, match="misses the grid"):
        operator(ParallelBeam(angles=[0.0, 0.1], n_cols=8, col_pitch=1.0), far)
    with pytest.raises(DataError, match="focal spot's orbit"):
        operator(small_fan(), ImageGrid(shape=(250, 250), spacing=(1.0, 1.0)))

"""What one sees of the packages at a prompt: short help, each name once, tables in a notebook."""

import pydoc

import numpy as np
import pytest
import torch

import analysis
import ctxai
import recon

FACES = (recon, ctxai, analysis)
faces = pytest.mark.parametrize("face", FACES, ids=lambda face: face.__name__)


@faces
def test_help_is_short(face) -> None:
    assert len(pydoc.render_doc(face).splitlines()) < 120


@faces
def test_each_name_is_listed_once(face) -> None:
    names = face.__dir__()
    assert len(names) == len(set(names))


def small_operator() -> recon.Operator:
    fan = recon.FanBeam(
        angles=np.arange(36) * np.pi / 18, n_cols=40, col_pitch=3.0, src_iso=120.0, src_det=220.0
    )
    return recon.operator(fan, recon.ImageGrid(shape=(33, 31), spacing=(1.5, 1.0)))


def samples() -> ctxai.Samples:
    zeros = torch.zeros(3)
    images = torch.arange(3.0)[:, None, None].expand(3, 4, 5)
    return ctxai.Samples(images, zeros, zeros + 2.5, torch.tensor(3.0), zeros.bool())


@pytest.mark.parametrize(
    ("made", "shown"),
    [
        (lambda: small_operator().grid, ("33 × 31", "49.5 × 31 mm")),
        (lambda: small_operator().geometry, ("36, 0° to 350°", "arc, 120/220 mm")),
        (small_operator, ("40 of 3 mm", "numba")),
        (samples, ("3 of (4, 5)", ">1,", "2.5 at most", "<td>3</td>")),
        (lambda: ctxai.Samples(torch.zeros(1, 2, 2), torch.zeros(1), None, None,
                               torch.zeros(1).bool()), ("never sees", "none")),
    ],
    ids=["grid", "fan", "operator", "samples", "anatomies"],
)  # fmt: skip
def test_a_notebook_shows_a_table(made, shown) -> None:
    table = made()._repr_html_()
    assert table.startswith("<table>") and table.endswith("</table>")
    for text in shown:
        assert text in table


def test_arrays_are_taken_where_tensors_are() -> None:
    A = small_operator()
    image = np.random.default_rng(0).standard_normal((2, 33, 31))
    p = A(torch.from_numpy(image).float())
    assert torch.equal(A(image), p)
    assert torch.equal(A(image.astype(np.float32)[:, ::-1][:, ::-1]), p)
    assert torch.equal(A.fbp(p.numpy()), A.fbp(p)) and torch.equal(A.T(p.numpy()), A.T(p))

"""Bodies out of ellipsoids: what lies where, how much there is of it, and slices that differ."""

from dataclasses import replace

import numpy as np
import pytest

from recon.errors import DataError
from recon.phantom.bodies.body import BODIES, body
from recon.scan.scanners import discovery_helical, flash_helical

WATER = 0.0193
X, Y = np.arange(-198, 200, 4.0), np.arange(-150, 152, 4.0)


def hu(name, x, y, z):
    return (body(name, WATER).values(x, y, z) / WATER - 1) * 1000


def slab(name, z):
    return hu(name, X, Y[:, None], np.asarray(z, dtype=float)[:, None, None])


@pytest.mark.parametrize(
    ("name", "tissues"),
    [
        (
            "thorax",
            {
                "right lung": ((-80, 0, 0), -900, -800), "left lung": ((100, 0, 20), -900, -800),
                "heart's apex, left": ((50, -40, -55), 30, 80), "nothing of it right":
                ((-50, -40, -55), -900, -800), "aorta, left of the spine": ((22, 46, -20), 30, 60),
                "windpipe": ((-1, 8, 80), -1000, -950), "liver, right": ((-70, 0, -130), 50, 65),
                "vertebra": ((0, 66, -12.5), 150, 300), "breast bone": ((0, -97, 30), 100, 300),
                "fat under the skin": ((100, 92, 0), -120, -80),
                "air": ((0, -140, 0), -1000, -1000),
            },
        ),
        (
            "abdomen",
            {
                "liver, right": ((-100, 0, 60), 100, 120), "spleen": ((102, 40, 78), 110, 130),
                "gall bladder": ((-50, -60, 8), 0, 15), "aorta": ((8, 24, 0), 140, 180),
                "left kidney": ((92, 56, 12), 100, 200), "vertebra": ((0, 50, 6), 150, 300),
                "air in the stomach": ((80, -56, 75), -1000, -900), "fat": ((0, 120, 0), -120, -80),
            },
        ),
        (
            "head",
            {
                "brain": ((20, -30, 60), 20, 40), "left ventricle": ((13, 5, 33), 0, 15),
                "haemorrhage, left": ((36, 12, 48), 60, 80), "the same place, right":
                ((-36, 12, 48), 10, 45), "forehead": ((0, -94, 25), 500, 1300),
                "eye": ((-31, -80, -22), 0, 20), "sinus": ((-28, -72, -58), -1000, -900),
            },
        ),
    ],
)  # fmt: skip
def test_organs_lie_where_they_belong(name, tissues):
    for organ, (place, low, high) in tissues.items():
        assert low <= hu(name, *place).item() <= high, organ


@pytest.mark.parametrize(("name", "low", "high"), [("thorax", 400, 800), ("abdomen", 500, 1000)])
def test_bodies_weigh_what_bodies_weigh(name, low, high):
    """Water-equivalent mass of 1 cm of an adult's trunk [g], and that of a head below."""
    masses = (slab(name, np.arange(-120, 121, 20)) + 1000).sum(axis=(1, 2)) * 16 / 1e5
    assert low < masses.min() and masses.max() < high


def test_a_head_weighs_what_a_head_weighs():
    volume = slab("head", np.arange(-60, 121, 10)) + 1000
    assert 3500 < volume.sum() * 160 / 1e6 < 6000  # g


@pytest.mark.parametrize("name", BODIES[1:])
def test_no_slice_is_like_the_next_nor_left_like_right(name):
    volume = slab(name, np.arange(-100, 101, 20))
    change = np.abs(np.diff(volume, axis=0)).mean(axis=(1, 2))
    sides = np.abs(volume - volume[:, :, ::-1]).mean(axis=(1, 2))
    assert change.min() > 5 and sides.min() > 2
    border = np.concatenate([volume[:, 0], volume[:, -1]], axis=1)
    assert (border == -1000).all() and volume.max() > 500


@pytest.mark.parametrize("name", BODIES)
def test_line_integrals_lie_in_their_range_on_both_scanners(name):
    for scanner in (flash_helical, discovery_helical):
        g = scanner(length=30.0)  # the whole fan and cone, in a sixteenth of the elements
        coarse = replace(
            g, n_rows=g.n_rows // 4, row_pitch=4 * g.row_pitch, n_cols=g.n_cols // 4,
            col_pitch=4 * g.col_pitch, col_offset=g.col_offset / 4,
        )  # fmt: skip
        views = body(name, WATER).views(coarse)
        some = np.concatenate([views[k] for k in range(0, len(views), 41)])
        low, high = views.range
        assert low <= some.min() and some.max() <= high
        assert high < 20  # 3e-4 a step of 16 bits
        assert some.max() > 2.5


def test_other_bodies_are_refused():
    with pytest.raises(DataError, match="thorax"):
        body("fish", WATER)

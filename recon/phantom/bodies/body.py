"""Bodies out of ellipsoids, to be scanned on a helix: a thorax, an abdomen and a head.

Organs are painted one over another: where they overlap, the later one counts. x is to the patient's
left, y to the back, z to the head; so the liver is at negative x, the heart's apex at positive x,
and no slice is like the next. Each body reaches from about -150 to 150 mm.
"""

from __future__ import annotations

from ...checks import one_of
from ..exact.ellipsoids import Ellipsoid, EllipsoidPhantom, water_with_inserts
from .abdomen import abdomen
from .head import head
from .thorax import thorax

__all__ = ["BODIES", "body"]

_ORGANS = {"thorax": thorax, "abdomen": abdomen, "head": head}

BODIES = ("water", *_ORGANS)
"""What can be scanned: a water cylinder with inserts, and three bodies."""


def body(name: str, mu_water: float) -> EllipsoidPhantom:
    """Return the phantom of a name.

    Parameters
    ----------
    name : {"water", "thorax", "abdomen", "head"}
        The first is `water_with_inserts`.
    mu_water : float
        Attenuation of water [1/mm].

    Returns
    -------
    EllipsoidPhantom

    Raises
    ------
    DataError
        If there is no phantom of that name.

    Examples
    --------
    >>> chest = body("thorax", 0.0193)
    >>> hu = (chest.values(x=[-80.0, 40.0], y=0.0, z=-20.0) / 0.0193 - 1) * 1000
    >>> hu.round().tolist()  # right lung, heart
    [-860.0, 45.0]
    """
    if name == "water":
        return water_with_inserts(mu_water)
    one_of("phantom", name, BODIES)
    parts = [
        Ellipsoid(centre=centre, axes=axes, angle=turn, value=max(mu_water * (1 + hu / 1000), 0.0))
        for hu, centre, axes, turn in _ORGANS[name]()
    ]
    return EllipsoidPhantom(parts, overlap="replace")

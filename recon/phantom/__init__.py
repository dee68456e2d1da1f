"""Phantoms: what is scanned is known, so that what comes back can be judged.

- Slices: `random_slice` draws a thorax, an abdomen or a head that looks like CT; `EllipsePhantom`
  is made of ellipses, with exact line integrals for fans and parallel beams.
- Bodies on a helix: `EllipsoidPhantom` is made of ellipsoids, with exact line integrals from the
  flying focal spot; `body` has a water cylinder with inserts, a thorax, an abdomen and a head.
- Volumes on a helix: `VoxelPhantom` interpolates between voxels in HU; `read_volume` reads them
  from a NumPy archive or a CT series.

>>> from recon.phantom import body
>>> from recon.scan.scanners import flash_helical
>>> body("thorax", 0.0193).views(flash_helical(length=38.4)).shape
(1153, 64, 736)
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .exact.ellipses import Ellipse, EllipsePhantom, inserts_phantom, water_cylinder
from .slices.anatomy import ANATOMIES, random_slice

if TYPE_CHECKING:
    from .bodies.body import BODIES, body
    from .exact.ellipsoids import Ellipsoid, EllipsoidPhantom, water_with_inserts
    from .volumes.files import read_volume
    from .volumes.voxels import VoxelPhantom

_HELICAL = {  # compiled code is loaded when it is first used
    "BODIES": "bodies.body",
    "Ellipsoid": "exact.ellipsoids",
    "EllipsoidPhantom": "exact.ellipsoids",
    "VoxelPhantom": "volumes.voxels",
    "body": "bodies.body",
    "read_volume": "volumes.files",
    "water_with_inserts": "exact.ellipsoids",
}

__all__ = [
    "ANATOMIES",
    "BODIES",
    "Ellipse",
    "EllipsePhantom",
    "Ellipsoid",
    "EllipsoidPhantom",
    "VoxelPhantom",
    "body",
    "inserts_phantom",
    "random_slice",
    "read_volume",
    "water_cylinder",
    "water_with_inserts",
]


def __getattr__(name: str) -> Any:
    if name not in _HELICAL:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HELICAL[name]}"), name)

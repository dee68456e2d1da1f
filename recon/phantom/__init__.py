"""Phantoms: what is scanned is known, so that what comes back can be judged.

- Slices: `random_slice` draws a thorax, an abdomen or a head that looks like CT; `EllipsePhantom`
  is made of ellipses, with exact line integrals for fans and parallel beams.
- Bodies on a helix: `EllipsoidPhantom` is made of ellipsoids, with exact line integrals from the
  flying focal spot; `body` has a water cylinder with inserts, a thorax, an abdomen and a head.
- Volumes on a helix: `VoxelPhantom` interpolates between voxels in HU; `read_volume` reads them
  from a NumPy archive or a CT series.

>>> from recon.phantom import body
>>> from recon import flash_helical
>>> body("thorax", 0.0193).views(flash_helical(length=38.4)).shape
(1153, 64, 736)
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

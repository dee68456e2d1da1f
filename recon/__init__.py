"""CT physics: geometry, R, Rᵀ and R⁻¹, dose, the tube, phantoms, CT images, projection scans.

A scan in four lines, from a phantom to an image at 10 mAs:

>>> import torch, recon
>>> geometry, grid = recon.flash_axial(72), recon.ImageGrid(shape=(64, 64), spacing=(6.0, 6.0))
>>> A, water = recon.operator(geometry, grid), recon.mu_water(120)
>>> hu = torch.from_numpy(recon.phantom.random_slice("abdomen", seed=1, grid=grid))
>>> photons = recon.photons_per_column(mas=10, kvp=120, geometry=geometry, slice_thickness=1.5)
>>> p = A(recon.hu_to_mu(hu, water))
>>> p = recon.sample_transmission(p, photons=photons, electronic_noise=3.0, seed=1)
>>> recon.mu_to_hu(A.fbp(p, window="hann"), water).shape
torch.Size([64, 64])

Lengths are in mm, attenuation in 1/mm, exposure in mAs, images in HU. Knows nothing of networks.
"""

from typing import Any

import lazy_loader

_load, __dir__, _ = lazy_loader.attach_stub(__name__, __file__)  # no __all__: help() would be pages


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from recon.storage import version

        return version()
    return _load(name)

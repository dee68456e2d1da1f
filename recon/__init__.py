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

from importlib import import_module
from typing import TYPE_CHECKING, Any

from . import phantom
from .dose.kernels import FLOOR_QUANTA
from .dose.noise import insert_noise, sample_transmission, starved_rays
from .errors import BackendUnavailable, DataError
from .fbp.windows import Kernel
from .geometry import FanBeam, ImageGrid, ParallelBeam, flash_axial
from .operator import Operator, operator
from .tube import mu_water, photons_per_column
from .units import AIR_HU, hu_to_mu, mu_to_hu

if TYPE_CHECKING:
    from .ctpd.read import read_scan
    from .ctpd.write import write_scan
    from .dicom.images import CTImages, read_images
    from .dicom.write import write_series
    from .helical import reconstruct
    from .scan.at_dose import at_dose
    from .scan.helix import HelicalScan
    from .scan.scan import Scan
    from .scan.simulate import simulate_scan

_SCANS = {  # what scans and files need is loaded when it is first used, and pydicom with it
    "CTImages": "dicom.images",
    "HelicalScan": "scan.helix",
    "Scan": "scan.scan",
    "at_dose": "scan.at_dose",
    "read_images": "dicom.images",
    "read_scan": "ctpd.read",
    "reconstruct": "helical",
    "simulate_scan": "scan.simulate",
    "write_scan": "ctpd.write",
    "write_series": "dicom.write",
}

__all__ = [
    "AIR_HU",
    "FLOOR_QUANTA",
    "BackendUnavailable",
    "CTImages",
    "DataError",
    "FanBeam",
    "HelicalScan",
    "ImageGrid",
    "Kernel",
    "Operator",
    "ParallelBeam",
    "Scan",
    "at_dose",
    "flash_axial",
    "hu_to_mu",
    "insert_noise",
    "mu_to_hu",
    "mu_water",
    "operator",
    "phantom",
    "photons_per_column",
    "read_images",
    "read_scan",
    "reconstruct",
    "sample_transmission",
    "simulate_scan",
    "starved_rays",
    "write_scan",
    "write_series",
]


def __getattr__(name: str) -> Any:
    if name not in _SCANS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_SCANS[name]}"), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]

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

from . import phantom
from .ctpd import read_scan
from .ctpd_write import write_scan
from .dicom_image import CTImages, read_images, write_series
from .dose import FLOOR_QUANTA, insert_noise, sample_transmission, starved_rays
from .errors import BackendUnavailable, DataError
from .geometry import FanBeam, ImageGrid, ParallelBeam, flash_axial
from .operator import Operator, operator
from .scan import Scan
from .scan_dose import at_dose
from .scan_geometry import HelicalScan
from .tube import mu_water, photons_per_column
from .units import AIR_HU, hu_to_mu, mu_to_hu
from .windows import Kernel

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
    "sample_transmission",
    "starved_rays",
    "write_scan",
    "write_series",
]

"""The former name of :mod:`recon.dicom`: programs that import from here go on working."""

from .dicom.images import CTImages, read_images
from .dicom.write import write_series

__all__ = ["CTImages", "read_images", "write_series"]

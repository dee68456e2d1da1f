"""CT images as DICOM files: reading a series, writing a derived one, and where elements lie."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

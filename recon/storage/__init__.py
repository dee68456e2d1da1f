"""Files and run folders that are whole or not there, and whose parts belong together."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

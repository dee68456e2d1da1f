"""The dose 𝒫: quantum and electronic noise in the projections, at any exposure."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

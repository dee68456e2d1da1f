"""Where networks meet the scanner: invariances, the target domain x' = f(R⁻¹𝒫Rȳ), and reports.

Names are read from their modules when they are first used, so that `ctxai --help` does not wait
for torch.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

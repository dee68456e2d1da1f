"""Where networks meet the scanner: invariances, the target domain x' = f(R⁻¹𝒫Rȳ), and reports.

Names are read from their modules when they are first used, so that `ctxai --help` does not wait
for torch.
"""

from typing import Any

import lazy_loader

_load, __dir__, _ = lazy_loader.attach_stub(__name__, __file__)  # no __all__: help() would be pages


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from recon.storage import version

        return version()
    return _load(name)

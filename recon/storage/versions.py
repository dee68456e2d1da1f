"""Which version of the toolbox this is, and of what a result depends on."""

from __future__ import annotations

import contextlib
import platform
from importlib import metadata

__all__ = ["version", "versions"]

_DISTRIBUTION = "ctxai-invariances"  # `ctxai` on the package index is another program
_PACKAGES = (
    "torch", "numpy", "scipy", "numba", "astra-toolbox", "pydicom", "zuko",
    "safetensors", "zarr",
)  # fmt: skip


def version() -> str:
    """Version of the installed toolbox, as `setup.cfg` states it.

    Returns
    -------
    str
        "unknown" for sources that were never installed.

    Examples
    --------
    >>> import recon
    >>> from recon.storage import version
    >>> version() == recon.__version__
    True
    """
    try:
        return metadata.version(_DISTRIBUTION)
    except metadata.PackageNotFoundError:  # sources that were never installed
        return "unknown"


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that a result depends on."""
    found = {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "ctxai": version(),
    }
    for name in _PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found

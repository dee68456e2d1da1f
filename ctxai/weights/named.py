"""Which denoiser a user names: read from the text alone, its files looked for, nothing loaded.

Torch is not needed for that, so that a wrong name or a file that is not there is told at once.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from recon.errors import DataError

from .convention import convention_of

__all__ = ["PUBLISHED", "Named", "named", "require_denoiser"]

PUBLISHED = ("cnn10", "redcnn", "wganvgg", "dugan")
"""Methods of ldct-benchmark whose weights are read."""

_SHIPPED = ("chen", "yang")
_PROGRAMS = (".pt", ".pth", ".ts", ".pt2", ".onnx")
_CODE = re.compile(r"(?P<file>.+\.py):(?P<factory>[^\W\d]\w*)(:(?P<weights>.+))?")
_FORMS = (
    "chen, yang, file.safetensors, "
    + ", ".join(f"{method}:file.safetensors" for method in PUBLISHED)
    + ", a file of torch.jit.save (.pt, .ts), of torch.export.save (.pt2) or .onnx, "
    "path/to/module.py:factory, or path/to/module.py:factory:weights.pt"
)


@dataclass(frozen=True)
class Named:
    """A denoiser by what was named.

    Attributes
    ----------
    kind : str
        "shipped", a method of :data:`PUBLISHED`, "saved" (by this toolbox), "code" or "program".
    name : str
        What it is called from here on.
    path : Path, optional
        Its file.
    factory : str
        Function of a Python file.
    weights : Path, optional
        A state dict for what the function returns.
    """

    kind: str
    name: str
    path: Path | None = None
    factory: str = ""
    weights: Path | None = None

    @property
    def own(self) -> bool:
        """Whether it is a user's network, of a unit that the user declares."""
        return self.kind in ("code", "program")


def named(spec: str) -> Named:
    """What a text names; see :func:`ctxai.load_denoiser` for its forms.

    Raises
    ------
    DataError
        If it is none of the forms, or a file that it names is not there.

    Examples
    --------
    >>> from ctxai.weights.named import named
    >>> named("Chen")
    Named(kind='shipped', name='chen', path=None, factory='', weights=None)
    """
    found = _parsed(spec)
    for path in (found.path, found.weights):
        if path is not None and not path.is_file():
            raise DataError("denoiser file not found", where=path)
    return found


def _parsed(spec: str) -> Named:
    method, _, file = spec.partition(":")
    if spec.lower() in _SHIPPED:
        return Named("shipped", spec.lower())
    if method in PUBLISHED and file:
        path = Path(file).expanduser()
        return Named(method, f"{method}-{path.stem}", path)
    if code := _CODE.fullmatch(spec):
        path, factory = Path(code["file"]).expanduser(), code["factory"]
        name, weights = f"{path.stem}.{factory}", None
        if code["weights"]:
            weights = Path(code["weights"]).expanduser()
            name += f".{weights.stem}"
        return Named("code", name, path, factory, weights)
    path = Path(spec).expanduser()
    if path.suffix == ".safetensors":
        return Named("saved", path.stem, path)
    if path.suffix in _PROGRAMS and ":" not in spec:
        return Named("program", path.stem, path)
    raise DataError("no such denoiser", where=spec, expected=_FORMS)


def require_denoiser(spec: str, input: str = "hu") -> None:
    """Refuse a denoiser that cannot be meant, by its name, its files and its unit.

    Parameters
    ----------
    spec, input : str
        As :func:`ctxai.load_denoiser` takes them.

    Examples
    --------
    >>> from ctxai import require_denoiser
    >>> from recon import DataError
    >>> try:
    ...     require_denoiser("chen", input="water")
    ... except DataError as error:
    ...     print(error)
    this network's input is known (--input): expected hu, got water
    """
    convention = convention_of(input)
    if not named(spec).own and convention.name != "hu":
        raise DataError(
            "this network's input is known", where="--input", expected="hu", got=convention.name
        )

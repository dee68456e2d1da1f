"""The templates of a report, the HTML files beside this one; what they are given is escaped."""

from __future__ import annotations

import base64
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from ..runs.order import capital

__all__ = ["fill", "look"]

_TEMPLATES = Environment(
    loader=PackageLoader(__package__, "."), autoescape=True, undefined=StrictUndefined,
    trim_blocks=True, lstrip_blocks=True,
)  # fmt: skip
_TEMPLATES.filters |= {"capital": capital, "base64": lambda data: base64.b64encode(data).decode()}


def fill(template: str, **fields: Any) -> Markup:
    """The HTML of a template with its fields filled in; `Markup` among them is taken as it is."""
    return Markup(_TEMPLATES.get_template(template).render(fields))


def look() -> Markup:
    """The style sheet of a report."""
    return Markup((files(__package__) / "page.css").read_text(encoding="utf-8"))

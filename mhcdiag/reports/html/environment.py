"""The templates, and what they need to print values safely."""

import base64
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from mhcdiag.reports.escaping import printable
from mhcdiag.reports.html.picture import Picture


@cache
def environment() -> Environment:
    """Everything is escaped, and a name that is missing is an error."""
    found = Environment(
        loader=PackageLoader("mhcdiag.reports.html", "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
        finalize=_harmless,
    )
    found.filters["svg"] = _svg
    found.filters["png"] = _png
    return found


def _harmless(value: object) -> object:
    """Text from files without control characters; markup of our own as it is."""
    return value if isinstance(value, Markup) or not isinstance(value, str) else printable(value)


def _svg(picture: Picture) -> Markup:
    return Markup(picture.svg)  # drawn by us; its text was escaped when it was written


def _png(picture: Picture) -> str:
    return "data:image/png;base64," + base64.b64encode(picture.png).decode("ascii")

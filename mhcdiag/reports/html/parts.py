"""What pages are built of: tables, pills, links and pictures, and the templates that print them."""

import base64
from dataclasses import dataclass
from enum import StrEnum
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from mhcdiag.reports.text import printable


@dataclass(frozen=True, kw_only=True, slots=True)
class Pill:
    """A word with the colour and sign of a verdict."""

    word: str
    """pass, warning, FAIL, UNJUDGED."""
    tone: str
    """Class of its colours: pass, warning, fail, unjudged."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Link:
    """A reference to another part of the page."""

    text: str
    """What it reads."""
    target: str
    """Identifier of that part."""


Cell = str | Pill | Link


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """Heading of a column."""

    label: str
    """What stands in it, with its unit."""
    group: str = ""
    """Heading over neighbouring columns of the same group."""
    numeric: bool = False
    """Whether it holds numbers, which stand flush right."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """A heading over several columns."""

    label: str
    """What they have in common."""
    width: int
    """Number of columns."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """A table with its heading."""

    caption: str
    """What it holds."""
    columns: tuple[Column, ...]
    """Headings."""
    rows: tuple[tuple[Cell, ...], ...]
    """Cells; the first of a row names it."""
    note: str = ""
    """What a reader must know of it."""

    @property
    def groups(self) -> tuple[Group, ...]:
        """The upper row of headings; empty where no column is in a group."""
        found: list[Group] = []
        for column in self.columns:
            if found and found[-1].label == column.group:
                found[-1] = Group(label=column.group, width=found[-1].width + 1)
            else:
                found.append(Group(label=column.group, width=1))
        return tuple(found) if any(group.label for group in found) else ()


def columns(*labels: str, numeric: tuple[str, ...] = ()) -> tuple[Column, ...]:
    """Columns by their labels; those in `numeric` hold numbers."""
    return tuple(Column(label=label, numeric=label in numeric) for label in labels)


class Slot(StrEnum):
    """Where on the page a picture stands."""

    GAIN = "gain"
    """Gain over depth, logarithmic."""
    GAIN_LINEAR = "gain_linear"
    """The same on a linear scale."""
    FORWARD_SPANS = "forward"
    """Heat map of all stretches of sites, signals."""
    BACKWARD_SPANS = "backward"
    """Heat map of all stretches of sites, gradients."""
    MAPPING = "mapping"
    """One token-mean mapping."""
    SINKHORN = "sinkhorn"
    """Residuals of the Sinkhorn iteration."""
    SERIES = "series"
    """One series of a log."""
    TREND = "trend"
    """Gain, gradient norm and loss over the steps of a run."""
    COMPARISON = "comparison"
    """Several inputs in one picture; belongs to the overview."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Picture:
    """One picture with what is said about it."""

    slot: Slot
    """Where it stands."""
    title: str
    """Heading above it."""
    alt: str
    """What it shows, for those who do not see it."""
    caption: str
    """What a reader must know to read it; may be empty."""
    svg: str = ""
    """An `<svg>` element that is safe to stand in a page; empty for a picture of pixels."""
    png: bytes = b""
    """The file; empty for a drawing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Pictures:
    """All pictures of a page."""

    of_inputs: tuple[tuple[Picture, ...], ...] = ()
    """Per input of the check, in its order; empty where none were drawn."""
    overview: tuple[Picture, ...] = ()
    """Those over several inputs."""


@cache
def environment() -> Environment:
    """The templates of this package: everything is escaped, and a name that is missing is an error."""
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

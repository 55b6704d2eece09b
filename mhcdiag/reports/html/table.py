"""Tables as the page's templates take them."""

from dataclasses import dataclass

from mhcdiag.results.check import CheckReport
from mhcdiag.results.words import short_names as shared_names


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


def short_names(report: CheckReport) -> dict[str, str]:
    """Name by path: the path without the folders that all inputs share, or its last component where it is alone."""
    paths = list(dict.fromkeys(one.path for one in report.inputs))
    return dict(zip(paths, shared_names(paths), strict=True))

"""How records show themselves: in a few lines at a prompt, as the terminal's report in a notebook, and as a figure."""

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from mhcdiag.results.numbers import Huge, text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_WIDTH = 100
_MOST_LINES = 18
"""Lines under the headline: a record must not push what was printed before it off the screen."""
_LONG = 60
"""Characters of one field that are shown."""
_FEW = 4
"""Entries up to which a collection is shown whole."""


class Brief:
    """A record whose `repr` is short: what a dataclass writes of one checkpoint would fill 3000 lines."""

    __slots__ = ()

    def __repr__(self) -> str:
        """The headline, then every field on a few lines; long ones by their size and ends."""
        assert is_dataclass(self)
        headline = self._headline()
        shown = [f"{one.name}={_brief(getattr(self, one.name))}" for one in fields(self)]
        lines = _packed(shown)
        if len(lines) > _MOST_LINES:
            lines = [*lines[: _MOST_LINES - 1], "  ..."]
        first = f"<{type(self).__name__}{': ' if headline else ''}{headline}"
        return "\n".join([first, *lines]) + ">"

    def _headline(self) -> str:
        """What a reader wants to know first; empty where the fields say it all."""
        return ""


def _packed(words: Sequence[str]) -> list[str]:
    """Words as indented lines, as many in each as it holds."""
    lines: list[str] = []
    for word in words:
        if lines and len(lines[-1]) + len(word) + 2 <= _WIDTH:
            lines[-1] += f", {word}"
        else:
            lines.append(f"  {word}")
    return lines


def _brief(value: object) -> str:
    """One field: a collection that is long, or holds what is long, by its size and ends."""
    if isinstance(value, Brief):
        return f"<{type(value).__name__}>"
    if isinstance(value, str):
        return repr(_shortened(str(value)))
    if isinstance(value, float | Huge):
        return text(value) if isinstance(value, Huge) else f"{value:.6g}"
    if isinstance(value, Mapping):
        words = {_key_text(key): _brief(one) for key, one in value.items()}
        whole = f"{{{', '.join(f'{key}: {one}' for key, one in words.items())}}}"
        ends = [*words]
    elif isinstance(value, tuple):
        ends = [_brief(one) for one in (value if len(value) <= _FEW else (value[0], value[-1]))]
        whole = f"({', '.join(ends)}{',' * (len(value) == 1)})"
    else:
        return _shortened(repr(value))
    if len(value) <= _FEW and len(whole) <= _LONG:
        return whole
    # The ends of a matrix, or of a list of records, say nothing.
    telling = ends[0][0] not in "<(" and max(len(ends[0]), len(ends[-1])) <= _LONG // 2
    return f"<{len(value)}: {ends[0]} ... {ends[-1]}>" if telling else f"<{len(value)}>"


def _key_text(key: object) -> str:
    return ".".join(map(str, key)) if isinstance(key, tuple) else str(key)


def _shortened(shown: str) -> str:
    return shown if len(shown) <= _LONG else f"{shown[: _LONG - 3]}..."


class Presented(Brief):
    """A record that a notebook shows as the terminal's report."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        """The terminal's report as HTML with its styles inline; nothing is loaded from anywhere."""
        return str(_presenter("html_of")(self))


def figure_of(record: Presented, **options: Any) -> "Figure":
    """Return what the command draws of a record."""
    figure: Figure = _presenter("figure_of")(record, **options)
    return figure


def _presenter(name: str) -> Any:
    # Reports and plots stand above the records and import them. An import here, late as it may be, would close that
    # circle for the layers and for every reader of them; so the record knows its presenter by name alone, as it would
    # a plug-in, and code that only judges records never loads rich or matplotlib.
    return getattr(import_module("mhcdiag.reports.notebook"), name)

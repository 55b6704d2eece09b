"""What commands print and write: progress on stderr, results on stdout, figures never half-written."""

import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from mhcdiag.errors import OutputError, SettingError
from mhcdiag.reports.text import printable
from mhcdiag.results.judged import JudgedGain, Unreadable, readable

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.console import Console
    from rich.status import Status

Judged = TypeVar("Judged")

FIGURE_SUFFIXES = (".png", ".svg", ".pdf")


def console(*, stderr: bool = False) -> "Console":
    """A rich console that adds no colours of its own to numbers and paths."""
    from rich.console import Console

    return Console(stderr=stderr, highlight=False)


def with_progress(paths: Sequence[str], *, doing: str) -> Iterator[str]:
    """The paths one by one, with a line on stderr while each is worked on if that is a terminal."""
    status_console = console(stderr=True)
    if not status_console.is_terminal:
        yield from paths
        return
    with status_console.status("") as status:
        _shown.append(status)
        try:
            for i, path in enumerate(paths, 1):
                status.update(f"{doing} {path} ({i} of {len(paths)})" if len(paths) > 1 else f"{doing} {path}")
                yield path
        finally:
            _shown.remove(status)


_shown: "list[Status]" = []


@contextmanager
def without_status() -> Iterator[None]:
    """Take the line of `with_progress` off the terminal while something else is shown there."""
    for status in _shown:
        status.stop()
    try:
        yield
    finally:
        for status in _shown:
            status.start()


def or_unreadable(path: str, judge: Callable[[str], Judged]) -> Judged | Unreadable:
    """Judge one input; what is wrong with one that cannot be read is said at once on stderr."""
    found = readable(path, judge)
    if isinstance(found, Unreadable):
        complain(found.reason)
    return found


def complain(message: str) -> None:
    """One line on stderr; control characters from file contents are escaped so that they cannot drive the terminal."""
    sys.stderr.write(f"mhcdiag: {printable(message)}\n")


def print_gain(judged: Sequence[JudgedGain | Unreadable], *, as_json: bool, quiet: bool, details: bool) -> None:
    """Print the report of `mhcdiag gain`."""
    if as_json:
        from mhcdiag.reports.json_documents import gain_json

        sys.stdout.write(gain_json(judged))
        return
    from mhcdiag.reports.gain_console import gain_report, verdict_line

    measured = [each for each in judged if isinstance(each, JudgedGain)]
    if not measured:
        return  # what is wrong stands on stderr
    out = console()
    if not quiet:
        unicode = (out.encoding or "").lower().startswith("utf")
        out.print(gain_report(judged, width=out.width, unicode=unicode, details=details))
        from mhcdiag.reports.weights_text import weights_lines

        for one in measured:
            if said := weights_lines(one.weights, width=out.width, details=details):
                name = f"{one.path}\n" if len(measured) > 1 else ""
                out.print(f"{name}{said}", markup=False, soft_wrap=True)
    for each in judged:
        out.print(verdict_line(each), soft_wrap=True)


def check_figure_path(path: Path | None) -> None:
    """Refuse a figure that could not be written before any work is done for it."""
    if path is None:
        return
    if path.suffix.lower() not in FIGURE_SUFFIXES:
        raise SettingError(f"--plot {path}: expected a name that ends in {', '.join(FIGURE_SUFFIXES)}")
    check_writable(path, option="--plot")


def check_writable(path: Path, *, option: str) -> None:
    """Refuse a file that could not be written, before work is done for it.

    Raises
    ------
    OutputError
        There is no such directory, it is read-only, or the path is something else than a file.
    """
    # A device such as /dev/null would be replaced by a file.
    special = path.exists() and not path.is_file()
    if special or not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
        raise OutputError(f"{option} {path}: cannot be written; expected a file in a directory that exists")


def draw_gain(judged: Sequence[JudgedGain | Unreadable], path: Path, *, heatmap: bool) -> None:
    """Draw all inputs that were measured; nothing is written where none was."""
    results = [each.result for each in judged if isinstance(each, JudgedGain)]
    if results:
        from mhcdiag.plots.gain_figure import gain_figure

        save_figure(gain_figure(results, heatmap=heatmap), path)


def save_figure(figure: "Figure", path: Path) -> None:
    """Write a figure whole or not at all."""
    from mhcdiag.plots.style import SAVE_OPTIONS, house_style

    suffix = path.suffix.lower()
    # The style holds the salt of SVG identifiers: the same input gives the same bytes.
    with replacing(path, option="--plot") as temporary, house_style():
        figure.savefig(temporary, format=suffix.removeprefix("."), **SAVE_OPTIONS[suffix])


def write_text(path: Path, text: str, *, option: str) -> None:
    """Write a file whole or not at all.

    Raises
    ------
    OutputError
        It cannot be written.
    """
    with replacing(path, option=option) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="")


@contextmanager
def replacing(path: Path, *, option: str) -> Iterator[Path]:
    """Give a temporary file beside `path` that takes its place at the end: an interrupted run leaves no half file.

    Parameters
    ----------
    path
        The file that is to be there at the end.
    option
        How the user named it, for the message.

    Raises
    ------
    OutputError
        It cannot be written.
    """
    try:
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix)
        os.close(descriptor)
        temporary = Path(name)
        try:
            yield temporary
            umask = os.umask(0)  # there is no other way to ask for it
            os.umask(umask)
            # Temporary files are for their owner alone; this one is to be read by a colleague or a web server.
            temporary.chmod(0o666 & ~umask)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"{option} {path}: {error.strerror or error}") from error

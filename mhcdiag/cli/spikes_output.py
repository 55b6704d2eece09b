"""What `mhcdiag spikes` prints and writes: results on stdout, complaints on stderr."""

import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mhcdiag.errors import MhcdiagError, OutputError, SettingError
from mhcdiag.results.spikes import JudgedLog, SpikesReport, UnreadableLog

if TYPE_CHECKING:
    from rich.console import Console

    from mhcdiag.logapi import LogOptions

FIGURE_SUFFIXES = (".png", ".svg", ".pdf")


def console() -> "Console":
    """Return a console that adds no colours of its own to numbers and paths."""
    from rich.console import Console

    return Console(highlight=False)


def complain(message: str) -> None:
    """Write one line to stderr, control characters escaped."""
    from mhcdiag.reports.escaping import printable

    sys.stderr.write(f"mhcdiag: {printable(message)}\n")


def log_paths(paths: Sequence[str]) -> list[str | UnreadableLog]:
    """Return the logs behind the paths; a folder without logs is an entry of its own."""
    from mhcdiag.runlogs import iter_logs

    found: list[str | UnreadableLog] = []
    for path in paths:
        try:
            found.extend(iter_logs(path))
        except (MhcdiagError, OSError) as error:
            found.append(_unreadable(path, error))
    return found


def or_unreadable(path: str | UnreadableLog, judge: Callable[[str], JudgedLog]) -> JudgedLog | UnreadableLog:
    """Judge one log; one that cannot be read becomes a record, so that it never hides the others."""
    if isinstance(path, UnreadableLog):
        return path
    try:
        return judge(path)
    except SettingError:
        raise
    except (MhcdiagError, OSError) as error:
        return _unreadable(path, error)


def print_report(report: SpikesReport, *, as_json: bool, as_csv: bool, quiet: bool, context: int) -> None:
    """Print the report in the form asked for."""
    if as_json or as_csv:
        from mhcdiag.reports.spikes_csv import spikes_csv
        from mhcdiag.reports.spikes_json import spikes_json

        sys.stdout.write(spikes_json(report) + "\n" if as_json else spikes_csv(report))
        for log in report.logs:
            if isinstance(log, UnreadableLog):
                complain(log.reason)
        return
    from mhcdiag.reports.spikes_console import log_report, report_end, verdict_line

    out = console()
    unicode = (out.encoding or "").lower().startswith("utf")
    for log in report.logs:
        if isinstance(log, JudgedLog) and not quiet:
            raw = _context(log, context) if context else None
            out.print(log_report(log, width=out.width, unicode=unicode, context=raw))
    for line in (*report_end(report), *(verdict_line(log) for log in report.logs)):
        out.print(line, soft_wrap=True)


def list_series(path: str, options: "LogOptions") -> None:
    """Print the series of a log with their points."""
    import numpy as np
    from rich.table import Table

    from mhcdiag.logapi import read_table
    from mhcdiag.reports.escaping import printable

    log = read_table(path, options)
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for column in ("series", "name in the log", "points"):
        table.add_column(column, justify="right" if column == "points" else "left")
    for name, values in log.columns.items():
        points = int(np.count_nonzero(np.isfinite(values)))
        table.add_row(printable(name), printable(log.source_names.get(name, name)), f"{points:,}")
    out = console()
    out.print(f"{printable(path)}: format {log.format}, {log.lines:,} lines", style="bold", markup=False)
    out.print(table)


def check_figure_path(path: Path | None) -> None:
    """Refuse a figure that could not be written before any work is done for it."""
    if path is None:
        return
    if path.suffix.lower() not in FIGURE_SUFFIXES:
        raise SettingError(f"--plot {path}: expected a name that ends in {', '.join(FIGURE_SUFFIXES)}")
    if not path.parent.is_dir() or not os.access(path.parent, os.W_OK) or path.is_dir():
        raise OutputError(f"--plot {path}: expected a file in a directory that exists and is writable")


def draw(report: SpikesReport, path: Path, *, log_scale: bool) -> None:
    """Draw all logs that could be read; nothing is written where none was."""
    judged = [log for log in report.logs if isinstance(log, JudgedLog)]
    if not judged:
        return
    from mhcdiag.plots.timeline import timeline_figure

    figure = timeline_figure(
        [log.result for log in judged], log_scale=log_scale, comparison=report.comparison
    )
    # Written under another name first: an interrupted run leaves no half file.
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix)
    os.close(descriptor)
    try:
        figure.savefig(temporary, format=path.suffix.lower().removeprefix("."))
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(temporary, 0o666 & ~mask)
        os.replace(temporary, path)
    except OSError as error:
        raise OutputError(f"--plot {path}: {error.strerror or error}") from error
    finally:
        Path(temporary).unlink(missing_ok=True)


def _context(log: JudgedLog, count: int) -> dict[int, list[tuple[int, str]]]:
    from mhcdiag.logapi import context_lines

    lines = {event.line for series in log.result.series.values() for event in series.events}
    return context_lines(log.result.path, lines, count)


def _unreadable(path: str, error: Exception) -> UnreadableLog:
    text = str(error)
    if isinstance(error, OSError):
        text = f"{path}: {error.strerror or error}"
    return UnreadableLog(path=path, reason=text)

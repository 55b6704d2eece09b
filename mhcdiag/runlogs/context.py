"""What stands around an event in its log: raw lines, or the records of a format that has no lines."""

import math
import re
from collections.abc import Collection, Sequence

import numpy as np

from mhcdiag.errors import MhcdiagError
from mhcdiag.runlogs.lines import Lines, LineSplitter
from mhcdiag.runlogs.log_table import LogTable
from mhcdiag.runlogs.sources import open_source

LONGEST_CONTEXT = 400
"""Bytes of a line, and characters of a record, that are shown around an event."""

Places = Collection[tuple[int, float]]
"""Line (or record) and first step of each event."""

Shown = dict[tuple[int, float], list[tuple[int, str]]]
"""By the same: the lines around it with their numbers."""


def context_lines(path: str, places: Places, count: int) -> Shown:
    """Return the lines around each of some events, with their numbers.

    A progress bar writes one line over and over: of its states those around the one that names the event's step are
    shown. Nothing for standard input, folders, and files that cannot be opened any more: the report stands without
    them.

    Parameters
    ----------
    path
        A log with lines.
    places
        Of the events.
    count
        Lines before and after each.
    """
    wanted = {number for line, _ in places for number in range(max(line - count, 1), line + count + 1)}
    if path == "-" or not wanted:
        return {}
    try:
        source = open_source(path)
    except (MhcdiagError, OSError):
        return {}
    splitter, last = LineSplitter(), max(wanted)
    found: dict[int, list[str]] = {}
    try:
        for block in source.blocks():
            _collect(splitter.feed(block), wanted, found)
            if splitter.count >= last:
                break
        else:
            _collect(splitter.finish(), wanted, found)
    finally:
        source.close()
    return {(line, step): _around(found, line, step, count) for line, step in places}


def _collect(lines: Lines, wanted: set[int], found: dict[int, list[str]]) -> None:
    for number, raw in zip(lines.numbers, lines.texts, strict=True):
        if number in wanted:
            found.setdefault(number, []).append(raw[:LONGEST_CONTEXT].decode("utf-8", "replace"))


def _around(found: dict[int, list[str]], line: int, step: float, count: int) -> list[tuple[int, str]]:
    """Return the lines around one, or the states of a line that was written over."""
    states = found.get(line, [])
    if len(states) <= 1:
        numbers = range(max(line - count, 1), line + count + 1)
        return [(number, text) for number in numbers for text in found.get(number, [])[-1:]]
    at = _state_at(states, step)
    return [(line, text) for text in states[max(at - count, 0) : at + count + 1]]


def _state_at(states: Sequence[str], step: float) -> int:
    if not math.isfinite(step):
        return len(states) - 1
    word = re.compile(rf"(?<![\d.]){step:.0f}(?![\d.%])")
    return next((at for at, text in enumerate(states) if word.search(text)), len(states) - 1)


def context_records(table: LogTable, places: Places, count: int) -> Shown:
    """Return the records around each of some events, with their numbers.

    Parameters
    ----------
    table
        A log without lines.
    places
        Of the events.
    count
        Records before and after each.
    """
    found: Shown = {}
    for line, step in places:
        rows = np.flatnonzero((table.line == line) & ((table.step == step) | math.isnan(step)))
        if len(rows):
            first, after = max(int(rows[0]) - count, 0), int(rows[0]) + count + 1
            found[line, step] = [
                (int(table.line[row]), _record(table, row)) for row in range(len(table.step))[first:after]
            ]
    return found


def _record(table: LogTable, row: int) -> str:
    values = [f"step {table.step[row]:g}"]
    for name, column in table.columns.items():
        bad = name in table.nan_rows and bool(table.nan_rows[name][row])
        if bad or math.isfinite(column[row]):
            values.append(f"{table.source_names.get(name, name)} {column[row]:.6g}")
    return ", ".join(values)[:LONGEST_CONTEXT]

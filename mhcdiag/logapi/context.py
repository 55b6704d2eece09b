"""The raw lines around events."""

from collections.abc import Iterable

from mhcdiag.errors import MhcdiagError
from mhcdiag.runlogs.lines import Lines, LineSplitter
from mhcdiag.runlogs.sources import open_source

LONGEST = 400
"""Characters of a line that are kept."""


def context_lines(path: str, lines: Iterable[int], count: int) -> dict[int, list[tuple[int, str]]]:
    """Return the lines around each of some lines, with their numbers.

    Arguments: path: a log with lines; lines: 1-based; count: lines before and after. Returns: nothing for
    standard input, folders, and files that have no lines.
    """
    wanted: dict[int, list[int]] = {}
    found: dict[int, list[tuple[int, str]]] = {}
    for line in lines:
        found[line] = []
        for number in range(max(line - count, 1), line + count + 1):
            wanted.setdefault(number, []).append(line)
    if path == "-" or not wanted:
        return {}
    try:
        source = open_source(path)
    except (MhcdiagError, OSError):
        return {}
    splitter, last = LineSplitter(), max(wanted)
    try:
        for block in source.blocks():
            _collect(splitter.feed(block), wanted, found)
            if splitter.count >= last:
                return found
        _collect(splitter.finish(), wanted, found)
    finally:
        source.close()
    return found


def _collect(lines: Lines, wanted: dict[int, list[int]], found: dict[int, list[tuple[int, str]]]) -> None:
    for number, raw in zip(lines.numbers, lines.texts, strict=True):
        for line in wanted.get(number, ()):
            found[line].append((number, raw[:LONGEST].decode("utf-8", "replace")))

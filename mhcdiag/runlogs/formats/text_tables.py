"""Tables in text: a header of names, then rows of numbers, in columns that blanks or bars separate."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from mhcdiag.runlogs.interface import Keys, LineFormat, LogRecord
from mhcdiag.runlogs.names import STEPS, canonical_rank, plain, step_name
from mhcdiag.runlogs.records import parse_number

# Names of the count that only tables use: spaCy heads its epochs "E" and its steps "#".
_COUNTS = {"e": "epoch", "ep": "epoch", "#": "step"}
# Words of a name that a table in single blanks cuts in two: "Step Training Loss Validation Loss" (HF in notebooks).
_FIRST_WORD = frozenset({"training", "train", "trn", "validation", "valid", "val", "eval", "test", "learning", "grad"})
_SECOND_WORD = frozenset({"loss", "rate", "norm", "accuracy", "acc", "time", "score"})
_NAME = re.compile(r"[A-Za-z#][^:={}<>]*$")
_RULE = re.compile(r"[\s|+:=\-─━═┃│┌┬┐├┼┤└┴┘╒╤╕╞╪╡╘╧╛┏┳┓┡╇┩╋]+$")
_BARS = str.maketrans(dict.fromkeys("│┃║¦", "|"))
# Behind the last column of YOLO's rows stands a bar: "640: 100%|███| 8/8 [00:05<00:00]".
_PROGRESS = re.compile(r":?\s+\d+%\s*\|.*$")
_CELL = re.compile(r"\S+(?: \S+)*")
_WORD = re.compile(r"\S+")
_OF = re.compile(r"(\d+)\s*/\s*(\d+)$")
_NOTHING = frozenset({"", "-", "--", "#na#", "na", "n/a", "none", "null"})
# Of YOLOv5's older header only "total" says what its columns are; "box", "obj" and "cls" are losses.
_PARTS_OF_YOLO = {
    "giou": "giou_loss", "box": "box_loss", "obj": "obj_loss", "cls": "cls_loss", "total": "total_loss",
}  # fmt: skip

SUM = "sum of the losses"
"""Series of a table that has parts of a loss and no total: what is optimised, up to weights."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A piece of a line and where it stands."""

    text: str
    """The piece."""
    start: int
    """Column of its first character."""
    end: int
    """Column behind its last one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Header:
    """The names of a table."""

    columns: tuple[Cell, ...]
    """Names, and where they stand."""
    single: bool
    """Whether one blank already separates columns."""
    indented: bool
    """Whether something may stand before the first column: pandas prints an index without a name."""

    @property
    def names(self) -> list[str]:
        """The names alone."""
        return [cell.text for cell in self.columns]


def by_blanks(text: str, *, single: bool = False) -> list[Cell]:
    """Return the cells of a line whose columns are apart by two blanks or a tab, by one if `single`."""
    pattern = _WORD if single else _CELL
    return [Cell(match.group(), match.start(), match.end()) for match in pattern.finditer(text.replace("\t", "  "))]


def by_bars(text: str) -> list[Cell]:
    """Return the cells of a line whose columns are apart by bars; a bar at either edge closes nothing."""
    text = text.translate(_BARS)
    parts = text.split("|")
    if len(parts) < 2:
        return []
    cells: list[Cell] = []
    at = 0
    for part in parts:
        cells.append(Cell(part.strip(), at, at + len(part)))
        at += len(part) + 1
    cells = cells[1:] if not cells[0].text else cells
    return cells[:-1] if cells and not cells[-1].text else cells


def _is_count(name: str) -> bool:
    simple = plain(name)
    return name.lower() in _COUNTS or simple in STEPS or simple in {"epoch", "epochs"}


def _joined(cells: Sequence[Cell]) -> list[Cell]:
    """Join names of two words that single blanks cut."""
    found: list[Cell] = []
    for cell in cells:
        before = found[-1] if found else None
        if before and before.text.lower() in _FIRST_WORD and cell.text.lower() in _SECOND_WORD:
            found[-1] = Cell(f"{before.text} {cell.text}", before.start, cell.end)
        else:
            found.append(cell)
    return found


def _renamed(cells: Sequence[Cell]) -> list[Cell]:
    names = {cell.text.lower() for cell in cells}
    known = {"#": "step", "e": "epoch"} if {"#", "e"} <= names else {}
    known |= _PARTS_OF_YOLO if {"obj", "cls"} <= names else {}
    return [Cell(known.get(cell.text.lower(), cell.text), cell.start, cell.end) for cell in cells]


class TableParser:
    """Finds a header, then reads one row a line; of a row that a progress bar writes again the last copy counts.

    Parameters
    ----------
    keys
        Names that the user gave.
    bars
        Whether bars separate the columns, and not blanks.
    """

    def __init__(self, keys: Keys, *, bars: bool) -> None:
        self._keys = keys
        self._bars = bars
        self._header: Header | None = None
        self._parts: tuple[str, ...] = ()
        self._losses: frozenset[str] = frozenset()
        self._step: str | None = None
        self._open: LogRecord | None = None

    def feed(self, line: int, text: str) -> LogRecord | None:
        """Return the record that is complete now, or None."""
        if not text or _RULE.match(text) or (self._bars and "|" not in text.translate(_BARS)):
            return None
        header = self._header_of(text)
        if header is not None:
            self._start(header)
            return None
        return self._row(line, text) if self._header is not None else None

    def finish(self) -> LogRecord | None:
        """Return the row whose progress bar was still running."""
        done, self._open = self._open, None
        return done

    def _start(self, header: Header) -> None:
        self._header = header
        ranks = {name: canonical_rank(name) for name in header.names}
        losses = [name for name, rank in ranks.items() if rank is not None and rank[0] == "loss"]
        whole = any(rank is not None and rank[0] == "loss" and rank[1] < 50 for rank in ranks.values())
        total = any("total" in plain(name).split("_") for name in losses)
        self._parts = tuple(losses) if len(losses) > 1 and not whole and not total else ()
        self._losses = frozenset([self._keys.loss] if self._keys.loss is not None else losses)
        self._step = self._keys.step if self._keys.step in header.names else _step_of(header.names)

    def _header_of(self, text: str) -> Header | None:
        if self._bars:
            return self._header_from(by_bars(text), text, single=False)
        wide = by_blanks(text)
        return (
            self._header_from(wide, text, single=False)
            if len(wide) > 1
            else self._header_from(_joined(by_blanks(text, single=True)), text, single=True)
        )

    def _header_from(self, cells: Sequence[Cell], text: str, *, single: bool) -> Header | None:
        # The names of a count and of a loss or norm, side by side, and no number among them.
        if len(cells) < 2 or not all(_NAME.match(cell.text) and parse_number(cell.text) is None for cell in cells):
            return None
        cells = _renamed(cells)
        names = [cell.text for cell in cells]
        counts = [name for name in names if _is_count(name) or name == self._keys.step]
        judged = [name for name in names if name == self._keys.loss or _is_judged(name)]
        # In single blanks prose may hold these words: there the count must come first, as it does in every such table.
        if not counts or not judged or len(set(names)) != len(names) or (single and names[0] not in counts):
            return None
        return Header(columns=tuple(cells), single=single, indented=text[:1].isspace())

    def _row(self, line: int, text: str) -> LogRecord | None:
        header = self._header
        assert header is not None
        bar = None if self._bars else _PROGRESS.search(text)
        text = (text[: bar.start()] if bar is not None else text).replace("No log", "-     ")  # the Trainer's tables
        cells = by_bars(text) if self._bars else by_blanks(text, single=header.single)
        first = cells[0].text if cells else ""
        if not cells or (parse_number(first) is None and _OF.match(first) is None):
            return None
        placed = _placed(cells, header)
        if placed is None:
            numbers = sum(parse_number(cell.text) is not None for cell in cells)
            return LogRecord(line=line, values={}, garbled=True) if numbers > 1 and self._losses else None
        record = self._record(line, placed)
        return self._held(record) if bar is not None else record

    def _record(self, line: int, placed: dict[str, str]) -> LogRecord:
        values: dict[str, float] = {}
        total: float | None = None
        garbled = False
        for name, cell in placed.items():
            text = cell.rstrip(":*")  # "640:" before YOLO's bar; the best row of a table has a star
            of = _OF.match(text) if _is_count(name) else None
            number = float(of[1]) if of is not None else parse_number(text)
            total = float(of[2]) if of is not None else total
            if number is not None:
                values[name] = number
            elif name in self._losses and text.lower() not in _NOTHING:
                garbled = True
        if self._parts:
            values[SUM] = sum(values.get(name, math.nan) for name in self._parts)
            # A part that this row lacks makes no NaN of the sum.
            if any(name not in values for name in self._parts):
                del values[SUM]
        step = values.pop(self._step, None) if self._step is not None else None
        return LogRecord(line=line, step=step, values=values, total_steps=total, garbled=garbled)

    def _held(self, record: LogRecord) -> LogRecord | None:
        """Hold a row while its bar runs; a NaN that was in it stays."""
        before = self._open
        if before is not None and record.values and before.step == record.step:
            lost = {name: value for name, value in before.values.items() if not math.isfinite(value)}
            self._open = LogRecord(
                line=record.line,
                step=record.step,
                values=record.values | lost,
                total_steps=record.total_steps,
                garbled=record.garbled or before.garbled,
            )
            return None
        self._open = record
        return before


def _is_judged(name: str) -> bool:
    rank = canonical_rank(name)
    return rank is not None and rank[0] in {"loss", "eval_loss", "grad_norm"}


def _step_of(names: Sequence[str]) -> str | None:
    """Return the name of the count: steps before epochs, which hold several of them."""
    return step_name(names) or next((name for name in names if _is_count(name)), None)


def _placed(cells: Sequence[Cell], header: Header) -> dict[str, str] | None:
    """Return the cells of a row by name: by their number, where cells are empty by where they stand."""
    names = header.names
    if header.indented and len(cells) == len(names) + 1 and cells[0].text.isdigit():
        cells = cells[1:]  # the index of a pandas table
    if len(cells) == len(names):
        return {name: cell.text for name, cell in zip(names, cells, strict=True)}
    if len(cells) > len(names) or header.single:
        return None
    found: dict[str, str] = {}
    for cell in cells:
        name = min(header.columns, key=lambda column: _distance(cell, column)).text
        if name in found:
            return None
        found[name] = cell.text
    return found


def _distance(cell: Cell, column: Cell) -> int:
    """How far apart two pieces stand: below zero where they lie above each other."""
    overlap = min(cell.end, column.end) - max(cell.start, column.start)
    return -overlap


def _blanks(keys: Keys) -> TableParser:
    return TableParser(keys, bars=False)


def _bars(keys: Keys) -> TableParser:
    return TableParser(keys, bars=True)


# fastai (fastprogress), notebooks that print the Trainer's table, skorch (PrintLog), spaCy (console_logger),
# ultralytics' YOLO, pandas:
# epoch     train_loss  valid_loss  accuracy  time
# 0         7.017847    7.092408    0.512345  00:12
#       Epoch    GPU_mem   box_loss   cls_loss   dfl_loss  Instances       Size
#       1/100      2.19G      1.234      1.634      1.234         12        640: 100%|███| 8/8 [00:05<00:00]
COLUMNS = LineFormat(
    name="columns",
    title="a table in blanks: fastai, notebooks, skorch, spaCy, YOLO, pandas",
    parser=_blanks,
    preferred={"loss": ("total_loss", SUM)},
)

# Tables that scripts print, also framed (tabulate, prettytable, rich) and in Markdown:
#  Epoch  |  Batch  |  Train Loss  |  Val Loss  |  Elapsed
#    1    |   20    |   0.612345   |     -      |   4.12
BARS = LineFormat(
    name="bars",
    title="a table in bars: `epoch | loss | lr`, framed or not",
    parser=_bars,
    preferred={"loss": ("total_loss", SUM)},
)

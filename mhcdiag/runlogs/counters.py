"""Counters in lines of text, and which of them is the step: what moves with the lines, by its name where it has one.

A date, the percentage of a bar, a batch size and the rank `(2/8)` are numbers that look like a step and do not move
like one. The choice is made once, on the first lines of a log, and holds for all of it.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from mhcdiag.runlogs.names import STEPS, plain, step_rank

EPOCHS = ("epoch", "ep", "epochs")
"""Names of the count that a step may begin again with, as `plain` writes them."""

RANKS = ("rank", "local_rank", "global_rank")
"""Names of the writer's rank."""


@dataclass(frozen=True, slots=True)
class Counter:
    """A whole number of a line that may count something."""

    value: float
    """The number."""
    total: float | None = None
    """What stands behind a slash."""


_WHOLE = r"\d+(?:,\d{3})*"
_END = r"(?![\w%]|\s*%|:\d|\.\d|,\d|-\d)"
# A name and its number: "step 10", "Epoch: [3]", "iter=20/100", "batch #7", "global_step=1,000".
_NAMED = re.compile(
    rf"(?<![\w/.])([A-Za-z_][\w/.]*)[\"']?\s*[:=#]?\s*[\"']?\[?\s*({_WHOLE})(?:\s*/\s*({_WHOLE}))?{_END}"
)
# ESPnet's "3epoch:train:1-500batch" has its names behind the numbers.
_GLUED = re.compile(r"(?<![\w.])(?:\d+-)?(\d+)(epoch|batch|step|iter|it)(?!\w|/)")
# The digits of a time (10:20) or of a date are no fraction: "120/1000 [00:10<01:20, loss=2.31]" is 120 of 1000.
_FRACTION = re.compile(rf"(?<![\d:/.(,-])({_WHOLE})\s*/\s*({_WHOLE})(?![\d:/.%]|\s*%)")
_BRACKET = re.compile(r"(?<![\w:=])\[\s*(\d+)\s*\]")
_LEADING = re.compile(rf"\s*({_WHOLE})(?=\s*[|:;,\s])(?!:\d|\.\d|\s*/)")
# "(2/8)" of icefall and "[host:2/8]" of ESPnet are rank and number of ranks; "( 950/5004)" may be a step.
_WRITER = re.compile(r"\(\s*(\d+)/(\d+)\)|\[[\w.-]+:(\d+)/(\d+)\]")


@lru_cache(maxsize=4096)
def _is_counter(name: str) -> bool:
    simple = plain(name)
    return simple in EPOCHS or simple in RANKS or step_rank(name) is not None


_PAIR = "(a/b)"


def _number(text: str) -> float:
    return float(text.replace(",", ""))


def counters(text: str) -> dict[str, Counter]:
    """Return the counters of a line, those with a name by their name, the others by how they are written."""
    found: dict[str, Counter] = {}
    taken: list[tuple[int, int]] = []
    for match in _NAMED.finditer(text):
        if _is_counter(match[1]):
            total = _number(match[3]) if match[3] else None
            found.setdefault(plain(match[1]), Counter(_number(match[2]), total))
            taken.append(match.span())
    for match in _GLUED.finditer(text):
        found.setdefault(match[2], Counter(_number(match[1])))
        taken.append(match.span())
    writer = _WRITER.search(text)
    if writer is not None:
        rank, ranks = (writer[1], writer[2]) if writer[1] else (writer[3], writer[4])
        found[_PAIR] = Counter(_number(rank), _number(ranks))
        taken.append(writer.span())
    for number, (key, counter) in enumerate(_unnamed(text, taken)):
        found[f"{key}#{number}"] = counter
    return found


def _unnamed(text: str, taken: Sequence[tuple[int, int]]) -> Iterator[tuple[str, Counter]]:
    for match in _FRACTION.finditer(text):
        value, total = _number(match[1]), _number(match[2])
        if value <= total and not any(first < match.end() and match.start() < end for first, end in taken):
            yield "a/b", Counter(value, total)
    for match in _BRACKET.finditer(text):
        if not any(first < match.end() and match.start() < end for first, end in taken):
            yield "[a]", Counter(_number(match[1]))
    leading = _LEADING.match(text)
    if leading is not None:
        yield "a", Counter(_number(leading[1]))


def fitness(key: str) -> int | None:
    """Return how well a counter fits the step by its name (0 best), None where it counts something else."""
    if key in EPOCHS or key in RANKS:
        return None
    rank = step_rank(key)
    if rank is not None:
        return rank
    if key == _PAIR:  # behind all others: beside another step it is a rank
        return 2 * len(STEPS) + 9
    return 2 * len(STEPS) + ("a/b", "[a]", "a").index(key.partition("#")[0])


@dataclass(frozen=True, kw_only=True, slots=True)
class StepPlan:
    """Where the step of a record stands."""

    step: str | None = None
    """Key of the counter; None: the log has none."""
    above: bool = False
    """Whether it stands on a line above the record."""
    epoch: str | None = None
    """Key of the epoch."""
    epoch_above: bool = False
    """Whether that stands on a line above."""
    rank: str | None = None
    """Key of the writer's rank."""
    epoch_first: bool = False
    """Whether the step stands behind the slash, and the epoch before it."""
    field: bool = False
    """Whether the step is a field like any other: it has a name, stands on the line itself and runs up to nothing."""


Found = Sequence[tuple[dict[str, Counter], bool]]
"""Counters of each line, and whether the line holds a loss."""

_MOST_FALLS = 0.3
"""Share of moves that may go back: a step does at resumes, at new runs and where writers talk at once."""


@dataclass(frozen=True, slots=True)
class _Course:
    """How a counter goes along the records of a sample."""

    present: float
    """Share of the records that have it."""
    moves: float
    """Share of the neighbours that differ."""
    falls: float
    """Share of these in which it goes back, but for those where an epoch goes on."""


def _epoch_first(own: Sequence[dict[str, Counter]]) -> str | None:
    """Return the key of a fraction whose second number moves: WeNet's "Batch 2/300" is batch 300 of epoch 2."""
    for key in dict.fromkeys(key for found in own for key in found if fitness(key) is not None):
        counts = {found[key].value for found in own if key in found}
        totals = {found[key].total for found in own if key in found} - {None}
        if len(totals) > max(2, len(counts)):
            return key
    return None


def behind_the_slash(counter: Counter) -> tuple[Counter, Counter]:
    """Return step and epoch of a fraction whose second number is the step."""
    return Counter(counter.total if counter.total is not None else counter.value), Counter(counter.value)


def plan_steps(lines: Found) -> StepPlan:
    """Choose the step on the first lines of a log.

    Of the counters that move and seldom go back, one that moves with nearly every record goes first; then the order
    of names, counters on the line itself before those above, and fractions before other bare numbers. An epoch is the
    step where nothing else moves.
    """
    own = [found for found, loss in lines if loss]
    above = _carried(lines)
    epoch, epoch_above = _epoch_of(own, above)
    epochs = _values(above if epoch_above else own, epoch)
    ranked = []
    for source, is_above in ((own, False), (above, True)):
        for key in dict.fromkeys(key for found in source for key in found):
            order = fitness(key)
            if order is None or (is_above and not _has_name(key)):
                continue
            course = _course(_values(source, key), epochs)
            if course.present >= 0.5 and _counts(course, single=len(own) < 2, named=_has_name(key)):
                coarse = course.moves < 0.6 and len(own) > 1
                ranked.append((coarse, is_above, order, key))
    rank, turned = _rank_of(own), _epoch_first(own)
    if turned is not None and (not ranked or min(ranked)[0]):
        return StepPlan(step=turned, epoch="epoch", epoch_first=True, rank=rank)
    if ranked:
        _, is_above, _, key = min(ranked, key=lambda one: (one[3] == _PAIR, *one))
        rank = None if key == rank else rank
        field = _has_name(key) and not is_above and all(found[key].total is None for found in own if key in found)
        return StepPlan(step=key, above=is_above, epoch=epoch, epoch_above=epoch_above, rank=rank, field=field)
    # An epoch that several records share is no step: it does not tell them apart.
    moves = _course(epochs, ()).moves if epoch is not None else 0.0
    if moves > 0.9:
        return StepPlan(step=epoch, above=epoch_above, rank=rank)
    return StepPlan(epoch=epoch, epoch_above=epoch_above, rank=rank)


def _has_name(key: str) -> bool:
    return step_rank(key) is not None


def _counts(course: _Course, *, single: bool, named: bool) -> bool:
    if single:
        return True
    return course.moves > 0 and (course.falls <= _MOST_FALLS or (named and course.moves > course.falls))


def _carried(lines: Found) -> list[dict[str, Counter]]:
    """Return for each record the counters of the lines above it that hold no loss."""
    carried: list[dict[str, Counter]] = []
    known: dict[str, Counter] = {}
    for found, loss in lines:
        if loss:
            carried.append(dict(known))
        else:
            known |= {key: counter for key, counter in found.items() if _has_name(key) or key in EPOCHS}
    return carried


def _values(source: Sequence[dict[str, Counter]], key: str | None) -> list[float | None]:
    return [found[key].value if key is not None and key in found else None for found in source]


def _course(values: Sequence[float | None], epochs: Sequence[float | None]) -> _Course:
    rows = [row for row, value in enumerate(values) if value is not None]
    moves = falls = 0
    for before, row in pairwise(rows):
        first, second = values[before] or 0.0, values[row] or 0.0
        moves += second != first
        falls += second < first and not _went_on(epochs, before, row)
    return _Course(len(rows) / max(len(values), 1), moves / max(len(rows) - 1, 1), falls / max(moves, 1))


def _went_on(epochs: Sequence[float | None], before: int, row: int) -> bool:
    if not epochs:
        return False
    first, second = epochs[before], epochs[row]
    return first is not None and second is not None and second > first


def _epoch_of(own: Sequence[dict[str, Counter]], above: Sequence[dict[str, Counter]]) -> tuple[str | None, bool]:
    for source, is_above in ((own, False), (above, True)):
        for key in EPOCHS:
            if sum(key in found for found in source) >= 0.5 * max(len(source), 1) and source:
                return key, is_above
    return None, False


def _rank_of(own: Sequence[dict[str, Counter]]) -> str | None:
    for key in (*RANKS, _PAIR):
        values = {found[key].value for found in own if key in found}
        totals = {found[key].total for found in own if key in found}
        # A count of several numbers that runs up once is no rank: "(3/100)" may be a progress.
        if len(totals) == 1 and values and (key in RANKS or _course(_values(own, key), ()).falls > 0):
            return key
    return None

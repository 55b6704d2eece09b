"""What is decided once for a log, on its first records: its step, the names of its series, how many write at once.

A log that is read whole and one that is followed must give the same report: both decide on the same records (the first
2,000 lines of a text log; formats without lines are there as a whole), and what comes later changes nothing.
"""

from __future__ import annotations  # arrays take a type in annotations from Python 3.12 on

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from mhcdiag.errors import SettingError
from mhcdiag.runlogs.builder import TableBuilder
from mhcdiag.runlogs.counters import RANKS
from mhcdiag.runlogs.interface import Keys, LogFormat
from mhcdiag.runlogs.log_table import Writers
from mhcdiag.runlogs.names import bind_names, canonical_rank, name_rank, other_name, plain
from mhcdiag.runlogs.steps import LEAST, MOST_MISSING, StepCount, count_steps, epoch_series, step_series

MOST_AT_ONCE = 64
"""Records of one step that are taken for ranks or micro-batches; more of them are a step that counts something else."""

REGULAR = 0.8
"""Share of the steps that must have equally many records for that."""

PARTS = 100
"""Rank of a name from which it is a part of the loss (`names`)."""

MOST_BEHIND = 0.2
"""Share of the losses that may come behind the end of the main one, under another name."""

INTERLEAVED = 0.2
"""Share of backward moves from which several writers are assumed, as in a log that goes 1020, 1010, 1030, 1020, ..."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """How the records of a log are read from now on."""

    step: str | None = None
    """The series that counts steps; None: the parser knows the step, or there is none."""
    numbered: bool = False
    """Whether the number of the record stands for the step."""
    epoch: str | None = None
    """The series of the epochs within which the step may begin again."""
    rank: str | None = None
    """The series that holds the writer's rank."""
    names: Mapping[str, str] = field(default_factory=dict)
    """Name in the log -> canonical name."""
    promoted: bool = False
    """Whether the evaluation loss is judged, for want of a training loss."""
    writers: Writers = field(default_factory=Writers)
    """How many records a step has."""
    rows: int = 0
    """Records on which this was decided."""
    notes: tuple[str, ...] = ()
    """What was assumed."""

    def same_as(self, other: Choice) -> bool:
        """Say whether both read a log alike."""
        return replace(self, rows=0, notes=()) == replace(other, rows=0, notes=())


def choose(builder: TableBuilder, *, rows: int | None = None, log_format: LogFormat, keys: Keys) -> Choice:
    """Decide on the first records of a log.

    Parameters
    ----------
    builder
        Holds them, and perhaps more.
    rows
        How many of its records count; None: all.
    log_format
        What read them.
    keys
        Names that the user gave.

    Raises
    ------
    SettingError
        The log has no such step.
    """
    sample = _Sample(builder, builder.rows if rows is None else rows)
    notes: list[str] = []
    step, raw = _step(sample, keys, notes)
    rank = next((name for name in sample.counts if plain(name) in RANKS and name != step), None)
    counts = {name: count for name, count in sample.counts.items() if name not in (step, rank)}
    chosen = bind_names(counts, preferred=log_format.preferred, loss_key=keys.loss)
    if keys.loss is not None and chosen.get("loss") != keys.loss:
        chosen.pop("loss", None)  # the one that the user named comes later
    promoted = "loss" not in chosen and "eval_loss" in chosen and keys.loss is None
    if promoted:
        # Some logs hold evaluations only (modded-nanogpt's track 3); a gate on the loss would find nothing to judge.
        chosen["loss"] = chosen.pop("eval_loss")
        notes.append(f"no training loss: the evaluation loss '{chosen['loss']}' is judged")
    names = {source: canonical for canonical, source in chosen.items()}
    epoch = epoch_series(sample.counts, step)
    writers, shared = Writers(), False
    if raw is not None:
        writers, shared = _writers(sample, raw, loss=chosen.get("loss"), epoch=epoch, rank=rank)
        if shared and keys.step is None:
            what = "" if step is None else f" ('{step}')"
            notes.append(f"most records share a step{what} with another loss: the number of the record stands for it")
            raw, writers = None, Writers()
    return Choice(
        step=step,
        numbered=raw is None,
        epoch=epoch,
        rank=rank,
        names=names,
        promoted=promoted,
        writers=writers,
        rows=sample.rows,
        notes=tuple(notes),
    )


class _Sample:
    """The first rows of the records."""

    def __init__(self, builder: TableBuilder, rows: int) -> None:
        self.rows = rows
        self.steps = builder.steps()[:rows]
        totals, ranks = builder.totals(), builder.ranks()
        self.totals = None if totals is None else totals[:rows]
        self.ranks = None if ranks is None else ranks[:rows]
        self.columns: dict[str, NDArray[np.float64]] = {}
        self.recorded: dict[str, NDArray[np.bool_]] = {}
        for name in builder.series:
            column = builder.column(name)[:rows]
            here = ~np.isnan(column)
            strange = np.frombuffer(builder.strange.get(name, b""), dtype=np.int64)
            here[strange[strange < rows]] = True
            if here.any():
                self.columns[name], self.recorded[name] = column, here

    @property
    def counts(self) -> dict[str, int]:
        return {name: int(here.sum()) for name, here in self.recorded.items()}


def _step(sample: _Sample, keys: Keys, notes: list[str]) -> tuple[str | None, NDArray[np.float64] | None]:
    """Return the series that counts steps and the step of each row as the log has it; None: no step at all."""
    raw: NDArray[np.float64] | None
    if keys.step is not None and keys.step in sample.columns:
        name, raw = keys.step, sample.columns[keys.step]
    elif np.isfinite(sample.steps).any():
        name, raw = None, sample.steps
    elif keys.step is not None and sample.rows:
        some = ", ".join(list(sample.columns)[:8])
        raise SettingError(f"--step-key {keys.step}: the log has no such field (it has {some})")
    else:
        name = step_series(sample.columns, sample.counts)
        raw = None if name is None else sample.columns[name]
    if raw is None:
        if sample.rows:
            notes.append("no step in the log: the number of the record stands for it")
        return None, None
    missing = int(np.count_nonzero(~np.isfinite(raw)))
    if missing > MOST_MISSING * len(raw):
        notes.append(f"{missing:,} of {len(raw):,} records without a step: the record's number stands for it")
        return None, None
    return name, raw


def _writers(
    sample: _Sample, raw: NDArray[np.float64], *, loss: str | None, epoch: str | None, rank: str | None
) -> tuple[Writers, bool]:
    """Return how many write a step, and whether most records share a step that counts something else."""
    if loss is None:
        return Writers(), False
    epochs = None if epoch is None else sample.columns[epoch]
    steps = count_steps(raw, epochs=epochs, totals=sample.totals, count=StepCount())
    rows = np.flatnonzero(sample.recorded[loss])
    ranks = whole_ranks(sample.columns[rank]) if rank is not None else sample.ranks
    return writers_of(steps[rows], sample.columns[loss][rows], rank=None if ranks is None else ranks[rows])


def writers_of(
    step: NDArray[np.float64], value: NDArray[np.float64], *, rank: NDArray[np.int64] | None = None
) -> tuple[Writers, bool]:
    """Return how many write a step, and whether most records share a step that counts something else.

    Parameters
    ----------
    step, value
        Step and loss of the records that carry one.
    rank
        Of the writers, -1 where unknown; None: never.
    """
    known = np.empty(0) if rank is None else np.unique(rank[rank >= 0])
    if rank is not None and len(known) > 1:
        return Writers(ranks=len(known), interleaved=_interleaved(step[rank == known[0]])), False
    moves, mixed = np.diff(step), _interleaved(step)
    # Records that repeat step and loss are copies, not writers.
    other = (moves == 0) & (value[1:] != value[:-1]) & ~(np.isnan(value[1:]) & np.isnan(value[:-1]))
    if mixed or not other.any():
        return Writers(interleaved=mixed), False
    sizes = np.diff(np.flatnonzero(np.concatenate([[True], moves != 0, [True]])))
    inner = sizes[:-1] if len(sizes) > 1 else sizes  # the sample may end within a step
    common = int(np.bincount(inner).argmax())
    regular = 1 < common <= MOST_AT_ONCE and np.mean(inner == common) >= REGULAR
    sharing = np.concatenate([[False], other]) | np.concatenate([other, [False]])
    if not regular and len(step) >= LEAST and np.mean(sharing) > 0.5:
        return Writers(), True
    return Writers(records=common if regular else 0, several=True), False


def _interleaved(step: NDArray[np.float64]) -> bool:
    moves = np.diff(step)
    back = np.count_nonzero(moves < 0)
    if len(step) < LEAST or back <= INTERLEAVED * len(moves):
        return False
    # Twenty seeds appended to one file go back nineteen times, too (modded-nanogpt's track 3), but to their first step.
    return bool(np.count_nonzero(step[1:][moves < 0] == step[0]) < 0.5 * back)


def whole_ranks(column: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the ranks that a series holds, -1 where there is none."""
    return np.where(np.isfinite(column), column, -1.0).astype(np.int64)


class Names:
    """The names of a log's series here: as chosen on its first records, and for what comes later in order."""

    def __init__(self, choice: Choice, keys: Keys, preferred: Mapping[str, tuple[str, ...]]) -> None:
        self._ours = dict(choice.names)
        self._taken = set(choice.names.values())
        self._keys = keys
        self._preferred = preferred

    def of(self, name: str) -> str:
        """Return what a series is called: canonical where it is the first that fits, else as in the log."""
        ours = self._ours.get(name)
        if ours is None:
            ours = self._ours[name] = self._late(name)
        return ours

    def sources(self) -> dict[str, str]:
        """Return canonical name -> name in the log."""
        return {ours: name for name, ours in self._ours.items() if ours in self._taken}

    def _late(self, name: str) -> str:
        if self._keys.loss is not None and name == self._keys.loss:
            return self._take("loss")
        rank = name_rank(name, self._preferred)
        # Records without the loss that the user named must not give another one in its place.
        foreign = rank is not None and rank[0] == "loss" and self._keys.loss is not None
        if rank is None or foreign or rank[0] in self._taken:
            return other_name(name)
        return self._take(rank[0])

    def _take(self, canonical: str) -> str:
        self._taken.add(canonical)
        return canonical


def is_rival(name: str) -> bool:
    """Say whether a series that is not the main loss might be one: no part of it, and no evaluation."""
    rank = canonical_rank(name.removeprefix("log/"))
    return name != "loss" and rank is not None and rank[0] == "loss" and rank[1] < PARTS


class Evidence:
    """What the records behind the first ones say against the choice: they make a log unjudged, and change nothing."""

    def __init__(self, choice: Choice) -> None:
        self._choice = choice
        self._rows = 0
        self._losses = 0
        self._behind = 0
        self._later = 0
        self._missing = 0

    def chosen(self, choice: Choice) -> None:
        """Take the same choice again, made on more records; none of them has come later than it."""
        self._choice, self._later, self._missing = choice, 0, 0

    def feed(self, losses: NDArray[np.bool_], rivals: NDArray[np.bool_] | None, missing: NDArray[np.bool_]) -> None:
        """Take the next records.

        Parameters
        ----------
        losses
            Which carry the main loss; empty where none does.
        rivals
            Which carry another loss that might be the main one; None: none.
        missing
            Which have no step of their own.
        """
        later = missing[max(self._choice.rows - self._rows, 0) :]
        self._rows += len(missing)
        self._later += len(later)
        self._missing += int(np.count_nonzero(later))
        found = np.flatnonzero(losses)
        self._losses += len(found)
        self._behind = 0 if len(found) else self._behind
        if rivals is not None:
            alone = rivals if not len(losses) else rivals & ~losses
            self._behind += int(np.count_nonzero(alone[found[-1] + 1 if len(found) else 0 :]))

    def doubt(self) -> str:
        """Return what speaks against the choice; empty: nothing."""
        if self._later >= LEAST and self._missing > MOST_MISSING * self._later:
            return f"{self._missing:,} of the {self._later:,} records behind the first lines have no step any more"
        if self._losses and self._behind > MOST_BEHIND * (self._losses + self._behind):
            return f"the judged loss ends, and another one goes on for {self._behind:,} records"
        return ""

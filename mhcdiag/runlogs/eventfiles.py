"""Which event files of one folder are the same run: started again, or written side by side by several writers."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from mhcdiag.errors import MhcdiagError
from mhcdiag.runlogs.formats.tensorboard import ScalarReader
from mhcdiag.runlogs.names import canonical_rank
from mhcdiag.runlogs.sources import open_source

GAP = 0.5
"""Of the steps so far: how far behind the last one a run that was started again may begin."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Part:
    """What one event file covers."""

    path: Path
    tags: frozenset[str]
    """Names of its losses."""
    first_step: float
    last_step: float
    interval: float
    first_time: float
    last_time: float


def separate_runs(files: Sequence[Path]) -> list[Path]:
    """Return the files, each as a log of its own, if they are different runs; else none.

    Files are the same run where each continues the one before: it starts when that has ended, at a step between the
    first and a little behind the last of it. A file without a loss (hyper-parameters, profiles) belongs to any run.

    Parameters
    ----------
    files
        In the order of their names, which hold the time of their start.
    """
    if len(files) < 2:
        return []
    parts = [part for part in map(_part_of, files) if part is not None]
    parts.sort(key=lambda part: part.first_time)
    alone = any(not _continues(before, after) for before, after in pairwise(parts))
    return [part.path for part in parts] if alone else []


def _continues(before: _Part, after: _Part) -> bool:
    if not before.tags & after.tags:
        return True  # writers for different things, as Keras' training and validation in one folder
    if after.first_time < before.last_time:
        return False  # both were written at the same time
    # A run that starts over logs its first step again, at its own interval.
    if after.first_step < before.first_step + max(before.interval, after.interval):
        return False
    reach = max(GAP * (before.last_step - before.first_step), 10 * before.interval)
    return after.first_step <= before.last_step + reach


def _part_of(path: Path) -> _Part | None:
    """Return what a file covers; None for one without any loss, or one that cannot be read, which reading will tell."""
    scalars = ScalarReader()
    try:
        source = open_source(str(path))
        scalars.read(source.blocks())
        source.close()
    except MhcdiagError:
        return None
    losses = [number for number, tag in enumerate(scalars.tags) if _is_loss(tag)]
    rows = np.isin(np.frombuffer(scalars.tag, dtype=np.int64), losses)
    if not rows.any():
        return None
    steps = np.unique(np.frombuffer(scalars.step, dtype=np.int64)[rows].astype(np.float64))
    times = scalars.times[rows]
    return _Part(
        path=path,
        tags=frozenset(scalars.tags[number] for number in losses),
        first_step=float(steps[0]),
        last_step=float(steps[-1]),
        interval=float(np.median(np.diff(steps))) if len(steps) > 1 else 0.0,
        first_time=float(times.min()),
        last_time=float(times.max()),
    )


def _is_loss(tag: str) -> bool:
    rank = canonical_rank(tag)
    return rank is not None and rank[0] in {"loss", "eval_loss"}

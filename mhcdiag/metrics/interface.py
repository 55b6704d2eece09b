"""What a metric is: a named number of a record, and everything a user may ask about it.

A file of this package is one group of metrics: all that a command's record offers to gates. It

* holds one `Group`, which the tuple `GROUPS` in `mhcdiag.metrics` lists;
* names each metric by its path in the JSON report, beginning with the group's name: that name stands in policies,
  reports and baselines, so that it never changes;
* reads a record and nothing else, and never raises: what a record lacks is `missing`, which no gate passes;
* explains each metric in the four fields of `Explanation`, which `mhcdiag explain NAME` prints.

To add a metric, add it to its group. To add a group, add one file here and one entry in `GROUPS`.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from mhcdiag.results.check import Family, ValuePlace
from mhcdiag.results.gain import GainResult
from mhcdiag.results.health import HealthResult
from mhcdiag.results.numbers import Huge, Number
from mhcdiag.results.spikes import LogResult
from mhcdiag.results.verdict import Relation
from mhcdiag.results.weights import WeightsResult


@dataclass(frozen=True, kw_only=True, slots=True)
class Examined:
    """What is known of one checkpoint."""

    gain: GainResult
    """What was measured."""
    health: HealthResult | None = None
    """What was found wrong; None where it was not looked for."""
    weights: WeightsResult | None = None
    """What a scan of all weights found, or why there was none; None in reports from before."""

    @property
    def path(self) -> str:
        """The checkpoint as the user named it."""
        return self.gain.path


Record = Examined | LogResult
"""What is known of one input of a check: of a checkpoint, or of a log."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """What a metric found in a record."""

    value: Number | None
    """The number, in the metric's unit; None where the record does not hold it."""
    missing: str = ""
    """Why there is none, as a clause; empty where there is one."""
    place: ValuePlace | None = None
    """Where it comes from, as far as it has one place."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """What a gate wants to know of a metric beside its name."""

    series: str | None = None
    """Series of the log; `*` for all that were judged, None for the metric's own."""
    relation: Relation = Relation.AT_MOST
    """Which end of several numbers matters: the largest for an upper limit, the smallest for a lower one."""
    baseline: Record | None = None
    """The same input in the baseline, for metrics that count what is new."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Explanation:
    """A metric in words."""

    measures: str
    """What the number is, with its formula."""
    source: str
    """Paper, equation or code that it comes from."""
    false_alarms: str
    """When it is large and nothing is wrong."""
    action: str
    """What to do when it fails."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Metric:
    """A number that a gate can judge."""

    name: str
    """Path into the JSON reports, e.g. `gain.worst.backward.norm`."""
    family: Family
    """Which inputs have it."""
    unit: str
    """Unit of the value."""
    explanation: Explanation
    """What it means."""
    read: Callable[[Record, Question], Found] = field(repr=False)
    """Take it out of a record of its family."""
    series: str | None = None
    """Series of the log it is taken from unless a gate names another; None where it has none."""
    needs_baseline: bool = False
    """Whether it means nothing without a baseline."""
    bound: Callable[[GainResult], Number | None] | None = field(default=None, repr=False)
    """What no input can exceed, of the same number, None where nothing bounds it; no such function where the number
    is none of mappings, so that no evidence belongs to it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """The metrics of one command's record."""

    name: str
    """First word of their names: the command."""
    metrics: tuple[Metric, ...]
    """In the order in which they are listed."""


def extreme(numbers: Sequence[Number], relation: Relation) -> int:
    """Return the index of the number that decides: a NaN if there is one, else the largest (or smallest).

    `max` of Python would drop a NaN that does not come first: every comparison with it is false.

    Parameters
    ----------
    numbers
        At least one.
    relation
        Of the limit.
    """
    for index, number in enumerate(numbers):
        if not isinstance(number, Huge) and math.isnan(number):
            return index
    pick = max if relation is Relation.AT_MOST else min
    return pick(range(len(numbers)), key=numbers.__getitem__)

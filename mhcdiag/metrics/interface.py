"""What a metric is: a named number of a JSON document, and everything a user may ask about it."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mhcdiag.results.check import Family, Relation, ValuePlace
from mhcdiag.results.numbers import Huge, Number

Document = Mapping[str, Any]
"""A record as `results.documents` writes it: of one checkpoint (`gain_document`, and `health_document` under
"health") or of one log (`spikes_document`)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """What a metric found in a document."""

    value: Number | None
    """The number, in the metric's unit; None where the document does not hold it."""
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
    baseline: Document | None = None
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
    read: Callable[[Document, Question], Reading] = field(repr=False)
    """Take it out of a document."""
    series: str | None = None
    """Series of the log it is taken from unless a gate names another; None where it has none."""
    needs_baseline: bool = False
    """Whether it means nothing without a baseline."""


def extreme(numbers: Sequence[Number], relation: Relation) -> int:
    """Return the index of the number that decides: a NaN if there is one, else the largest (or smallest).

    Arguments: numbers: at least one; relation: of the limit. `max` of Python would drop a NaN that does not come first.
    """
    for index, number in enumerate(numbers):
        if not isinstance(number, Huge) and math.isnan(number):
            return index
    pick = max if relation is Relation.AT_MOST else min
    return pick(range(len(numbers)), key=numbers.__getitem__)

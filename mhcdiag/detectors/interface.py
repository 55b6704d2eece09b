"""What a detection rule takes and gives."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mhcdiag.results.spikes import Event

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Points:
    """Finite values of one series of one run, in the order in which they were logged."""

    step: Floats
    """The log's own step of each point."""
    line: NDArray[np.int64]
    """1-based line of each point."""
    value: Floats
    """The values; NaN and infinities are events of their own and stand elsewhere."""

    def __len__(self) -> int:
        return len(self.value)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Records:
    """Some consecutive records of one run, in the order of the log."""

    step: Floats
    """The log's own step of each record."""
    line: NDArray[np.int64]
    """1-based line of each record."""
    columns: dict[str, Floats]
    """Series by name; NaN where a record does not carry the series, or carries a NaN."""
    bad: dict[str, NDArray[np.bool_]]
    """For series with at least one: records whose value is a NaN or infinity that the run produced."""


class Flagger(Protocol):
    """State of a published rule in one pass over a series, in constant memory."""

    def feed(self, values: Floats) -> NDArray[np.bool_]:
        """Return which of the next values the rule flags.

        Arguments: values: finite values of the series, in order, any number of them.
        """
        ...


class Rule(Protocol):
    """A published detection rule with its defaults."""

    @property
    def name(self) -> str:
        """Name on the command line (`--rule NAME`)."""
        ...

    @property
    def title(self) -> str:
        """Whose rule it is, in a few words."""
        ...

    @property
    def explanation(self) -> str:
        """The rule in words: what it flags, its constants, what it misses, where it is published."""
        ...

    def start(self) -> Flagger:
        """Return the state of a pass over one series."""
        ...


class Tracker(Protocol):
    """Finds the events of one series of one run while it reads, in constant memory."""

    def feed(self, points: Points) -> list[Event]:
        """Take the next points and return the events that closed with them."""
        ...

    def open_event(self) -> Event | None:
        """Return the event that is open now, as it would stand if the log ended here."""
        ...

    def finish(self) -> list[Event]:
        """Return the event that is still open, for good."""
        ...

    def rewind(self, step: float) -> list[Event]:
        """Go back to a checkpoint and return the event that ends with it.

        Arguments: step: the first step that is written again.
        """
        ...

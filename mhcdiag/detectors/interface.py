"""What a detection rule takes and gives."""

from dataclasses import dataclass, replace
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


@dataclass(frozen=True, kw_only=True, slots=True)
class Thresholds:
    """How far a point must stand out to open an event; half of either closes it again."""

    z: float
    """Robust standard deviations of the noise."""
    min_rise: float
    """Rise relative to the level."""


LOSS = Thresholds(z=6.0, min_rise=0.02)
"""Spikes of real pre-training are 5 to 110 % high. Below 2 % nobody acts on them, however small the noise is;
normal noise passes six deviations once in a billion points. Light-tailed series need no more; see `tails`
for the others."""

GRADIENT_NORM = Thresholds(z=5.0, min_rise=0.5)
"""The norm scatters by 10 to 30 % from batch to batch: half as much again is the least that is worth a look.
Its events explain those of the loss and fail no gate, so that one deviation less buys warning before the
loss moves."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """Constants of the default rule."""

    loss: Thresholds = LOSS
    """For the loss and every other series but the gradient norm."""
    gradient_norm: Thresholds = GRADIENT_NORM
    """For the gradient norm."""
    window: int = 128
    """Points of the baseline. Fewer than a hundred make the scale itself too noisy; more lag behind the
    curve."""
    warmup: int = 64
    """Points that are only learned from: the scale of 64 points is known to 15 %, and the steep start is
    over."""

    def thresholds(self, series: str) -> Thresholds:
        """Return the thresholds of a series by its name."""
        return self.gradient_norm if series == "grad_norm" else self.loss


def adjusted(
    *,
    z: float | None = None,
    min_rise: float | None = None,
    window: int | None = None,
    warmup: int | None = None,
) -> Settings:
    """Return the default settings with some constants replaced; thresholds given apply to every series."""
    base = Settings()

    def thresholds(default: Thresholds) -> Thresholds:
        return Thresholds(z=default.z if z is None else z, min_rise=default.min_rise if min_rise is None else min_rise)

    return replace(
        base,
        loss=thresholds(base.loss),
        gradient_norm=thresholds(base.gradient_norm),
        window=base.window if window is None else window,
        warmup=base.warmup if warmup is None else warmup,
    )

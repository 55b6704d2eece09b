"""What a detection rule takes and gives, and the constants of ours.

Adding a published rule is a `PublishedRule` in `published` and its entry in `RULES` (`detectors/__init__.py`). A
flagger reads finite values once, in order and in pieces of any length, in constant memory, and flags the same ones
whatever the pieces: a log that is followed and a log that is read give the same report.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

LOSS, GRADIENT_NORM, LOSS_SCALE, SKIPPED = "loss", "grad_norm", "loss_scale", "skipped"
"""Series that are treated in a way of their own, by their canonical names (`runlogs.names.CANONICAL`)."""


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
class RecordBlock:
    """Some consecutive records of one run, in the order of the log."""

    step: Floats
    """The log's own step of each record."""
    line: NDArray[np.int64]
    """1-based line of each record."""
    columns: dict[str, Floats]
    """Series by name; NaN where a record does not carry the series, or carries a NaN."""
    bad: dict[str, NDArray[np.bool_]]
    """For series with at least one: records whose value is a NaN or infinity that the run produced."""
    others: Mapping[str, bool] = field(default_factory=dict)
    """Series that are watched for NaN only, and whether each is that of an evaluation."""


class Flagger(Protocol):
    """State of a published rule in one pass over a series, in constant memory."""

    def feed(self, values: Floats) -> NDArray[np.bool_]:
        """Return which of the next values the rule flags; any number of finite values of the series, in order."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class PublishedRule:
    """A detection rule that others have published, with their constants; one entry of `RULES`."""

    name: str
    """Name on the command line (`--rule NAME`)."""
    title: str
    """Whose rule it is, in a few words."""
    explanation: str
    """The rule in words: what it flags, its constants, what it misses; then `Source:` and where it is published."""
    start: Callable[[], Flagger]
    """Gives the state of a pass over one series."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Thresholds:
    """How far a point must stand out to open an event; half of either closes it again."""

    z: float
    """Robust standard deviations of the noise."""
    min_rise: float
    """Rise relative to the level."""


LOSS_THRESHOLDS = Thresholds(z=6.0, min_rise=0.02)
"""Spikes of real pre-training are 5 to 110 % high (23 hand-labelled ones in 32 series): rules that ask for twice the
mean or more find 4 of them at most. Below 2 % nobody acts on them, however small the noise is; normal noise passes six
deviations once in a billion points. Light-tailed series need no more; see `tails` for the others."""

NORM_THRESHOLDS = Thresholds(z=5.0, min_rise=0.5)
"""The norm scatters by 10 to 30 % from batch to batch: half as much again is the least that is worth a look.
Its events explain those of the loss and fail no gate, so that one deviation less buys warning before the
loss moves."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DetectionSettings:
    """Constants of the default rule."""

    loss: Thresholds = LOSS_THRESHOLDS
    """For the loss and every other series but the gradient norm."""
    gradient_norm: Thresholds = NORM_THRESHOLDS
    """For the gradient norm."""
    window: int = 128
    """Points of the baseline. Fewer than a hundred make the scale itself too noisy (a median deviation over 21 points
    gives 255 false groups on the same 32 series); more lag behind the curve (200 points miss half of the spikes of
    falling losses, 1000 three quarters)."""
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
) -> DetectionSettings:
    """Return the default settings with some constants replaced; thresholds given apply to every series."""
    base = DetectionSettings()

    def thresholds(default: Thresholds) -> Thresholds:
        return Thresholds(z=default.z if z is None else z, min_rise=default.min_rise if min_rise is None else min_rise)

    return replace(
        base,
        loss=thresholds(base.loss),
        gradient_norm=thresholds(base.gradient_norm),
        window=base.window if window is None else window,
        warmup=base.warmup if warmup is None else warmup,
    )

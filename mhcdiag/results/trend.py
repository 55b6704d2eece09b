"""How the gain of one training run changes over its steps, and where that leads if it goes on."""

import math
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from mhcdiag.results.evidence import compared
from mhcdiag.results.gain import Direction
from mhcdiag.results.numbers import Number, text, within
from mhcdiag.results.presented import Brief, Presented, figure_of
from mhcdiag.results.spikes import LogResult
from mhcdiag.results.verdict import GainEvidence, Limit, Skipped, Verdict
from mhcdiag.results.wording import badness, counted

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FP16_LARGEST = 65504.0
FP32_LARGEST = 3.4028234663852886e38


class Source(StrEnum):
    """What the gains were taken from."""

    CHECKPOINTS = "checkpoints"
    """Measured in checkpoints: the worst composite, definition `norm`, token mean."""
    LOG = "log"
    """Columns of a training log, as they were logged."""


MEASURED = {
    Source.CHECKPOINTS: "worst composite, norm, token mean",
    Source.LOG: "gain columns of the log, as logged",
}
"""What a gain of each source is."""


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class TrendPoint(Brief):
    """The gain at one step."""

    step: float
    """Optimiser step."""
    source: str
    """The checkpoint, or the column's name in the log."""
    gain: Mapping[Direction, Number]
    """Gain per direction; NaN where it could not be computed."""
    bound: Mapping[Direction, Number | None] = field(default_factory=dict)
    """What no input can exceed, where that is proved; empty for logs."""
    sampled: str = ""
    """Which inputs stand for real tokens, such as "random inputs"; empty where it is real tokens themselves."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Growth:
    """A straight line through ln(gain) over steps."""

    rate: float
    """Increase of ln(gain) per step; NaN where fewer than two points could be fitted."""
    low: float
    """Lower end of its 95 % interval; NaN for two points."""
    high: float
    """Upper end."""
    points: int
    """Points that were fitted."""
    first_step: float
    """First of them."""
    last_step: float
    """Last of them."""

    def doubling_steps(self) -> float:
        """Steps in which the gain doubles; negative where it halves, infinite where it stands still."""
        return math.inf if self.rate == 0 else math.log(2) / self.rate

    def doublings_per_1000(self) -> float:
        """Doublings in a thousand steps."""
        return 1000 * self.rate / math.log(2)

    def grows(self) -> bool:
        """Whether the whole interval is above 0 (for two points: the rate)."""
        return self.low > 0 if math.isfinite(self.low) else self.rate > 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Crossing:
    """When a limit was or will be passed if the growth goes on; a projection, no promise."""

    name: str
    """What the limit is: "1000", or "fp16"."""
    limit: float
    """The limit: a gain, or for fp16 and fp32 the size of the streams where a log holds it."""
    passed: float | None
    """First step at which a gain above it was measured."""
    expected: float | None
    """Step at which the line crosses it; None where it is passed, or the line does not rise."""
    earliest: float | None
    """The same for the upper end of the rate's interval."""
    latest: float | None
    """The same for its lower end; None where that does not rise: perhaps never."""


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class DirectionTrend(Brief):
    """One direction of a run."""

    growth: Growth
    """The fitted line."""
    crossings: tuple[Crossing, ...]
    """The levels in ascending order, then the ranges of fp16 and fp32."""
    newest: Number
    """Gain at the last step."""
    peak: Number
    """Largest gain; NaN if any is not finite."""
    peak_step: float
    """Its step."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Driver:
    """A site that drives the growth."""

    site: str
    """Name of the site."""
    share: float
    """Its share in the growth of ln(gain) of the whole model from the first checkpoint to the last."""


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class Beside(Brief):
    """Gains of the same run by another measure, to be compared by eye: no gate judges them."""

    source: Source
    """What they were taken from."""
    inputs: str
    """Inputs of the checkpoints' mappings; empty for logs."""
    points: tuple[TrendPoint, ...]
    """In order of steps."""

    @property
    def measured(self) -> str:
        """What a gain of them is."""
        return measured_words(self.source, self.inputs)


def measured_words(source: Source, inputs: str) -> str:
    """What a gain of a source is, with the inputs of checkpoints."""
    return f"{MEASURED[source]}, {inputs} inputs" if inputs else MEASURED[source]


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class TrendResult(Presented):
    """The trend of one run."""

    path: str
    """The input as the user named it (the first of several)."""
    source: Source
    """What the gains were taken from."""
    points: tuple[TrendPoint, ...]
    """In order of steps."""
    trends: Mapping[Direction, DirectionTrend]
    """Per direction."""
    drivers: Mapping[Direction, tuple[Driver, ...]]
    """The sites that drive the growth, the strongest first; empty for logs and where nothing grows."""
    stream_rms: float | None
    """Root mean square of the streams at the last step; None where it is not known, and 1 at gain 1 is assumed."""
    log: LogResult | None
    """Loss and gradient norm of the run, where a log was given."""
    skipped: tuple[Skipped, ...]
    """Checkpoints that could not be measured."""
    notes: tuple[str, ...]
    """What a reader must know."""
    inputs: str = ""
    """Inputs of the checkpoints' mappings; empty for logs."""
    is_of_study: bool = False
    """Whether the gains are measured as those of our toy study: in a log of `mhcdiag toy`."""
    beside: Beside | None = None
    """Gains of the same run by another measure; None where there is no other."""

    @property
    def measured(self) -> str:
        """What a gain of `points` is."""
        return measured_words(self.source, self.inputs)

    def plot(self) -> "Figure":
        """Draw the gain with its fitted line and what the log says, as `mhcdiag trend --plot` does."""
        return figure_of(self)

    def _headline(self) -> str:
        peaks = [f"{way} {text(trend.peak)} at step {trend.peak_step:,.0f}" for way, trend in self.trends.items()]
        return f"{counted(len(self.points), 'point')}, largest gain {', '.join(peaks)}"


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class JudgedTrend(Brief):
    """A trend and what the gates say of it."""

    result: TrendResult
    """The trend."""
    verdict: Verdict
    """Pass, fail, or could not judge."""
    limits: tuple[Limit, ...]
    """Every number that was held against a limit; for `crossing` the limit is the smallest step that passes."""
    reason: str
    """Why the verdict is no pass; empty where it is."""


def peak_limit(trend: TrendResult, direction: Direction, limit: Limit) -> Limit:
    """The limit on the largest gain of a run, with what it rests on at all steps and the largest of their bounds.

    Of the gains in a log nothing is known but that the running model gave them.
    """
    if trend.source is Source.LOG:
        return limit
    bounds = [point.bound.get(direction) for point in trend.points]
    known = [bound for bound in bounds if bound is not None]
    bound = max(known, key=badness) if len(known) == len(bounds) else None
    evidence = GainEvidence.CERTIFIED
    for point, of_point in zip(trend.points, bounds, strict=True):
        if of_point is None or not within(of_point, limit.limit):
            evidence = GainEvidence.SAMPLED if point.sampled else min(evidence, GainEvidence.MEASURED, key=_rank)
        if evidence is GainEvidence.SAMPLED:
            break
    return replace(limit, evidence=evidence, bound=bound)


def _rank(evidence: GainEvidence) -> int:
    return evidence.rank


def qualification_of_trend(result: TrendResult, limits: Iterable[Limit]) -> str:
    """`qualification` for a run of checkpoints."""
    sampled = [limit for limit in limits if limit.evidence is GainEvidence.SAMPLED]
    if not sampled:
        return ""
    least = max(sampled, key=lambda limit: (limit.bound is None, badness(limit.bound or 0.0)))
    known = "no bound" if least.bound is None else compared(least.bound, least.limit)
    inputs = next(point.sampled for point in result.points if point.sampled)
    command = f"mhcdiag trend {shlex.quote(result.path)} --inputs text"
    return f"on {inputs} only: {known}; measure real tokens with `{command}`"

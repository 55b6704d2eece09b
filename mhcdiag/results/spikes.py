"""What was found in a training log: events, spike scores, and how far the log could be judged."""

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Literal

from mhcdiag.results.judged import Unreadable
from mhcdiag.results.presented import Brief, Presented, figure_of
from mhcdiag.results.verdict import Limit, Verdict
from mhcdiag.results.wording import counted

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class EventKind(StrEnum):
    """Class of an event."""

    BLIP = "blip"
    """One logged point stands out; the next is back."""
    SPIKE = "spike"
    """Two or more logged points stand out, and the series came back (or the log ended before)."""
    SHIFT = "shift"
    """The level changed and the new level is stable."""
    DIVERGENCE = "divergence"
    """The smoothed series stays above its own running minimum until the end of the log."""
    NAN = "nan"
    """Values that are not finite."""
    GRADSPIKE = "gradspike"
    """Any excursion of the gradient norm."""
    LOSS_SCALE = "loss_scale"
    """The fp16 loss scaler reached its minimum or gave up."""
    RANK = "rank"
    """One rank's loss is more than twice the median of the ranks."""
    ISOLATED_NAN = "isolated_nan"
    """One or two values of another loss or norm than the main one are not finite, and the next one is."""


SHORT = "short: spikes not judged"
"""How a note begins that says that no run was longer than the warm-up."""

KINDS_BY_SEVERITY = (
    EventKind.NAN,
    EventKind.DIVERGENCE,
    EventKind.LOSS_SCALE,
    EventKind.RANK,
    EventKind.ISOLATED_NAN,
    EventKind.SHIFT,
    EventKind.SPIKE,
    EventKind.BLIP,
    EventKind.GRADSPIKE,
)
"""Kinds of events, the most severe first; those of the gradient norm explain the others, and come last."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Companion:
    """The event of the gradient norm that coincides with an event of the loss."""

    start: float
    """Step at which the gradient norm left its course."""
    peak: float
    """Step of its largest value."""
    value: float
    """That value; NaN when it was not finite."""
    first: str
    """Which series left its course first: `grad_norm`, `loss`, or `same step`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """A stretch of a series that left its own course. Steps are the log's."""

    kind: EventKind
    """Class of the event."""
    run: int
    """Index of the run inside the log, from 0."""
    line: int
    """Line of the first point, from 1."""
    start: float
    """Step of the first point that stands out."""
    peak: float
    """Step of the largest value; the first one for NaN."""
    end: float
    """Step of the last point that stands out (so far, if the event is open)."""
    value: float
    """Largest value of the event, in the unit of the series; NaN when nothing finite was logged."""
    baseline: float
    """Where the series stood before, in its unit: frozen at the start; running minimum for a divergence."""
    z: float
    """Height of the peak over the baseline in robust standard deviations of the noise; NaN for NaN."""
    points: int
    """Logged points that stand out, between start and end."""
    duration: float
    """Steps from the start to the first point that was back; up to the last point seen, where none was."""
    area: float
    """Sum of the excess over the baseline, point by point, in the unit of the series."""
    recovered: bool | None
    """Whether the series came back; None while the event is open at the end of the run."""
    recovery_steps: float | None
    """Steps from the peak to the first point that was back; None if it did not come back."""
    companion: Companion | None = None
    """For an event of the loss: the event of the gradient norm at the same time."""
    note: str = ""
    """What else is known: "ended by a resume"."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SpikeScore:
    """Share of the points that two published rules flag, between 0 and 1; NaN without a full window."""

    olmo2: float
    """7 standard deviations from the mean of the last 1000 points, both sides (arXiv 2501.00656)."""
    olmo_core: float
    """6 standard deviations above the mean of the last 128 points (OLMo-core's stability monitor)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunSpan:
    """One run inside a log."""

    first_step: float
    """Smallest step."""
    last_step: float
    """Largest step."""
    points: int
    """Records with a loss."""


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class BinnedCurve(Brief):
    """A series in bins, small enough to draw; entries of equal index belong to one bin."""

    run: tuple[int, ...]
    """Run of the bin."""
    step: tuple[float, ...]
    """First step."""
    low: tuple[float, ...]
    """Smallest finite value."""
    high: tuple[float, ...]
    """Largest finite value."""


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class SeriesResult(Brief):
    """What was found in one series, over all runs of the log."""

    source_name: str
    """Name of the series in the log."""
    points: int
    """Finite values and NaN."""
    spike_score: SpikeScore
    """Published scores, for comparison."""
    events: tuple[Event, ...]
    """Events in order of run and step."""
    curve: BinnedCurve
    """The series for drawing."""


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class LogResult(Presented):
    """The report on one log."""

    path: str
    """The log as the user named it."""
    format: str
    """Format that read it."""
    rule: str
    """Name of the detection rule."""
    lines: int
    """Lines of the log (records, in a format without lines)."""
    loss_lines: int
    """Lines that carry the key of the loss."""
    unreadable_lines: int
    """Of these, lines that give neither a number nor NaN."""
    runs: tuple[RunSpan, ...]
    """Runs in order of the log."""
    series: dict[str, SeriesResult]
    """Judged series by name; the main loss is `loss`."""
    notes: tuple[str, ...]
    """What was dropped, assumed or is worth knowing: one clause each."""
    merged_records: int = 0
    """Records with a loss that are no point of their own: copies, ranks and micro-batches of one step."""
    replaced_records: int = 0
    """Points that a resume wrote again; judged, and not counted in `runs`."""
    ignored_lines: int = 0
    """Lines with a loss that make no record; the notes say why."""
    doubt: str = ""
    """What in the log speaks against how its first lines were read; such a log cannot pass."""
    numbering: Literal["line", "record"] = "line"
    """What `line` of its events counts: lines, or records where the format has no lines."""

    def plot(self, *, log_scale: bool = False) -> "Figure":
        """Draw each series with its events, as `mhcdiag spikes --plot` does."""
        return figure_of(self, log_scale=log_scale)

    def _headline(self) -> str:
        found = [event.kind for series in self.series.values() for event in series.events]
        counts = [f"{found.count(kind)} {kind}" for kind in KINDS_BY_SEVERITY if kind in found]
        return f"{counted(self.lines, 'line')}: {', '.join(counts) or 'no events'}"


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class JudgedLog(Brief):
    """A report and what the gate says about it."""

    result: LogResult
    """The report."""
    verdict: Verdict
    """Pass, fail, or could not judge."""
    limits: tuple[Limit, ...]
    """Every number that was held against a limit."""
    reason: str = ""
    """Why it could not be judged, else why it failed; empty for a pass."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Advice:
    """What to do about an event that did not recover."""

    path: str
    """The log."""
    run: int
    """Run inside the log."""
    rewind_to: float
    """Step of the newest checkpoint that is old enough."""
    skip_until: float
    """Step up to which the data should be skipped."""
    text: str
    """The advice, with its source."""


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class Comparison(Brief):
    """The loss of one log minus that of another, step by step."""

    path: str
    """The log."""
    other: str
    """What it is compared with."""
    points: int
    """Steps that both have."""
    first_step: float
    """First of them."""
    last_step: float
    """Last of them."""
    final_gap: float
    """Median gap over the last tenth of these steps, in the unit of the loss."""
    largest_gap: float
    """The smoothed gap of largest size."""
    largest_gap_step: float
    """Its step."""
    opens: float | None
    """Step from which the smoothed gap stays outside its noise until the end; None if it closes or never
    opens."""
    step: tuple[float, ...]
    """Steps of the curves, thinned for drawing."""
    loss: tuple[float, ...]
    """Loss of the log at these steps."""
    other_loss: tuple[float, ...]
    """Loss of the other."""
    gap: tuple[float, ...]
    """The smoothed gap at these steps."""


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class SpikesReport(Brief):
    """The outcome of one command over all its inputs."""

    verdict: Verdict
    """Fail if any log failed, else unjudged if any could not be judged or read, else pass."""
    logs: tuple[JudgedLog | Unreadable, ...]
    """The inputs in the order given."""
    advice: tuple[Advice, ...] = ()
    """Advice on events that did not recover, where it was asked for."""
    comparison: Comparison | None = None
    """The gap to another log, where it was asked for."""

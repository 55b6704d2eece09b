"""Everything that is watched in one log: its series, its loss scaler, and which events belong together."""

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mhcdiag.detectors.interface import (
    GRADIENT_NORM,
    LOSS,
    LOSS_SCALE,
    SKIPPED,
    DetectionSettings,
    Floats,
    PublishedRule,
    RecordBlock,
)
from mhcdiag.detectors.nonfinite import (
    FAIRSEQ_MINIMUM,
    MINIMUM,
    OVERFLOWS,
    ScalerSearch,
    ScalerTracker,
    scaler_event,
)
from mhcdiag.detectors.other_series import OtherSeries, Recording
from mhcdiag.detectors.ranks import RankTracker
from mhcdiag.detectors.series import SeriesWatcher
from mhcdiag.results.spikes import Companion, Event, EventKind

LEAD = 10.0
"""How far before the loss the norm may have moved, in durations of a blip (the logging interval): published
chronicles name one to thirty steps; what lies further back is no part of the same event."""

NEAREST = 16
"""Events of the norm that are looked at, from the end of the loss event backwards."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Message:
    """A line in which the code itself reports trouble."""

    line: int
    """1-based line."""
    step: float
    """Step it belongs to; NaN when not known."""
    kind: str
    """`overflow`, `minimum`, `nan` or `skipped` (a gradient that was not finite, and a step that was not made)."""
    loss_scale: float
    """The loss scale it names; NaN for none."""
    text: str
    """The message."""


class LogWatcher:
    """Reads the records of one log run by run, in constant memory but for the events it finds.

    The same watcher reads whole logs and logs that grow, so that following a log cannot give another report than
    reading it once it is finished.

    Parameters
    ----------
    series
        Names of the series to judge.
    settings
        Of our rule.
    rule
        A published rule in place of ours.
    least_scale
        The scale at which the loss scaler gives up.
    tabular
        Whether the log is a table, whose writer may fill gaps with NaN in the main series, too.
    """

    def __init__(
        self,
        series: tuple[str, ...],
        settings: DetectionSettings,
        *,
        rule: PublishedRule | None = None,
        least_scale: float = MINIMUM,
        tabular: bool = False,
    ) -> None:
        self.series = {name: SeriesWatcher(name, settings, rule) for name in series}
        """Watched series by name; one that never came has no points."""
        self.others: dict[str, OtherSeries] = {}
        """Other losses and norms by name, watched for NaN only."""
        self.overflows = 0
        """Messages of skipped steps."""
        self.halvings = 0
        """Times the loss scale went down."""
        self.scales = 0
        """Records with a loss scale."""
        self._least_scale = least_scale
        self._scaler = ScalerTracker(least_scale)
        self._scaler_events: list[Event] = []
        self._nan_messages: list[Event] = []
        self._skips: list[Event] = []
        self._search = ScalerSearch()
        self._ended = False
        self._recordings = {name: [Recording()] for name in series} if tabular else {}
        self._run = 0
        self._rank_tracker = RankTracker()
        self._rank_events: list[Event] = []

    def ranks(self, *, step: float, line: int, losses: Sequence[float], ranks: Sequence[int]) -> None:
        """Take the losses that several ranks have logged of one step (see `RankTracker.feed`)."""
        self._keep_ranks(self._rank_tracker.feed(step=step, line=line, losses=losses, ranks=ranks))

    def feed(self, records: RecordBlock) -> None:
        """Take the next records of the run."""
        for name, watcher in self.series.items():
            if name not in records.columns:
                continue
            value = records.columns[name]
            bad = records.bad.get(name, np.zeros(len(value), dtype=np.bool_))
            # NaN without a mark: the record does not carry the series (evaluations between training records).
            here = np.isfinite(value) | bad
            rows = slice(None) if here.all() else here
            watcher.feed(step=records.step[rows], line=records.line[rows], value=value[rows], bad=bad[rows])
            if name in self._recordings:
                self._recordings[name][-1].feed(bad[rows])
        for name, evaluation in records.others.items():
            self._feed_other(name, records, evaluation=evaluation)
        if LOSS_SCALE in records.columns:
            here = np.isfinite(records.columns[LOSS_SCALE])
            self.scales += int(np.count_nonzero(here))
            self._feed_scale(step=records.step[here], line=records.line[here], scale=records.columns[LOSS_SCALE][here])
        if SKIPPED in records.columns:
            scale = records.columns.get(LOSS_SCALE)
            self._search.counter(records.step, records.columns[SKIPPED], scale)

    def _feed_other(self, name: str, records: RecordBlock, *, evaluation: bool) -> None:
        value, bad = records.columns[name], records.bad.get(name)
        bad = np.zeros(len(value), dtype=np.bool_) if bad is None else bad
        here = np.isfinite(value) | bad
        if here.any():
            if name not in self.others:
                self.others[name] = OtherSeries(evaluation=evaluation, run=self._run)
            self.others[name].feed(step=records.step[here], line=records.line[here], value=value[here], bad=bad[here])

    def _feed_scale(self, *, step: Floats, line: NDArray[np.int64], scale: Floats) -> None:
        closed = self._scaler.feed(step=step, line=line, scale=scale)
        self._scaler_events += [replace(event, run=self._run) for event in closed]
        for down in self._scaler.downs:
            self._search.answer(down)
        self._scaler.downs.clear()

    def message(self, message: Message) -> None:
        """Take a message that stands between the records."""
        # Twenty of these open every fp16 run: they are counted, and an event is what the records make of them.
        if message.kind == "overflow":
            self.overflows += 1
            self._search.answer(message.step)
            self._take_scale(message)
            return
        if message.kind == "minimum":
            event = scaler_event(line=message.line, step=message.step, value=message.loss_scale, note=message.text)
            self._scaler_events.append(replace(event, run=self._run))
            return
        # "Loss is NaN, stopping training" may be the only sign: the record of that step was never written.
        event = scaler_event(line=message.line, step=message.step, value=np.nan, note=message.text)
        found = self._skips if message.kind == "skipped" else self._nan_messages
        found.append(replace(event, kind=EventKind.NAN, run=self._run))

    def _take_scale(self, message: Message) -> None:
        """Follow the scaler by what its message names: a run that halves to the end may log no step between."""
        if math.isnan(message.loss_scale):
            return
        if "setting loss scale to" in message.text.lower():  # fairseq's words, whatever format reads the log
            self._scaler.minimum = min(self._scaler.minimum, FAIRSEQ_MINIMUM)
        self._feed_scale(
            step=np.array([message.step]), line=np.array([message.line]), scale=np.array([message.loss_scale])
        )

    def new_run(self) -> None:
        """Begin another run."""
        self._end_scaler()
        self._keep_ranks(self._rank_tracker.finish())
        self._run += 1
        self._search.new_run()
        for recordings in self._recordings.values():
            recordings.append(Recording())
        for watcher in self.series.values():
            watcher.new_run()
        for other in self.others.values():
            other.new_run()

    def rewind(self, step: float) -> None:
        """Go back to a checkpoint of the same run, to the first step that is written again."""
        for watcher in self.series.values():
            watcher.rewind(step)
        for other in self.others.values():
            other.rewind()

    def finish(self) -> None:
        """End the log: what is open stays open."""
        self._ended = True
        self._end_scaler()
        for watcher in self.series.values():
            watcher.finish()
        for other in self.others.values():
            other.finish()

    def events(self) -> dict[str, tuple[Event, ...]]:
        """Return all events by series, as they stand now."""
        found = {name: self._recorded(name, watcher.events()) for name, watcher in self.series.items()}
        found |= {name: tuple(other.events()) for name, other in self.others.items()}
        # An fp16 run skips a step whose norm is infinite and goes on with half the scale: no event while it searches.
        for name in found:
            if name == GRADIENT_NORM or (name in self.others and "norm" in name.lower()):
                found[name] = tuple(event for event in found[name] if not self._is_skip(event))
        if LOSS in found:
            messages = list(self.nan_messages())
            losses = with_companions(_with_messages(found[LOSS], messages), found.get(GRADIENT_NORM, ()))
            both = [*losses, *self.rank_events()]
            found[LOSS] = tuple(sorted(both, key=lambda event: event.run)) if len(both) > len(losses) else losses
        if scaler := self.scaler_events():
            found[LOSS_SCALE] = scaler
        return found

    def scaler_events(self) -> tuple[Event, ...]:
        """Return the events of the loss scaler, as they stand now."""
        found = [*self._scaler_events]
        if (event := self._scaler.open_event()) is not None:
            found.append(replace(event, run=self._run))
        return tuple(sorted(found, key=lambda event: event.line))

    def rank_events(self) -> tuple[Event, ...]:
        """Return the stretches in which a rank differs, as they stand now."""
        event = self._rank_tracker.open_event()
        return (*self._rank_events, *((replace(event, run=self._run),) if event is not None else ()))

    def _keep_ranks(self, events: list[Event]) -> None:
        self._rank_events += [replace(event, run=self._run) for event in events]

    def nan_messages(self) -> tuple[Event, ...]:
        """Return the messages in which the code itself reports NaN."""
        # A step that is skipped for its gradient is part of a scaler's search, where there is one.
        skips = [event for event in self._skips if not self._search.answered_in(event.run)]
        return tuple(sorted([*self._nan_messages, *skips], key=lambda event: event.line))

    def skipped_norms(self) -> int:
        """Return how many gradient norms were not finite because the scaler was searching."""
        watcher = self.series.get(GRADIENT_NORM)
        if watcher is None:
            return 0
        return sum(event.points for event in watcher.events() if self._is_skip(event))

    def unrecorded(self) -> tuple[str, ...]:
        """Return the evaluations that never were finite and are taken as not made."""
        return tuple(name for name, other in self.others.items() if other.unrecorded())

    def blanks(self) -> tuple[str, ...]:
        """Return the series in which NaN is taken as "not recorded"."""
        main = [name for name, runs in self._recordings.items() if any(run.blank for run in runs)]
        return (*main, *(name for name, other in self.others.items() if other.recording.blank))

    def scaler_halvings(self) -> int:
        """Return how often the loss scale went down."""
        return self.halvings + self._scaler.halvings

    def _recorded(self, name: str, events: tuple[Event, ...]) -> tuple[Event, ...]:
        """Leave out the NaN that stand for "not recorded", until no value comes any more."""
        runs = self._recordings.get(name)
        if runs is None or not any(run.blank for run in runs):
            return events
        return tuple(
            event
            for event in events
            if event.kind is not EventKind.NAN
            or not runs[event.run].blank
            or (event.recovered is None and runs[event.run].overdue)
        )

    def _is_skip(self, event: Event) -> bool:
        watcher = self.series.get(GRADIENT_NORM)
        # While the log grows, the answer to the newest norm may stand in the next record.
        newest = event.recovered is None and event.run == self._run and not self._ended
        if newest and event.kind is EventKind.NAN and event.points < OVERFLOWS and self._search.searches:
            return True
        return self._search.excuses(event, interval=1.0 if watcher is None else watcher.interval)

    def _end_scaler(self) -> None:
        self._scaler_events += [replace(event, run=self._run) for event in self._scaler.finish()]
        self.halvings += self._scaler.halvings
        self._scaler = ScalerTracker(self._least_scale)


def _with_messages(events: tuple[Event, ...], messages: list[Event]) -> tuple[Event, ...]:
    """Add the NaN messages that no recorded NaN explains."""
    recorded = [event for event in events if event.kind is EventKind.NAN]
    extra: list[Event] = []
    for message in messages:
        # Code checks the loss before or after it logs it: one step to either side is the same NaN.
        known = any(
            event.run == message.run and event.start - 1 <= message.start <= event.end + 1 for event in recorded
        )
        if not known and (not extra or extra[-1].note != message.note):
            extra.append(message)
    return tuple(sorted([*events, *extra], key=lambda event: (event.run, event.line)))


def with_companions(losses: tuple[Event, ...], norms: tuple[Event, ...]) -> tuple[Event, ...]:
    """Return the events of the loss, each with the event of the gradient norm that coincides.

    Which of the two left its course first is worth knowing: in GLM-130B's chronicle the gradients of the embeddings
    lead the loss by some steps.

    Parameters
    ----------
    losses, norms
        Events in order of run and start.
    """
    starts = [(norm.run, norm.start) for norm in norms]
    found: list[Event] = []
    for event in losses:
        after = bisect_right(starts, (event.run, max(event.end, event.start)))
        found.append(_with_companion(event, norms[max(after - NEAREST, 0) : after]))
    return tuple(found)


def _with_companion(event: Event, norms: tuple[Event, ...]) -> Event:
    # Logs with a record every 20 steps and logs with one every step: an interval is the unit, and at least one step.
    reach = LEAD * max(event.duration / max(event.points, 1), 1.0)
    near = [norm for norm in norms if norm.run == event.run and norm.end >= event.start - reach]
    if not near:
        return event
    # The strongest counts; one that is not finite beats all.
    norm = max(near, key=lambda one: (math.isnan(one.value), one.value))
    first = "same step" if norm.start == event.start else "grad_norm" if norm.start < event.start else "loss"
    return replace(event, companion=Companion(start=norm.start, peak=norm.peak, value=norm.value, first=first))

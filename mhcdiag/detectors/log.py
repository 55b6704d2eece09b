"""Everything that is watched in one log: its series, its loss scaler, and which events belong together."""

import math
from bisect import bisect_right
from dataclasses import dataclass, replace

import numpy as np

from mhcdiag.detectors.interface import (
    GRADIENT_NORM,
    LOSS,
    LOSS_SCALE,
    DetectionSettings,
    PublishedRule,
    RecordBlock,
)
from mhcdiag.detectors.nonfinite import MINIMUM, ScalerTracker, scaler_event
from mhcdiag.detectors.series import SeriesWatcher
from mhcdiag.results.spikes import Companion, Event, EventKind

OVERFLOWS = 4
"""Consecutive gradient norms that are not finite and no longer look like the search of an fp16 scaler: single overflows
are normal, a row of them precedes a collapse."""

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
    """`overflow`, `minimum` or `nan`."""
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
    """

    def __init__(
        self,
        series: tuple[str, ...],
        settings: DetectionSettings,
        *,
        rule: PublishedRule | None = None,
        least_scale: float = MINIMUM,
    ) -> None:
        self.series = {name: SeriesWatcher(name, settings, rule) for name in series}
        """Watched series by name; one that never came has no points."""
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
        self._has_scaler = False
        self._run = 0

    def feed(self, records: RecordBlock) -> None:
        """Take the next records of the run."""
        for name, watcher in self.series.items():
            if name not in records.columns:
                continue
            value = records.columns[name]
            bad = records.bad.get(name, np.zeros(len(value), dtype=np.bool_))
            # NaN without a mark: the record does not carry the series (evaluations between training records).
            here = np.isfinite(value) | bad
            if here.all():
                watcher.feed(step=records.step, line=records.line, value=value, bad=bad)
            elif here.any():
                watcher.feed(step=records.step[here], line=records.line[here], value=value[here], bad=bad[here])
        if LOSS_SCALE in records.columns:
            scale = records.columns[LOSS_SCALE]
            here = np.isfinite(scale)
            self._has_scaler |= bool(here.any())
            self.scales += int(np.count_nonzero(here))
            closed = self._scaler.feed(step=records.step[here], line=records.line[here], scale=scale[here])
            self._scaler_events += [replace(event, run=self._run) for event in closed]

    def message(self, message: Message) -> None:
        """Take a message that stands between the records."""
        # Twenty of these open every fp16 run: they are counted, and an event is what the records make of them.
        if message.kind == "overflow":
            self.overflows += 1
            self._has_scaler = True
            return
        if message.kind == "minimum":
            event = scaler_event(line=message.line, step=message.step, value=message.loss_scale, note=message.text)
            self._scaler_events.append(replace(event, run=self._run))
            return
        # "Loss is NaN, stopping training" may be the only sign: the record of that step was never written.
        event = scaler_event(line=message.line, step=message.step, value=np.nan, note=message.text)
        self._nan_messages.append(replace(event, kind=EventKind.NAN, run=self._run))

    def new_run(self) -> None:
        """Begin another run."""
        self._end_scaler()
        self._run += 1
        for watcher in self.series.values():
            watcher.new_run()

    def rewind(self, step: float) -> None:
        """Go back to a checkpoint of the same run, to the first step that is written again."""
        for watcher in self.series.values():
            watcher.rewind(step)

    def finish(self) -> None:
        """End the log: what is open stays open."""
        self._end_scaler()
        for watcher in self.series.values():
            watcher.finish()

    def events(self) -> dict[str, tuple[Event, ...]]:
        """Return all events by series, as they stand now."""
        found = {name: watcher.events() for name, watcher in self.series.items()}
        # An fp16 run skips a step whose norm is infinite and goes on with half the scale: no event while it searches.
        if GRADIENT_NORM in found and self._has_scaler:
            found[GRADIENT_NORM] = tuple(event for event in found[GRADIENT_NORM] if not self._is_overflow(event))
        if LOSS in found:
            found[LOSS] = with_companions(_with_messages(found[LOSS], self._nan_messages), found.get(GRADIENT_NORM, ()))
        if scaler := self.scaler_events():
            found[LOSS_SCALE] = scaler
        return found

    def scaler_events(self) -> tuple[Event, ...]:
        """Return the events of the loss scaler, as they stand now."""
        found = [*self._scaler_events]
        if (event := self._scaler.open_event()) is not None:
            found.append(replace(event, run=self._run))
        return tuple(sorted(found, key=lambda event: event.line))

    def nan_messages(self) -> tuple[Event, ...]:
        """Return the messages in which the code itself reports NaN."""
        return tuple(self._nan_messages)

    def skipped_norms(self) -> int:
        """Return how many gradient norms were not finite because the scaler was searching."""
        watcher = self.series.get(GRADIENT_NORM)
        if watcher is None or not self._has_scaler:
            return 0
        return sum(event.points for event in watcher.events() if self._is_overflow(event))

    def scaler_halvings(self) -> int:
        """Return how often the loss scale went down."""
        return self.halvings + self._scaler.halvings

    def _is_overflow(self, event: Event) -> bool:
        return event.kind is EventKind.NAN and event.points < OVERFLOWS

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

"""Which event of the gradient norm belongs to an event of the loss, and which of the two came first."""

import math
from bisect import bisect_right
from dataclasses import replace

from mhcdiag.results.spikes import Companion, Event

LEAD = 10.0
"""How far before the loss the norm may have moved, in durations of a blip (the logging interval): published
chronicles tell of one to thirty steps; what lies further back is no part of the same event."""

NEAREST = 16
"""Events of the norm that are looked at, from the end of the loss event backwards."""


def with_companions(losses: tuple[Event, ...], norms: tuple[Event, ...]) -> tuple[Event, ...]:
    """Return the events of the loss, each with the event of the gradient norm that coincides.

    Arguments: losses, norms: events in order of run and start.
    """
    starts = [(norm.run, norm.start) for norm in norms]
    found: list[Event] = []
    for event in losses:
        after = bisect_right(starts, (event.run, max(event.end, event.start)))
        found.append(_with_companion(event, norms[max(after - NEAREST, 0) : after]))
    return tuple(found)


def _with_companion(event: Event, norms: tuple[Event, ...]) -> Event:
    reach = LEAD * max(event.duration / max(event.points, 1), 1.0)
    near = [norm for norm in norms if norm.run == event.run and norm.end >= event.start - reach]
    if not near:
        return event
    # The strongest counts; one that is not finite beats all.
    norm = max(near, key=lambda one: (math.isnan(one.value), one.value))
    first = "same step" if norm.start == event.start else "grad_norm" if norm.start < event.start else "loss"
    return replace(event, companion=Companion(start=norm.start, peak=norm.peak, value=norm.value, first=first))

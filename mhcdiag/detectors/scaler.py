"""The fp16 loss scaler: at its minimum it can no longer follow, and the run is about to die.

A scaler that halves has met an overflow; twenty of them open every fp16 run, and a few later are normal.
It is at its minimum when the scale has come down to it from above: the constant 1.0 that bf16 runs print
is no scaler.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mhcdiag.detectors.interface import Floats
from mhcdiag.results.spikes import Event, Kind

MINIMUM = 1.0
"""Smallest scale of Megatron-LM and DeepSpeed."""

FAIRSEQ_MINIMUM = 1e-4
"""Smallest scale of fairseq and metaseq, where scales below 1 are part of the search."""


class ScalerTracker:
    """Watches the loss scale of one run.

    Arguments: minimum: the scale at which the scaler gives up.
    """

    def __init__(self, minimum: float = MINIMUM) -> None:
        self.halvings = 0
        """Times the scale went down."""
        self._minimum = minimum
        self._last = np.nan
        self._was_above = False
        self._open: Event | None = None

    def feed(self, *, step: Floats, line: NDArray[np.int64], scale: Floats) -> list[Event]:
        """Take the scales of the next records and return the events that closed with them."""
        closed: list[Event] = []
        changed = np.flatnonzero(np.diff(scale, prepend=self._last) != 0)
        for position in changed.tolist():
            value, before = float(scale[position]), float(scale[position - 1]) if position else self._last
            self.halvings += value < before
            if value > self._minimum:
                self._was_above = True
                if self._open is not None:
                    closed.append(_closed(self._open, float(step[position])))
                    self._open = None
            elif self._was_above and self._open is None:
                self._open = scaler_event(
                    line=int(line[position]), step=float(step[position]), value=value, before=before
                )
        if len(scale):
            self._last = float(scale[-1])
        return closed

    def open_event(self) -> Event | None:
        """Return the event that is open now."""
        return self._open

    def finish(self) -> list[Event]:
        """Return the event that is still open, for good."""
        event, self._open = self._open, None
        return [] if event is None else [event]


def scaler_event(*, line: int, step: float, value: float, before: float = np.nan, note: str = "") -> Event:
    """Return an event of the scaler that is open.

    Arguments: line, step: where it was logged; value, before: loss scale then and before; note: the message.
    """
    return Event(
        kind=Kind.LOSS_SCALE,
        run=0,
        line=line,
        start=step,
        peak=step,
        end=step,
        value=value,
        baseline=before,
        z=np.nan,
        points=1,
        duration=0.0,
        area=np.nan,
        recovered=None,
        recovery_steps=None,
        note=note,
    )


def _closed(event: Event, back: float) -> Event:
    return replace(event, duration=back - event.start, recovered=True, recovery_steps=back - event.start)

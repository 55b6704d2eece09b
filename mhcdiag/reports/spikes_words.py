"""How events are put into words, on the terminal and in a log that is followed."""

import math

from mhcdiag.results.numbers import text
from mhcdiag.results.spikes import Companion, Event, EventKind
from mhcdiag.results.wording import step_text


def value_text(value: float) -> str:
    """Return a value with four digits; NaN as what it is."""
    return text(value) if value >= 0 or math.isnan(value) else f"-{text(-value)}"


def score_text(share: float) -> str:
    """Return a spike score in percent."""
    return "n/a" if math.isnan(share) else f"{100 * share:.3f} %"


def span_text(event: Event) -> str:
    """Return the steps of an event."""
    if event.end == event.start:
        return step_text(event.start)
    return f"{step_text(event.start)} to {step_text(event.end)}"


def state_text(event: Event) -> str:
    """Return what became of an event, and what the gradient norm did."""
    return "; ".join(filter(None, (outcome_text(event), detail_text(event))))


def detail_text(event: Event) -> str:
    """Return what the gradient norm did at an event, and what else there is to say; may be empty."""
    companion = "" if event.companion is None else _companion_text(event.companion)
    return "; ".join(filter(None, (companion, event.note)))


def event_line(series: str, event: Event, *, opened: bool) -> str:
    """Return one line for an event that has just opened or closed.

    Parameters
    ----------
    series
        Name of the series.
    event
        The event as it stands.
    opened
        False when it has closed.
    """
    where = f"at step {step_text(event.start)}" if opened else f"steps {span_text(event)}"
    words = f"{'open  ' if opened else 'closed'} {event.kind} in {series}, {where}, line {event.line:,}"
    if not math.isnan(event.value):
        words += f": {value_text(event.value)} from {value_text(event.baseline)}"
    if math.isfinite(event.z):
        words += f" (z {event.z:.1f})"
    return words if opened else f"{words}: {state_text(event)}"


def outcome_text(event: Event) -> str:
    """Return what became of an event, in steps of the log."""
    if event.recovered is None:
        return "open" if event.kind is not EventKind.LOSS_SCALE else "at minimum"
    if event.recovered and event.recovery_steps is not None:
        return f"back after {step_text(event.recovery_steps)}"
    return "new level" if event.kind is EventKind.SHIFT else "not back"


def _companion_text(companion: Companion) -> str:
    value = "not finite" if math.isnan(companion.value) else value_text(companion.value)
    order = {"grad_norm": "moved first", "loss": "moved later", "same step": "at the same step"}[companion.first]
    return f"grad norm {value} at {step_text(companion.peak)}, {order}"

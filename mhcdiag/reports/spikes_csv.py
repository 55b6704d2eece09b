"""Events of training logs as CSV, one line per event."""

import csv
import io
import math

from mhcdiag.results.judged import Unreadable
from mhcdiag.results.spikes import Event, SpikesReport

COLUMNS = (
    "path", "series", "kind", "run", "line", "start", "peak", "end", "value", "baseline", "z", "points",
    "duration", "area", "recovered", "recovery_steps", "grad_norm_start", "grad_norm_peak", "grad_norm_value",
    "first", "note",
)  # fmt: skip


def spikes_csv(report: SpikesReport) -> str:
    """Return all events of all logs; what is not known is an empty cell.

    Arguments: report: over all logs of a command.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for log in report.logs:
        if isinstance(log, Unreadable):
            continue
        for name, series in log.result.series.items():
            writer.writerows([log.result.path, name, *_cells(event)] for event in series.events)
    return text.getvalue()


def _cells(event: Event) -> list[str]:
    companion = event.companion
    recovered = "" if event.recovered is None else str(event.recovered).lower()
    numbers = [_text(one) for one in (event.start, event.peak, event.end, event.value, event.baseline, event.z)]
    beside = ["", "", "", ""]
    if companion is not None:
        beside = [_text(companion.start), _text(companion.peak), _text(companion.value), companion.first]
    return [
        str(event.kind),
        str(event.run),
        str(event.line),
        *numbers,
        str(event.points),
        _text(event.duration),
        _text(event.area),
        recovered,
        _text(event.recovery_steps),
        *beside,
        event.note,
    ]


def _text(value: float | None) -> str:
    if value is None or not math.isfinite(value):
        return ""
    return str(int(value)) if value == int(value) and abs(value) < 2**53 else repr(value)

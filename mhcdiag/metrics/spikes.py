"""Metrics of training logs: events by kind, events that a baseline does not have, published spike scores."""

from collections.abc import Callable, Iterator
from typing import Any

from mhcdiag.metrics.interface import Document, Explanation, Metric, Question, Reading, extreme
from mhcdiag.results.check import Family, ValuePlace
from mhcdiag.results.spikes import EventKind

_Reader = Callable[[Document, tuple[str, ...], str, Question], Reading]

EVERY = "*"
"""In place of a series: all that were judged."""

NEAR = 3
"""Logged points within which an event of the baseline counts as the same."""

_OWN_SERIES = {EventKind.GRADSPIKE: "grad_norm", EventKind.LOSS_SCALE: "loss_scale"}


def spikes_metrics() -> Iterator[Metric]:
    """Yield every metric of a log."""
    for kind in EventKind:
        series = _OWN_SERIES.get(kind, "loss")
        yield _metric(f"count.{kind}", _KINDS[kind], _count, series=series, unit="events")
    yield _metric("new", _NEW, _new, series="loss", unit="events", needs_baseline=True)
    for rule in ("olmo2", "olmo_core"):
        yield _metric(f"spike_score.{rule}", _SCORE, _score, series="loss", unit="fraction")
    yield _metric("points", _POINTS, _points, series="loss", unit="points")
    yield _metric("unreadable_lines", _UNREADABLE, _unreadable, series=None, unit="lines")


def _metric(
    path: str,
    explanation: Explanation,
    read: _Reader,
    *,
    series: str | None,
    unit: str,
    needs_baseline: bool = False,
) -> Metric:
    keys = tuple(path.split("."))
    return Metric(
        name=f"spikes.{path}",
        family=Family.LOG,
        unit=unit,
        explanation=explanation,
        read=lambda document, question: read(document, keys, question.series or series or "", question),
        series=series,
        needs_baseline=needs_baseline,
    )


def _count(document: Document, keys: tuple[str, ...], series: str, _question: Question) -> Reading:
    kind = EventKind(keys[1])
    missing = _missing(document, series)
    if missing and series != _OWN_SERIES.get(EventKind.LOSS_SCALE):
        return Reading(value=None, missing=missing)
    # A divergence that a resume ended is over; the default gate of `mhcdiag spikes` does not count it either.
    return _counted(
        event
        for event in _events(document, series)
        if event["kind"] == kind and not (kind is EventKind.DIVERGENCE and event["recovered"] is not None)
    )


def _new(document: Document, _keys: tuple[str, ...], series: str, question: Question) -> Reading:
    if question.baseline is None:
        return Reading(value=None, missing="there is no baseline to compare with")
    missing = _missing(document, series) or _missing(question.baseline, series)
    if missing:
        return Reading(value=None, missing=missing)
    before = list(_events(question.baseline, series))
    near = NEAR * _interval(document)
    return _counted(
        event for event in _events(document, series) if not any(_same(event, old, near=near) for old in before)
    )


def _score(document: Document, keys: tuple[str, ...], series: str, question: Question) -> Reading:
    missing = _missing(document, series)
    if missing:
        return Reading(value=None, missing=missing)
    names = document["series"] if series == EVERY else [series]
    scores = [document["series"][name]["spike_score"][keys[1]] for name in names]
    known = [float(score) for score in scores if score is not None]
    if not known:
        window = 1000 if keys[1] == "olmo2" else 128
        return Reading(value=None, missing=f"no run is long enough for this score ({window} points)")
    return Reading(value=known[extreme(known, question.relation)])


def _points(document: Document, _keys: tuple[str, ...], series: str, question: Question) -> Reading:
    missing = _missing(document, series)
    if missing:
        return Reading(value=None, missing=missing)
    names = document["series"] if series == EVERY else [series]
    points = [float(document["series"][name]["points"]) for name in names]
    return Reading(value=points[extreme(points, question.relation)])


def _unreadable(document: Document, _keys: tuple[str, ...], _series: str, _question: Question) -> Reading:
    return Reading(value=float(document["unreadable_lines"]))


def _missing(document: Document, series: str) -> str:
    known = document["series"]
    if series == EVERY:
        return "" if known else "no series could be judged"
    if series in known:
        return ""
    return f"the log has no judged series '{series}'; it has {', '.join(known) or 'none'}"


def _events(document: Document, series: str) -> Iterator[dict[str, Any]]:
    for name, one in document["series"].items():
        if series in (EVERY, name):
            yield from one["events"]


def _counted(events: Iterator[dict[str, Any]]) -> Reading:
    found = list(events)
    if not found:
        return Reading(value=0.0)
    first = found[0]
    step = first["start"]
    text = f"step {step:,}" if step is not None else "step unknown"
    return Reading(value=float(len(found)), place=ValuePlace(text=text, line=first["line"]))


def _same(event: dict[str, Any], old: dict[str, Any], *, near: float) -> bool:
    if event["kind"] != old["kind"] or event["start"] is None or old["start"] is None:
        return False
    return bool(abs(old["start"] - event["start"]) <= near)


def _interval(document: Document) -> float:
    """Return the steps between two logged points, on average over the longest run."""
    longest = max(document["runs"], key=lambda run: run["points"], default=None)
    if longest is None or longest["points"] < 2:
        return 1.0
    steps = float(longest["last_step"] - longest["first_step"])
    return steps / int(longest["points"] - 1)


_OURS = "mhcdiag's own rule: see `mhcdiag explain mhcdiag`"


def _kind(measures: str, false_alarms: str, action: str, source: str = _OURS) -> Explanation:
    return Explanation(measures=measures, source=source, false_alarms=false_alarms, action=action)


_KINDS = {
    EventKind.BLIP: _kind(
        "Number of events in which one logged point stands out of its own recent baseline and the next is back.",
        "Heavy-tailed noise of small batches; a log that prints every 100th step shows longer spikes as blips.",
        "Usually nothing; look at the data of that step.",
    ),
    EventKind.SPIKE: _kind(
        "Number of events in which two or more points stand out and the series came back.",
        "Curricula and changes of the data that last a few points.",
        "`mhcdiag spikes --advice` says how far to rewind and what to skip; allow known ones in the policy.",
    ),
    EventKind.SHIFT: _kind(
        "Number of times the level changed for good.",
        "Phases of the data, changes of the batch size or of the loss shift levels too.",
        "Compare with the schedule of the run; allow it in the policy with its reason.",
    ),
    EventKind.DIVERGENCE: _kind(
        "Number of runs whose smoothed series stays above its own running minimum until the end; one that a resume "
        "ended is not counted.",
        "A change to harder data near the end of a run.",
        "Stop; go back to a checkpoint before the start of the event, lower the learning rate.",
    ),
    EventKind.NAN: _kind(
        "Number of stretches of values that are not finite.",
        "Trainers that write NaN for what they did not record are known by format; others may need `series`.",
        "Stop; go back to the last good checkpoint.",
    ),
    EventKind.GRADSPIKE: _kind(
        "Number of excursions of the gradient norm.",
        "Warm-up and changes of the data; single ones are part of most runs.",
        "Look whether the loss followed; gradient clipping hides their size in the weights, not in the log.",
    ),
    EventKind.LOSS_SCALE: _kind(
        "Number of times the fp16 loss scaler reached its minimum or gave up.",
        "None known; a halving alone is not counted.",
        "Gradients overflow fp16: train in bf16, or find what grows.",
    ),
}
_NEW = Explanation(
    measures=f"Number of events without an event of the same kind within {NEAR} logged points in the baseline.",
    source="definition",
    false_alarms="Another seed has its spikes at other steps.",
    action="Look at the new events; `--update-baseline` accepts them.",
)
_SCORE = Explanation(
    measures="Share of points that a published rule flags, 0 to 1. olmo2: 7 standard deviations from the mean of 1000 "
    "points, both sides; olmo_core: 6 standard deviations above the mean of 128 points.",
    source="arXiv 2501.00656 (OLMo 2); OLMo-core's stability monitor",
    false_alarms="Trends and heavy tails raise it: see `mhcdiag explain olmo-core`. Allowed events stay in it.",
    action="Compare with runs that went well.",
)
_POINTS = Explanation(
    measures="Finite values and NaN of the series. Use it with `min`, to fail a job that logged too little.",
    source="definition",
    false_alarms="None known.",
    action="Find out why the job stopped logging.",
)
_UNREADABLE = Explanation(
    measures="Lines that carry the key of the loss and give neither a number nor NaN.",
    source="definition",
    false_alarms="Words in place of numbers that mean nothing is wrong, such as 'n/a'.",
    action="Force the format (`log_format`) or the key (`loss_key`) in the policy's [spikes] table.",
)

"""Metrics of training logs: events by kind, events that a baseline does not have, published spike scores."""

import math
from collections.abc import Callable, Iterable, Iterator
from functools import partial

from mhcdiag.metrics.interface import Explanation, Found, Group, Metric, Question, Record, extreme
from mhcdiag.results.check import Family, ValuePlace
from mhcdiag.results.numbers import step
from mhcdiag.results.spikes import Event, EventKind, LogResult, SeriesResult

_Reader = Callable[[LogResult, str, Question], Found]

EVERY = "*"
"""In place of a series: all that were judged."""

NEAR = 3
"""Logged points within which an event of the baseline counts as the same."""

_OWN_SERIES = {EventKind.GRADSPIKE: "grad_norm", EventKind.LOSS_SCALE: "loss_scale", EventKind.ISOLATED_NAN: EVERY}

_WINDOWS = {"olmo2": 1000, "olmo_core": 128}
"""Points that a published score needs before it says anything."""

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
    EventKind.RANK: _kind(
        "Number of stretches in which one rank's loss is more than twice the median of at least three ranks.",
        "Micro-batches of very unequal length or task.",
        "Look at the data and the hardware of that rank.",
    ),
    EventKind.ISOLATED_NAN: _kind(
        "Number of times one or two values in a row of another loss or norm than the main one were not finite.",
        "Auxiliary losses over an empty set of tokens or boxes.",
        "Find what divides by zero there; three in a row, or NaN to the end, count as `nan`.",
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


def _metrics() -> Iterator[Metric]:
    for kind in EventKind:
        series = _OWN_SERIES.get(kind, "loss")
        yield _metric(f"count.{kind}", _KINDS[kind], partial(_count, kind), series=series, unit="events")
    yield _metric("new", _NEW, _new, series="loss", unit="events", needs_baseline=True)
    for rule in _WINDOWS:
        yield _metric(f"spike_score.{rule}", _SCORE, partial(_score, rule), series="loss", unit="fraction")
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
    def read_it(record: Record, question: Question) -> Found:
        assert isinstance(record, LogResult)
        return read(record, question.series or series or "", question)

    return Metric(
        name=f"spikes.{path}",
        family=Family.LOG,
        unit=unit,
        explanation=explanation,
        read=read_it,
        series=series,
        needs_baseline=needs_baseline,
    )


def _count(kind: EventKind, log: LogResult, series: str, _question: Question) -> Found:
    missing = _missing(log, series)
    # A log that carries no loss scale has no scaler that could give up: the built-in gate must pass on bf16 runs.
    if missing and series != _OWN_SERIES[EventKind.LOSS_SCALE]:
        return Found(value=None, missing=missing)
    # A divergence that a resume ended is over; the default gate of `mhcdiag spikes` does not count it either.
    counted = (
        event
        for event in _events(log, series)
        if event.kind is kind and not (kind is EventKind.DIVERGENCE and event.recovered is not None)
    )
    return _counted(counted, log)


def _new(log: LogResult, series: str, question: Question) -> Found:
    before = question.baseline
    if before is None:
        return Found(value=None, missing="there is no baseline to compare with")
    assert isinstance(before, LogResult)
    missing = _missing(log, series) or _missing(before, series)
    if missing:
        return Found(value=None, missing=missing)
    known = list(_events(before, series))
    near = NEAR * _interval(log)
    new = (event for event in _events(log, series) if not any(_same(event, old, near=near) for old in known))
    return _counted(new, log)


def _score(rule: str, log: LogResult, series: str, question: Question) -> Found:
    missing = _missing(log, series)
    if missing:
        return Found(value=None, missing=missing)
    scores = [float(getattr(one.spike_score, rule)) for one in _chosen(log, series)]
    # NaN says that no window was full: there is no share to judge, which is not the same as a broken number.
    known = [score for score in scores if not math.isnan(score)]
    if not known:
        return Found(value=None, missing=f"no run is long enough for this score ({_WINDOWS[rule]} points)")
    return Found(value=known[extreme(known, question.relation)])


def _points(log: LogResult, series: str, question: Question) -> Found:
    missing = _missing(log, series)
    if missing:
        return Found(value=None, missing=missing)
    points = [float(one.points) for one in _chosen(log, series)]
    return Found(value=points[extreme(points, question.relation)])


def _unreadable(log: LogResult, _series: str, _question: Question) -> Found:
    return Found(value=float(log.unreadable_lines))


def _missing(log: LogResult, series: str) -> str:
    if series == EVERY:
        return "" if log.series else "no series could be judged"
    if series in log.series:
        return ""
    return f"the log has no judged series '{series}'; it has {', '.join(log.series) or 'none'}"


def _chosen(log: LogResult, series: str) -> Iterator[SeriesResult]:
    return (one for name, one in log.series.items() if series in (EVERY, name))


def _events(log: LogResult, series: str) -> Iterator[Event]:
    return (event for one in _chosen(log, series) for event in one.events)


def _counted(events: Iterable[Event], log: LogResult) -> Found:
    found = list(events)
    if not found:
        return Found(value=0.0)
    first = step(found[0].start)
    text = f"step {first:,}" if first is not None else "step unknown"
    if log.numbering == "record":  # there is no line to point at
        return Found(value=float(len(found)), place=ValuePlace(text=f"{text}, record {found[0].line:,}", line=None))
    return Found(value=float(len(found)), place=ValuePlace(text=text, line=found[0].line))


def _same(event: Event, old: Event, *, near: float) -> bool:
    # A step that is not known is NaN, and near to nothing: such an event is new.
    return event.kind is old.kind and abs(old.start - event.start) <= near


def _interval(log: LogResult) -> float:
    """Return the steps between two logged points, on average over the longest run."""
    longest = max(log.runs, key=lambda run: run.points, default=None)
    if longest is None or longest.points < 2:
        return 1.0
    return (longest.last_step - longest.first_step) / (longest.points - 1)


SPIKES = Group(name="spikes", metrics=tuple(_metrics()))

"""Records of checkpoints and logs of our own making, with one number set, for tests of metrics and gates."""

import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from itertools import product
from typing import Any

from mhcdiag.metrics import Examined, Metric, Record
from mhcdiag.metrics.health import FINDINGS, NUMBERS, SPELLED
from mhcdiag.results.gain import (
    Bound,
    Definition,
    Direction,
    GainResult,
    Kind,
    NonFinite,
    Reduction,
    SinkhornQuality,
    WorstSpan,
)
from mhcdiag.results.health import Basis, CheckResult, Finding, HealthResult, Severity
from mhcdiag.results.numbers import Number
from mhcdiag.results.spikes import BinnedCurve, Event, EventKind, LogResult, RunSpan, SeriesResult, SpikeScore
from mhcdiag.results.verdict import Skipped
from mhcdiag.results.weights import WeightsFinding, WeightsKind, WeightsResult

SITES = ("0.attn", "0.ffn", "1.attn")
CHECKPOINT, LOG = "checkpoints/step_100", "logs/run.jsonl"
ONES = (1.0,) * len(SITES)
EMPTY = BinnedCurve(run=(), step=(), low=(), high=())
COUNTED = {
    "nonfinite": NonFinite(site="0.ffn", tensors=(), found="1 value is NaN"),
    "skipped": Skipped(what="a", reason="b"),
    "assumed": "eps is 1e-6",
}
"""One of the things that a metric counts."""


def alike(one: object, other: object) -> bool:
    """Whether two records are equal, with NaN equal to NaN."""
    if type(one) is not type(other):
        return isinstance(one, Mapping) and isinstance(other, Mapping) and dict(one) == dict(other)
    if is_dataclass(one):
        return all(alike(getattr(one, field.name), getattr(other, field.name)) for field in fields(one))
    if isinstance(one, tuple):
        return len(one) == len(other) and all(map(alike, one, other))  # type: ignore[arg-type]
    if isinstance(one, Mapping):
        return one.keys() == other.keys() and all(alike(one[key], other[key]) for key in one)  # type: ignore[attr-defined, index]
    return one == other or (one != one and other != other)  # noqa: PLR0124 - NaN


def checkpoint(**changes: Any) -> Examined:
    """A checkpoint with every number that a metric may ask for; all are 1, and nothing is wrong."""
    span = WorstSpan(value=1.0, from_site="0.attn", to_site="1.attn")
    bound = Bound(single=ONES, prefix=ONES, suffix=ONES, worst=1.0, why="stochastic")
    result = GainResult(
        path=CHECKPOINT,
        layout="deepseek-v4",
        model="",
        streams=2,
        sites=SITES,
        tensors=SITES,
        inputs="static",
        tokens=1,
        span_tokens=1,
        dtype="float64",
        device="cpu",
        kernel="reference",
        bytes_read=0,
        bytes_total=0,
        assumed=(),
        skipped=(),
        excluded=(),
        notes=(),
        nonfinite=(),
        gain=dict.fromkeys(product(Kind, Direction, Definition, Reduction), ONES),
        worst=dict.fromkeys(product(Direction, Definition), span),
        spans={},
        bound=dict.fromkeys(Direction, bound),
        sinkhorn=SinkhornQuality(
            exact_side=Direction.FORWARD,
            row_residual=ONES,
            column_residual=ONES,
            log_sum_mean=1.0,
            log_sum_max=1.0,
        ),
    )
    return Examined(gain=replace(result, **changes), health=health(), weights=weights())


def weights(**changes: Any) -> WeightsResult:
    """A scan of 100 values that found nothing."""
    result = WeightsResult(
        path=CHECKPOINT,
        unscanned="",
        expected_seconds=1.0,
        tensors=1,
        tensors_scanned=1,
        elements=100,
        elements_scanned=100,
        bytes_total=400,
        bytes_scanned=400,
        sample=1.0,
        match=(),
        allow=(),
        left_out=0,
        skipped=(),
        findings=(),
        allowed=(),
        notes=(),
        kernel="numpy",
        seconds=0.0,
        absmax=1.0,
    )
    return replace(result, **changes)


def weights_finding(**changes: Any) -> WeightsFinding:
    """NaN in one tensor."""
    found = WeightsFinding(
        kind=WeightsKind.NAN,
        severity=Severity.FAIL,
        tensor="layers.0.mlp.weight",
        position=(3, 5),
        count=1,
        value=1.0,
        limit=0.0,
        what="layers.0.mlp.weight: 1 of 100 values is NaN, at [3, 5] (limit 0)",
        why="it spreads",
    )
    return replace(found, **changes)


def health(**changes: Any) -> HealthResult:
    """An examination with every number that a metric may ask for; the named checks are changed."""
    return HealthResult(
        path=CHECKPOINT,
        layout="deepseek-v4",
        model="",
        streams=2,
        sites=SITES,
        inputs="static",
        tokens=1,
        against="",
        checks=tuple(replace(_check(name), **changes.get(name, {})) for name in NUMBERS),
        assumed=(),
        notes=(),
    )


def _check(name: str) -> CheckResult:
    return CheckResult(
        name=name,
        formula="",
        source="",
        basis=Basis.MEASURED,
        thresholds={},
        overall=dict.fromkeys((*NUMBERS[name].factors, *NUMBERS[name].fractions), 1.0),
        per_site={},
        findings=(),
        not_checkable="",
    )


def log(*, interval: int = 7, **changes: Any) -> LogResult:
    """A log of 101 points, one every `interval` steps, without any event."""
    names = ("loss", "grad_norm", "loss_scale")
    result = LogResult(
        path=LOG,
        format="jsonl",
        rule="mhcdiag",
        lines=101,
        loss_lines=101,
        unreadable_lines=0,
        runs=(RunSpan(first_step=0, last_step=100 * interval, points=101),),
        series={name: series(name) for name in names},
        notes=(),
    )
    return replace(result, **changes)


def series(name: str = "loss", *events: Event, points: float = 101, **scores: float) -> SeriesResult:
    """One series of a log; scores that are not named are 0."""
    return SeriesResult(
        source_name=name,
        points=points,  # type: ignore[arg-type]
        spike_score=SpikeScore(**{"olmo2": 0.0, "olmo_core": 0.0} | scores),
        events=events,
        curve=EMPTY,
    )


def with_series(result: LogResult, **changed: SeriesResult) -> LogResult:
    """The log with these series in place of its own, or beside them."""
    return replace(result, series=result.series | changed)


def with_events(*events: Event, name: str = "loss", interval: int = 7) -> LogResult:
    """A log with these events in one series."""
    return with_series(log(interval=interval), **{name: series(name, *events)})


def event(kind: str = "spike", start: float | None = 350, line: int = 51, recovered: bool | None = None) -> Event:
    """One event of a log; a step that is not known is NaN."""
    step = math.nan if start is None else start
    return Event(
        kind=EventKind(kind),
        run=0,
        line=line,
        start=step,
        peak=step,
        end=step,
        value=9.0,
        baseline=1.0,
        z=10.0,
        points=2,
        duration=7.0,
        area=8.0,
        recovered=recovered,
        recovery_steps=None,
    )


def is_curve(metric: Metric) -> bool:
    """Whether a metric has one number per site."""
    keys = metric.name.split(".")
    return keys[0] == "gain" and (
        keys[1] in set(map(str, Kind)) or keys[-1] in ("single", "prefix", "suffix", "row_residual", "column_residual")
    )


def with_value(metric: Metric, value: Number | None, *, site: int = 0) -> Record:
    """A record in which a metric is this value; of a curve, this site is, and all others are 1. None: it has none."""
    if value is None:
        return without(metric)
    group, first, *rest = metric.name.split(".")
    if group == "gain":
        return _of_gain(checkpoint(), first, rest, value, site)
    if group == "health":
        return _of_health(first, rest, value)
    if group == "weights":
        return _of_weights(first, rest, value)
    return _of_log(metric, first, rest, value)


def _of_log(metric: Metric, first: str, rest: list[str], value: Number) -> LogResult:
    if first == "unreadable_lines":
        return log(unreadable_lines=value)
    if first in ("spike_score", "points"):
        changed = {rest[0]: value} if rest else {"points": value}
        return with_series(log(), loss=series(**changed))  # type: ignore[arg-type]
    kind = rest[0] if first == "count" else EventKind.SPIKE
    events = [event(kind, start=1000 + 100 * one, line=10 * one) for one in range(int(value))]  # type: ignore[arg-type]
    return with_events(*events, name=metric.series or "")


def without(metric: Metric) -> Record:
    """A record that lacks what a metric asks for."""
    group, first, *rest = metric.name.split(".")
    found = checkpoint()
    if group in ("health", "weights"):
        return replace(found, **{group: None})
    if group == "spikes":
        return log(series={}) if first != "spike_score" else with_series(log(), loss=series(**{rest[0]: math.nan}))
    match first:
        case "worst":
            return checkpoint(worst={key: span for key, span in found.gain.worst.items() if list(key) != rest})
        case "bound":
            return _with_bound(found, rest, None)
        case "sinkhorn":
            return checkpoint(sinkhorn=None)
        case _:
            return checkpoint(gain={key: one for key, one in found.gain.gain.items() if list(key) != [first, *rest]})


def _of_gain(found: Examined, first: str, rest: list[str], value: Number, site: int) -> Examined:
    curve = (*ONES[:site], value, *ONES[site + 1 :])
    if first in COUNTED:
        return checkpoint(**{first: (COUNTED[first],) * int(value)})  # type: ignore[arg-type]
    if first == "bound":
        return _with_bound(found, rest, value if rest[1] == "worst" else curve)
    changed: Any
    if first == "worst":
        span = (Direction(rest[0]), Definition(rest[1]))
        changed = {"worst": {**found.gain.worst, span: replace(found.gain.worst[span], value=value)}}
    elif first == "sinkhorn":
        part = {rest[0]: value if rest[0].startswith("log_sum") else curve}
        changed = {"sinkhorn": replace(found.gain.sinkhorn, **part)}  # type: ignore[type-var]
    else:
        key = (Kind(first), Direction(rest[0]), Definition(rest[1]), Reduction(rest[2]))
        changed = {"gain": {**found.gain.gain, key: curve}}
    return checkpoint(**changed)


def _with_bound(found: Examined, keys: list[str], value: object) -> Examined:
    direction = Direction(keys[0])
    bound = replace(found.gain.bound[direction], **{keys[1]: value})  # type: ignore[arg-type]
    return checkpoint(bound={**found.gain.bound, direction: bound})


def _of_health(first: str, rest: list[str], value: Number) -> Examined:
    if rest:
        key = next((key for key, spelled in SPELLED.items() if spelled == rest[0]), rest[0])
        changed = {first: {"overall": _check(first).overall | {key: value}}}
    elif first == "unchecked":
        changed = {name: {"not_checkable": "nothing was captured"} for name in list(NUMBERS)[: int(value)]}  # type: ignore[arg-type]
    else:
        finding = Finding(severity=FINDINGS[first], what="sick", site="0.ffn", sites=1, advice="")
        changed = {next(iter(NUMBERS)): {"findings": (finding,) * int(value)}}  # type: ignore[arg-type]
    return Examined(gain=checkpoint().gain, health=health(**changed))


SEVERITY_OF = {"nonfinite": Severity.FAIL, "warned": Severity.WARN, "noted": Severity.NOTE}


def _of_weights(first: str, rest: list[str], value: Number) -> Examined:
    changed: dict[str, Any]
    if first == "absmax":
        changed = {"absmax": value}
    elif first == "scanned":
        changed = {"elements_scanned": 100 * value}  # type: ignore[operator]
    elif first == "skipped":
        changed = {"skipped": (Skipped(what="a", reason="b"),) * int(value)}  # type: ignore[arg-type]
    else:
        one = {"kind": WeightsKind(rest[0])} if rest else {"severity": SEVERITY_OF[first]}
        changed = {"findings": (weights_finding(**one),) * int(value)}  # type: ignore[arg-type]
    return replace(checkpoint(), weights=weights(**changed))

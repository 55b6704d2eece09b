"""Documents of checkpoints and logs of our own making, with one number set, for tests of metrics and gates."""

from copy import deepcopy
from itertools import product
from typing import Any

from mhcdiag.metrics import Metric
from mhcdiag.metrics.health import FINDINGS, NUMBERS, SPELLED
from mhcdiag.results.gain import Definition, Direction, Kind, Reduction
from mhcdiag.results.numbers import Number, number
from mhcdiag.results.spikes import EventKind as Event

SITES = ("0.attn", "0.ffn", "1.attn")
CHECKPOINT, LOG = "checkpoints/step_100", "logs/run.jsonl"

Json = dict[str, Any]


def checkpoint() -> Json:
    """A checkpoint with every number that a metric may ask for; all are 1, and nothing is wrong."""
    gain: Json = {}
    for kind, direction, definition, reduction in product(Kind, Direction, Definition, Reduction):
        by_definition = gain.setdefault(str(kind), {}).setdefault(str(direction), {}).setdefault(str(definition), {})
        by_definition[str(reduction)] = [1.0] * len(SITES)
    span = {"value": 1.0, "from_site": "0.attn", "to_site": "1.attn"}
    curves = {part: [1.0] * len(SITES) for part in ("single", "prefix", "suffix")}
    return {
        "path": CHECKPOINT,
        "layout": "deepseek-v4",
        "streams": 2,
        "sites": list(SITES),
        "assumed": [],
        "skipped": [],
        "nonfinite": [],
        "worst": {str(one): {str(two): dict(span) for two in Definition} for one in Direction},
        "bound": {str(one): {**deepcopy(curves), "worst": 1.0, "why": "stochastic"} for one in Direction},
        "sinkhorn": {
            "row_residual": [1.0] * len(SITES),
            "column_residual": [1.0] * len(SITES),
            "log_sum_mean": 1.0,
            "log_sum_max": 1.0,
        },
        "gain": gain,
        "health": {"sites": list(SITES), "checks": [_check(name) for name in NUMBERS]},
    }


def _check(name: str) -> Json:
    keys = (*NUMBERS[name].factors, *NUMBERS[name].fractions)
    return {"name": name, "overall": dict.fromkeys(keys, 1.0), "per_site": {}, "findings": [], "not_checkable": None}


def log(*, interval: int = 7) -> Json:
    """A log of 101 points, one every `interval` steps, without any event."""
    names = ("loss", "grad_norm", "loss_scale")
    return {
        "path": LOG,
        "format": "jsonl",
        "lines": 101,
        "loss_lines": 101,
        "unreadable_lines": 0,
        "runs": [{"first_step": 0, "last_step": 100 * interval, "points": 101}],
        "series": {name: _series(name) for name in names},
    }


def _series(name: str) -> Json:
    return {"source_name": name, "points": 101, "spike_score": {"olmo2": 0.0, "olmo_core": 0.0}, "events": []}


def event(kind: str = "spike", start: float | None = 350, line: int = 51, recovered: bool | None = None) -> Json:
    """One event of a log."""
    return {"kind": str(kind), "start": start, "line": line, "recovered": recovered}


def is_curve(metric: Metric) -> bool:
    """Whether a metric has one number per site."""
    return isinstance(_found(checkpoint(), metric), list) and metric.unit == "factor"


def with_value(metric: Metric, value: Number | None, *, site: int = 0) -> Json:
    """A document in which a metric is this value; of a curve, this site is, and all others are 1."""
    if metric.name.startswith("gain."):
        document = checkpoint()
        return _of_gain(document, metric, value, site)
    if metric.name.startswith("health."):
        return _of_health(checkpoint(), metric, value)
    document = log()
    keys = metric.name.split(".")
    if keys[1] == "spike_score":
        document["series"]["loss"]["spike_score"][keys[2]] = value
    elif keys[1] == "points":
        document["series"]["loss"]["points"] = value
    elif keys[1] == "unreadable_lines":
        document["unreadable_lines"] = value
    else:
        kind = keys[2] if keys[1] == "count" else Event.SPIKE
        events = [event(kind, start=1000 + 100 * one, line=10 * one) for one in range(int(value))]  # type: ignore[arg-type]
        document["series"][metric.series]["events"] = events
    return document


def without(metric: Metric) -> Json:
    """A document that lacks what a metric asks for."""
    if metric.name.startswith("gain."):
        document = checkpoint()
        del _parent(document, metric)[_keys(metric)[-1]]
        return document
    if metric.name.startswith("health."):
        return {**checkpoint(), "health": None}
    document = log()
    document["series"] = {}
    return document


def _of_gain(document: Json, metric: Metric, value: Number | None, site: int) -> Json:
    parent, last = _parent(document, metric), _keys(metric)[-1]
    if metric.unit == "count":
        one = {"nonfinite": {"site": "0.ffn", "found": "1 value is NaN"}, "skipped": {"what": "a", "reason": "b"}}
        parent[last] = [one.get(last, "eps is 1e-6")] * int(value)  # type: ignore[arg-type]
    elif isinstance(parent[last], list):
        parent[last][site] = number(value)
    elif isinstance(parent[last], dict):
        parent[last]["value"] = number(value)
    else:
        parent[last] = number(value)
    return document


def _of_health(document: Json, metric: Metric, value: Number | None) -> Json:
    _, first, *rest = metric.name.split(".")
    checks = document["health"]["checks"]
    if rest:
        key = next((key for key, spelled in SPELLED.items() if spelled == rest[0]), rest[0])
        next(check for check in checks if check["name"] == first)["overall"][key] = number(value)
    elif first == "unchecked":
        for check in checks[: int(value)]:  # type: ignore[arg-type]
            check["not_checkable"] = "nothing was captured"
    else:
        finding = {"severity": str(FINDINGS[first]), "site": "0.ffn", "what": "sick"}
        checks[0]["findings"] = [finding] * int(value)  # type: ignore[arg-type]
    return document


def _keys(metric: Metric) -> list[str]:
    keys = metric.name.split(".")[1:]
    return ["gain", *keys] if keys[0] in {str(kind) for kind in Kind} else keys


def _parent(document: Json, metric: Metric) -> Json:
    found = document
    for key in _keys(metric)[:-1]:
        found = found[key]
    return found


def _found(document: Json, metric: Metric) -> object:
    return _parent(document, metric)[_keys(metric)[-1]] if metric.name.startswith("gain.") else None

"""What each kind of metric reads out of a document: value, place, and the reason where there is none."""

import math
from typing import Any

import pytest
from checkdocuments import SITES, checkpoint, event, log

from mhcdiag.metrics import METRICS, Question, Reading
from mhcdiag.metrics.health import FINDINGS, NUMBERS
from mhcdiag.metrics.interface import Document
from mhcdiag.results.check import Family, Relation, ValuePlace
from mhcdiag.results.numbers import Huge
from mhcdiag.results.spikes import EventKind

LOW = Relation.AT_LEAST


def read(name: str, document: Document, **asked: Any) -> Reading:
    return METRICS[name].read(document, Question(**asked))


def nothing(missing: str) -> Reading:
    return Reading(value=None, missing=missing)


def changed(*path: str, to: Any, of: dict[str, Any] | None = None) -> dict[str, Any]:
    document = checkpoint() if of is None else of
    inner: Any = document
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = to
    return document


# Checkpoints

CURVE, CURVE_KEYS = "gain.prefix.forward.norm.max", ("gain", "prefix", "forward", "norm", "max")


def test_a_worst_span_is_placed_by_its_ends() -> None:
    span = {"value": 7.0, "from_site": "0.attn", "to_site": "1.attn"}
    name, keys = "gain.worst.backward.amax", ("worst", "backward", "amax")
    assert read(name, changed(*keys, to=span)) == Reading(value=7.0, place=ValuePlace(text="0.attn to 1.attn"))
    single = span | {"to_site": "0.attn"}
    assert read(name, changed(*keys, to=single)) == Reading(value=7.0, place=ValuePlace(text="0.attn"))
    assert read(name, changed(*keys, to=None)) == nothing("the measurement has no worst.backward.amax")
    assert read(name, {}) == nothing("the measurement has no worst.backward.amax")
    null = read(name, changed(*keys, to=span | {"value": None}))
    assert (null.value, null.missing) == (None, "worst.backward.amax is no number")


@pytest.mark.parametrize(
    ("curve", "largest", "smallest"),
    [
        ([1.0, 3.0, 2.0], (3.0, 1), (1.0, 0)),
        ([{"log10": 400.0}, 3.0, "inf"], (Huge(400.0), 0), (3.0, 1)),
        (["-inf", 3.0, 4], (4.0, 2), (-math.inf, 0)),
    ],
)
def test_a_curve_gives_the_site_that_decides(curve: list[Any], largest: tuple, smallest: tuple) -> None:
    document = changed(*CURVE_KEYS, to=curve)
    for relation, (value, site) in ((Relation.AT_MOST, largest), (LOW, smallest)):
        assert read(CURVE, document, relation=relation) == Reading(value=value, place=ValuePlace(text=SITES[site]))


@pytest.mark.parametrize(
    ("curve", "missing"),
    [
        ([], "the measurement has no gain.prefix.forward.norm.max"),
        (None, "the measurement has no gain.prefix.forward.norm.max"),
        (3.0, "the measurement has no gain.prefix.forward.norm.max"),
        ([1.0, None, 2.0], "gain.prefix.forward.norm.max lacks 1 of its sites"),
        (["x", True, 2.0], "gain.prefix.forward.norm.max lacks 2 of its sites"),
    ],
)
def test_a_curve_with_a_gap_is_no_number(curve: Any, missing: str) -> None:
    assert read(CURVE, changed(*CURVE_KEYS, to=curve)) == nothing(missing)


@pytest.mark.parametrize("name", [one.name for one in METRICS.values() if one.name.startswith("gain.")])
def test_composites_that_do_not_compose_are_no_number_and_all_else_is(name: str) -> None:
    is_composite = name.split(".")[1] in ("worst", "prefix", "suffix", "bound")
    found = read(name, changed("composes", to=False))
    expected = "streams do not persist from site to site: composites are not judged" if is_composite else ""
    assert found.missing == expected
    assert (found.value is None) is is_composite
    assert read(name, changed("composes", to=True)).missing == ""


def test_a_bound_is_a_number_or_a_curve_or_says_why_there_is_none() -> None:
    assert read("gain.bound.forward.worst", changed("bound", "forward", "worst", to=4.0)) == Reading(value=4.0)
    curve = changed("bound", "forward", "prefix", to=[1.0, 5.0, 2.0])
    assert read("gain.bound.forward.prefix", curve) == Reading(value=5.0, place=ValuePlace(text="0.ffn"))
    gone = changed("bound", "backward", "worst", to=None, of=changed("bound", "backward", "why", to="it is HC"))
    assert read("gain.bound.backward.worst", gone) == nothing("nothing bounds these mappings: it is HC")
    word = changed("bound", "forward", "worst", to="x")
    assert read("gain.bound.forward.worst", word) == nothing("bound.forward.worst is no number")


def test_sinkhorn_is_a_number_or_a_curve_or_the_layout_has_none() -> None:
    assert read("gain.sinkhorn.log_sum_max", changed("sinkhorn", "log_sum_max", to=0.5)) == Reading(value=0.5)
    curve = changed("sinkhorn", "row_residual", to=[0.1, 0.2, 0.3])
    assert read("gain.sinkhorn.row_residual", curve) == Reading(value=0.3, place=ValuePlace(text="1.attn"))
    gone = nothing("layout deepseek-v4 has no Sinkhorn iteration")
    assert read("gain.sinkhorn.row_residual", changed("sinkhorn", to=None)) == gone


@pytest.mark.parametrize(
    ("name", "found", "text"),
    [
        ("nonfinite", [{"site": "0.ffn", "found": "NaN"}, {"site": "1.attn", "found": "inf"}], "0.ffn: NaN"),
        ("assumed", ["eps is 1e-6", "b"], "eps is 1e-6"),
        ("skipped", [{"what": "w", "reason": "r"}, {"what": "x", "reason": "y"}], "w: r"),
    ],
)
def test_counts_name_the_first(name: str, found: list[Any], text: str) -> None:
    assert read(f"gain.{name}", changed(name, to=found)) == Reading(value=2.0, place=ValuePlace(text=text))
    assert read(f"gain.{name}", changed(name, to=[])) == Reading(value=0.0)
    assert read(f"gain.{name}", changed(name, to=None)) == nothing(f"the measurement has no {name}")


# Health


def a_check(name: str, /, **changes: Any) -> dict[str, Any]:
    document = checkpoint()
    next(one for one in document["health"]["checks"] if one["name"] == name).update(changes)
    return document


@pytest.mark.parametrize(("metric", "severity"), [("failed", "fail"), ("warned", "warn"), ("noted", "note")])
def test_findings_are_counted_by_severity_over_all_checks(metric: str, severity: str) -> None:
    assert FINDINGS[metric] == severity
    others = [{"severity": one, "site": "", "what": one} for one in {"fail", "warn", "note"} - {severity}]
    mine = [{"severity": severity, "site": site, "what": f"sick {site}"} for site in ("0.ffn", "1.attn")]
    document = a_check("frozen", findings=[*others, *mine])
    checks = document["health"]["checks"]
    checks[-1]["findings"] = [{"severity": severity, "site": "", "what": "whole"}]
    assert read(f"health.{metric}", document) == Reading(value=3.0, place=ValuePlace(text="0.ffn: sick 0.ffn"))
    only = checkpoint()
    only["health"]["checks"][-1]["findings"] = [{"severity": severity, "site": "", "what": "whole"}]
    assert read(f"health.{metric}", only) == Reading(value=1.0, place=ValuePlace(text="whole"))
    assert read(f"health.{metric}", checkpoint()) == Reading(value=0.0)


def test_checks_that_could_not_be_made_are_counted_and_named() -> None:
    document = a_check("frozen", not_checkable="why")
    document["health"]["checks"][0]["not_checkable"] = "why not"
    names = [check["name"] for check in document["health"]["checks"] if check["not_checkable"]]
    assert read("health.unchecked", document) == Reading(value=2.0, place=ValuePlace(text=", ".join(names)))
    assert read("health.unchecked", checkpoint()) == Reading(value=0.0)


def test_a_number_of_a_check_is_that_of_the_site_that_decides_else_of_the_whole() -> None:
    assert read("health.frozen.moved", a_check("frozen", overall={"moved": 3.0})) == Reading(value=3.0)
    curve = a_check("frozen", per_site={"moved": [1.0, 3.0, 0.5]}, overall={"moved": 9.0})
    assert read("health.frozen.moved", curve) == Reading(value=3.0, place=ValuePlace(text="0.ffn"))
    assert read("health.frozen.moved", curve, relation=LOW) == Reading(value=0.5, place=ValuePlace(text="1.attn"))
    empty = a_check("frozen", per_site={"moved": []}, overall={"moved": 9.0})
    assert read("health.frozen.moved", empty) == Reading(value=9.0)
    spelled = a_check("conformance", overall={"as it is": 0.25, "from weights": 0.5})
    assert read("health.conformance.error", spelled).value == 0.25
    assert read("health.conformance.from_weights", spelled).value == 0.5


@pytest.mark.parametrize(
    ("changes", "missing"),
    [
        ({"not_checkable": "nothing was captured"}, "check frozen: nothing was captured"),
        ({"overall": {}}, "check frozen gives no moved here"),
        ({"overall": {"moved": None}}, "check frozen gives no moved here"),
        ({"per_site": {"moved": [1.0, None, 2.0]}}, "check frozen gives no moved here"),
        ({"name": "other"}, "check frozen was not made"),
    ],
)
def test_a_check_without_the_number_says_why(changes: dict[str, Any], missing: str) -> None:
    assert read("health.frozen.moved", a_check("frozen", **changes)) == nothing(missing)


@pytest.mark.parametrize("health", [None, [], "x"])
def test_health_that_was_not_examined_is_no_number(health: object) -> None:
    expected = nothing("this checkpoint's health was not examined")
    for name in ("health.failed", "health.unchecked", "health.frozen.moved"):
        assert read(name, changed("health", to=health)) == expected


# Logs


def with_events(*events: dict[str, Any], series: str = "loss", interval: int = 7) -> dict[str, Any]:
    document = log(interval=interval)
    document["series"][series]["events"] = list(events)
    return document


NO_LOSS = "the log has no judged series 'loss'; it has none"


def test_which_series_each_metric_is_about() -> None:
    assert {one.name: one.series for one in METRICS.values() if one.family is Family.LOG} == {
        "spikes.count.blip": "loss", "spikes.count.spike": "loss", "spikes.count.shift": "loss",
        "spikes.count.divergence": "loss", "spikes.count.nan": "loss", "spikes.count.gradspike": "grad_norm",
        "spikes.count.loss_scale": "loss_scale", "spikes.new": "loss", "spikes.spike_score.olmo2": "loss",
        "spikes.spike_score.olmo_core": "loss", "spikes.points": "loss", "spikes.unreadable_lines": None,
    }  # fmt: skip
    assert {one.series for one in METRICS.values() if one.family is Family.CHECKPOINT} == {None}
    assert [one.name for one in METRICS.values() if one.needs_baseline] == ["spikes.new"]


def test_units() -> None:
    by_unit: dict[str, set[str]] = {}
    for one in METRICS.values():
        by_unit.setdefault(one.unit, set()).add(one.name)
    fractions = {f"health.{check}.{key}" for check, numbers in NUMBERS.items() for key in numbers.fractions}
    assert by_unit["fraction"] == fractions | {"spikes.spike_score.olmo2", "spikes.spike_score.olmo_core"}
    counts = {"gain.nonfinite", "gain.assumed", "gain.skipped", *(f"health.{one}" for one in (*FINDINGS, "unchecked"))}
    assert by_unit["count"] == counts
    assert by_unit["events"] == {"spikes.new", *(f"spikes.count.{kind}" for kind in EventKind)}
    assert (by_unit["points"], by_unit["lines"]) == ({"spikes.points"}, {"spikes.unreadable_lines"})
    assert set(by_unit) == {"factor", "fraction", "count", "events", "points", "lines"}


@pytest.mark.parametrize("kind", list(EventKind))
def test_a_series_that_is_missing_is_no_count_but_for_the_loss_scaler(kind: EventKind) -> None:
    found = read(f"spikes.count.{kind}", {**log(), "series": {}})
    series = {EventKind.GRADSPIKE: "grad_norm"}.get(kind, "loss")
    missing = nothing(f"the log has no judged series '{series}'; it has none")
    assert found == (Reading(value=0.0) if kind is EventKind.LOSS_SCALE else missing)


@pytest.mark.parametrize(
    ("recovered", "kind", "count"),
    [
        (None, EventKind.DIVERGENCE, 1), (True, EventKind.DIVERGENCE, 0), (False, EventKind.DIVERGENCE, 0),
        (None, EventKind.SPIKE, 1), (True, EventKind.SPIKE, 1), (False, EventKind.SPIKE, 1),
    ],
)  # fmt: skip
def test_only_a_divergence_can_be_over(recovered: bool | None, kind: EventKind, count: int) -> None:
    assert read(f"spikes.count.{kind}", with_events(event(kind, recovered=recovered))).value == count


def test_the_first_event_is_the_place() -> None:
    found = read("spikes.count.spike", with_events(event(start=12040, line=7), event(start=3, line=1)))
    assert found == Reading(value=2.0, place=ValuePlace(text="step 12,040", line=7))
    assert read("spikes.count.spike", with_events(event(start=0))).place == ValuePlace(text="step 0", line=51)
    assert read("spikes.count.spike", with_events(event(start=None))).place == ValuePlace(text="step unknown", line=51)


@pytest.mark.parametrize(
    ("runs", "apart", "new"),
    [
        ([{"first_step": 100, "last_step": 200, "points": 11}], 30, 0),  # three times 10 steps
        ([{"first_step": 100, "last_step": 200, "points": 11}], 31, 1),
        ([{"first_step": 0, "last_step": 100, "points": 101}, {"first_step": 0, "last_step": 40, "points": 5}], 3, 0),
        ([{"first_step": 0, "last_step": 100, "points": 101}, {"first_step": 0, "last_step": 40, "points": 5}], 4, 1),
        ([{"first_step": 0, "last_step": 40, "points": 2}], 120, 0),
        ([{"first_step": 0, "last_step": 40, "points": 2}], 121, 1),
        ([{"first_step": 7, "last_step": 7, "points": 1}], 3, 0),
        ([{"first_step": 7, "last_step": 7, "points": 1}], 4, 1),
        ([{"first_step": 0, "last_step": 40, "points": 1}], 4, 1),
        ([], 3, 0),
        ([], 4, 1),
    ],
)
def test_new_is_more_than_three_points_of_the_longest_run_away(runs: list[Any], apart: int, new: int) -> None:
    before = {**with_events(event(start=1000), interval=1000), "runs": []}
    for start in (1000 - apart, 1000 + apart):
        now = {**with_events(event(start=start)), "runs": runs}
        assert read("spikes.new", now, baseline=before).value == new


@pytest.mark.parametrize(
    ("now", "before", "new"),
    [
        (event(start=350), event(start=350), 0),
        (event("shift"), event("spike"), 1),
        (event(start=None), event(start=350), 1),
        (event(start=350), event(start=None), 1),
        (event(start=None), event(start=None), 1),
    ],
)
def test_an_event_is_known_by_kind_and_step(now: dict[str, Any], before: dict[str, Any], new: int) -> None:
    assert read("spikes.new", with_events(now), baseline=with_events(before)).value == new


def test_new_needs_the_series_on_both_sides() -> None:
    empty = {**log(), "series": {}}
    assert read("spikes.new", log()) == nothing("there is no baseline to compare with")
    assert read("spikes.new", empty, baseline=log()) == nothing(NO_LOSS)
    assert read("spikes.new", log(), baseline=empty) == nothing(NO_LOSS)
    elsewhere = with_events(event(), series="grad_norm")
    assert read("spikes.new", elsewhere, baseline=log()).value == 0
    assert read("spikes.new", elsewhere, baseline=log(), series="grad_norm").value == 1
    assert read("spikes.new", elsewhere, baseline=log(), series="*").value == 1


@pytest.mark.parametrize(("rule", "window"), [("olmo2", 1000), ("olmo_core", 128)])
def test_a_score_is_that_of_its_series_or_of_the_one_that_decides(rule: str, window: int) -> None:
    document = log()
    for name, score in (("loss", 0.25), ("grad_norm", 0.5), ("loss_scale", None)):
        document["series"][name]["spike_score"] = {"olmo2": 7.0, "olmo_core": 7.0, rule: score}
    name = f"spikes.spike_score.{rule}"
    assert read(name, document) == Reading(value=0.25)
    assert read(name, document, series="grad_norm") == Reading(value=0.5)
    assert read(name, document, series="*") == Reading(value=0.5)
    assert read(name, document, series="*", relation=LOW) == Reading(value=0.25)
    short = nothing(f"no run is long enough for this score ({window} points)")
    assert read(name, document, series="loss_scale") == short
    document["series"]["loss"]["spike_score"][rule] = math.nan
    assert math.isnan(read(name, document, series="*").value)  # type: ignore[arg-type]
    assert read(name, {**log(), "series": {}}) == nothing(NO_LOSS)


def test_points_are_those_of_the_series_or_of_the_one_that_decides() -> None:
    document = log()
    for name, points in (("loss", 11), ("grad_norm", 13), ("loss_scale", 7)):
        document["series"][name]["points"] = points
    assert read("spikes.points", document) == Reading(value=11.0)
    assert read("spikes.points", document, series="*").value == 13
    assert read("spikes.points", document, series="*", relation=LOW).value == 7
    assert read("spikes.points", {**log(), "series": {}}) == nothing(NO_LOSS)
    assert read("spikes.points", {**log(), "series": {}}, series="*") == nothing("no series could be judged")


def test_unreadable_lines_are_those_of_the_whole_log() -> None:
    assert read("spikes.unreadable_lines", {**log(), "unreadable_lines": 3, "series": {}}) == Reading(value=3.0)


def test_a_series_that_was_not_judged_is_told_with_those_that_were() -> None:
    expected = nothing("the log has no judged series 'eval'; it has loss, grad_norm, loss_scale")
    for name in ("spikes.count.nan", "spikes.points", "spikes.spike_score.olmo2"):
        assert read(name, log(), series="eval") == expected

"""What each kind of metric reads out of a record: value, place, and the reason where there is none."""

import math
from dataclasses import replace
from typing import Any

import pytest
from checkrecords import ONES, SITES, checkpoint, event, health, log, series, with_events, with_series

from mhcdiag.metrics import METRICS, Examined, Found, Question, Record
from mhcdiag.metrics.health import FINDINGS, NUMBERS
from mhcdiag.results.check import Family, ValuePlace
from mhcdiag.results.gain import Bound, Definition, Direction, Kind, NonFinite, Reduction, WorstSpan
from mhcdiag.results.health import Finding, Severity
from mhcdiag.results.numbers import Huge, Number
from mhcdiag.results.spikes import Event, EventKind, RunSpan
from mhcdiag.results.verdict import Relation, Skipped
from mhcdiag.results.weights import WeightsKind

LOW = Relation.AT_LEAST


def read(name: str, record: Record, **asked: Any) -> Found:
    return METRICS[name].read(record, Question(**asked))


def nothing(missing: str) -> Found:
    return Found(value=None, missing=missing)


# Checkpoints

CURVE, CURVE_KEY = "gain.prefix.forward.norm.max", (Kind.PREFIX, Direction.FORWARD, Definition.NORM, Reduction.MAX)


def test_a_worst_span_is_placed_by_its_ends() -> None:
    span = WorstSpan(value=7.0, from_site="0.attn", to_site="1.attn")
    name, key = "gain.worst.backward.amax", (Direction.BACKWARD, Definition.AMAX)
    assert read(name, checkpoint(worst={key: span})) == Found(value=7.0, place=ValuePlace(text="0.attn to 1.attn"))
    single = replace(span, to_site="0.attn")
    assert read(name, checkpoint(worst={key: single})) == Found(value=7.0, place=ValuePlace(text="0.attn"))
    assert read(name, checkpoint(worst={})) == nothing("the measurement has no worst.backward.amax")
    other = {(Direction.FORWARD, Definition.AMAX): span}
    assert read(name, checkpoint(worst=other)) == nothing("the measurement has no worst.backward.amax")


@pytest.mark.parametrize(
    ("curve", "largest", "smallest"),
    [
        ((1.0, 3.0, 2.0), (3.0, 1), (1.0, 0)),
        ((Huge(400.0), 3.0, math.inf), (Huge(400.0), 0), (3.0, 1)),
        ((-math.inf, 3.0, 4.0), (4.0, 2), (-math.inf, 0)),
    ],
)
def test_a_curve_gives_the_site_that_decides(curve: tuple[Number, ...], largest: tuple, smallest: tuple) -> None:
    record = checkpoint(gain={CURVE_KEY: curve})
    for relation, (value, site) in ((Relation.AT_MOST, largest), (LOW, smallest)):
        assert read(CURVE, record, relation=relation) == Found(value=value, place=ValuePlace(text=SITES[site]))


@pytest.mark.parametrize("site", range(3))
@pytest.mark.parametrize("relation", list(Relation))
def test_nan_decides_wherever_it_stands(site: int, relation: Relation) -> None:
    curve = (*ONES[:site], math.nan, *ONES[site + 1 :])
    found = read(CURVE, checkpoint(gain={CURVE_KEY: curve}), relation=relation)
    assert math.isnan(found.value)  # type: ignore[arg-type]
    assert found.place == ValuePlace(text=SITES[site])


@pytest.mark.parametrize("gain", [{}, {CURVE_KEY: ()}, {(Kind.SUFFIX, *CURVE_KEY[1:]): ONES}])
def test_a_curve_that_is_not_there_is_no_number(gain: dict[Any, Any]) -> None:
    assert read(CURVE, checkpoint(gain=gain)) == nothing("the measurement has no gain.prefix.forward.norm.max")


@pytest.mark.parametrize("name", [one.name for one in METRICS.values() if one.name.startswith("gain.")])
def test_composites_that_do_not_compose_are_no_number_and_all_else_is(name: str) -> None:
    is_composite = name.split(".")[1] in ("worst", "prefix", "suffix", "bound")
    found = read(name, checkpoint(composes=False))
    expected = "streams do not persist from site to site: composites are not judged" if is_composite else ""
    assert found.missing == expected
    assert (found.value is None) is is_composite
    assert read(name, checkpoint(composes=True)).missing == ""


def test_a_bound_is_a_number_or_a_curve_or_says_why_there_is_none() -> None:
    bound = Bound(single=ONES, prefix=(1.0, 5.0, 2.0), suffix=None, worst=4.0, why="it is HC")
    record = checkpoint(bound={Direction.FORWARD: bound})
    assert read("gain.bound.forward.worst", record) == Found(value=4.0)
    assert read("gain.bound.forward.prefix", record) == Found(value=5.0, place=ValuePlace(text="0.ffn"))
    assert read("gain.bound.forward.prefix", record, relation=LOW).value == 1.0
    assert read("gain.bound.forward.suffix", record) == nothing("nothing bounds these mappings: it is HC")
    gone = checkpoint(bound={Direction.FORWARD: replace(bound, worst=None)})
    assert read("gain.bound.forward.worst", gone) == nothing("nothing bounds these mappings: it is HC")
    assert read("gain.bound.backward.worst", gone).value is None


def test_sinkhorn_is_a_number_or_a_curve_or_the_layout_has_none() -> None:
    quality = checkpoint().gain.sinkhorn
    record = checkpoint(sinkhorn=replace(quality, log_sum_max=0.5, row_residual=(0.1, 0.2, 0.3)))  # type: ignore[type-var]
    assert read("gain.sinkhorn.log_sum_max", record) == Found(value=0.5)
    assert read("gain.sinkhorn.row_residual", record) == Found(value=0.3, place=ValuePlace(text="1.attn"))
    gone = nothing("layout deepseek-v4 has no Sinkhorn iteration")
    assert read("gain.sinkhorn.row_residual", checkpoint(sinkhorn=None)) == gone


@pytest.mark.parametrize(
    ("name", "found", "text"),
    [
        (
            "nonfinite",
            (NonFinite(site="0.ffn", tensors=(), found="NaN"), NonFinite(site="1.attn", tensors=(), found="inf")),
            "0.ffn: NaN",
        ),
        ("assumed", ("eps is 1e-6", "b"), "eps is 1e-6"),
        ("skipped", (Skipped(what="w", reason="r"), Skipped(what="x", reason="y")), "w: r"),
    ],
)
def test_counts_name_the_first(name: str, found: tuple[Any, ...], text: str) -> None:
    assert read(f"gain.{name}", checkpoint(**{name: found})) == Found(value=2.0, place=ValuePlace(text=text))
    assert read(f"gain.{name}", checkpoint(**{name: ()})) == Found(value=0.0)


# Health


def a_check(name: str, /, **changes: Any) -> Examined:
    return Examined(gain=checkpoint().gain, health=health(**{name: changes}))


def finding(severity: str, what: str, site: str = "") -> Finding:
    return Finding(severity=Severity(severity), what=what, site=site, sites=1, advice="")


@pytest.mark.parametrize(("metric", "severity"), [("failed", "fail"), ("warned", "warn"), ("noted", "note")])
def test_findings_are_counted_by_severity_over_all_checks(metric: str, severity: str) -> None:
    assert FINDINGS[metric] == severity
    others = [finding(one, one) for one in {"fail", "warn", "note"} - {severity}]
    mine = [finding(severity, f"sick {site}", site) for site in ("0.ffn", "1.attn")]
    whole = {"findings": (finding(severity, "whole"),)}
    *_, last = NUMBERS
    checks = health(frozen={"findings": (*others, *mine)}, **{last: whole})
    found = read(f"health.{metric}", Examined(gain=checkpoint().gain, health=checks))
    assert found == Found(value=3.0, place=ValuePlace(text="0.ffn: sick 0.ffn"))
    assert read(f"health.{metric}", a_check(last, **whole)) == Found(value=1.0, place=ValuePlace(text="whole"))
    assert read(f"health.{metric}", checkpoint()) == Found(value=0.0)


def test_checks_that_could_not_be_made_are_counted_and_named() -> None:
    first, *_ = NUMBERS
    checks = health(frozen={"not_checkable": "why"}, **{first: {"not_checkable": "why not"}})
    found = read("health.unchecked", Examined(gain=checkpoint().gain, health=checks))
    assert found == Found(value=2.0, place=ValuePlace(text=f"{first}, frozen"))
    assert read("health.unchecked", checkpoint()) == Found(value=0.0)


def test_a_number_of_a_check_is_that_of_the_site_that_decides_else_of_the_whole() -> None:
    assert read("health.frozen.moved", a_check("frozen", overall={"moved": 3.0})) == Found(value=3.0)
    curve = a_check("frozen", per_site={"moved": (1.0, 3.0, 0.5)}, overall={"moved": 9.0})
    assert read("health.frozen.moved", curve) == Found(value=3.0, place=ValuePlace(text="0.ffn"))
    assert read("health.frozen.moved", curve, relation=LOW) == Found(value=0.5, place=ValuePlace(text="1.attn"))
    empty = a_check("frozen", per_site={"moved": ()}, overall={"moved": 9.0})
    assert read("health.frozen.moved", empty) == Found(value=9.0)
    spelled = a_check("conformance", overall={"as it is": 0.25, "from weights": 0.5})
    assert read("health.conformance.error", spelled).value == 0.25
    assert read("health.conformance.from_weights", spelled).value == 0.5


@pytest.mark.parametrize(
    ("changes", "missing"),
    [
        ({"not_checkable": "nothing was captured"}, "check frozen: nothing was captured"),
        ({"overall": {}}, "check frozen gives no moved here"),
        ({"overall": {"entropy": 1.0}, "per_site": {"moved": ()}}, "check frozen gives no moved here"),
        ({"name": "other"}, "check frozen was not made"),
    ],
)
def test_a_check_without_the_number_says_why(changes: dict[str, Any], missing: str) -> None:
    assert read("health.frozen.moved", a_check("frozen", **changes)) == nothing(missing)


def test_health_that_was_not_examined_is_no_number() -> None:
    expected = nothing("this checkpoint's health was not examined")
    for name in ("health.failed", "health.unchecked", "health.frozen.moved"):
        assert read(name, Examined(gain=checkpoint().gain)) == expected


# Logs


NO_LOSS = "the log has no judged series 'loss'; it has none"


def test_which_series_each_metric_is_about() -> None:
    assert {one.name: one.series for one in METRICS.values() if one.family is Family.LOG} == {
        "spikes.count.blip": "loss", "spikes.count.spike": "loss", "spikes.count.shift": "loss",
        "spikes.count.divergence": "loss", "spikes.count.nan": "loss", "spikes.count.gradspike": "grad_norm",
        "spikes.count.loss_scale": "loss_scale", "spikes.count.rank": "loss",
        "spikes.count.isolated_nan": "*", "spikes.new": "loss", "spikes.spike_score.olmo2": "loss",
        "spikes.spike_score.olmo_core": "loss", "spikes.points": "loss", "spikes.unreadable_lines": None,
    }  # fmt: skip
    assert {one.series for one in METRICS.values() if one.family is Family.CHECKPOINT} == {None}
    assert [one.name for one in METRICS.values() if one.needs_baseline] == ["spikes.new"]


def test_units() -> None:
    by_unit: dict[str, set[str]] = {}
    for one in METRICS.values():
        by_unit.setdefault(one.unit, set()).add(one.name)
    fractions = {f"health.{check}.{key}" for check, numbers in NUMBERS.items() for key in numbers.fractions}
    scores = {"spikes.spike_score.olmo2", "spikes.spike_score.olmo_core"}
    assert by_unit["fraction"] == fractions | scores | {"weights.scanned"}
    counts = {"gain.nonfinite", "gain.assumed", "gain.skipped", *(f"health.{one}" for one in (*FINDINGS, "unchecked"))}
    of_weights = {f"weights.{one}" for one in ("nonfinite", "warned", "noted", "skipped")}
    of_weights |= {f"weights.count.{kind}" for kind in WeightsKind}
    assert by_unit["count"] == counts | of_weights
    assert by_unit["events"] == {"spikes.new", *(f"spikes.count.{kind}" for kind in EventKind)}
    assert (by_unit["points"], by_unit["lines"]) == ({"spikes.points"}, {"spikes.unreadable_lines"})
    assert set(by_unit) == {"factor", "fraction", "count", "events", "points", "lines"}


@pytest.mark.parametrize("kind", list(EventKind))
def test_a_series_that_is_missing_is_no_count_but_for_the_loss_scaler(kind: EventKind) -> None:
    found = read(f"spikes.count.{kind}", log(series={}))
    name = {EventKind.GRADSPIKE: "grad_norm"}.get(kind, "loss")
    missing = nothing(f"the log has no judged series '{name}'; it has none")
    if kind is EventKind.ISOLATED_NAN:
        missing = nothing("no series could be judged")
    assert found == (Found(value=0.0) if kind is EventKind.LOSS_SCALE else missing)


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
    assert found == Found(value=2.0, place=ValuePlace(text="step 12,040", line=7))
    records = replace(with_events(event(start=12040, line=7)), numbering="record")
    assert read("spikes.count.spike", records).place == ValuePlace(text="step 12,040, record 7", line=None)
    assert read("spikes.count.spike", with_events(event(start=0))).place == ValuePlace(text="step 0", line=51)
    assert read("spikes.count.spike", with_events(event(start=None))).place == ValuePlace(text="step unknown", line=51)


def spans(*each: tuple[float, float, int]) -> tuple[RunSpan, ...]:
    return tuple(RunSpan(first_step=first, last_step=last, points=points) for first, last, points in each)


@pytest.mark.parametrize(
    ("runs", "apart", "new"),
    [
        (spans((100, 200, 11)), 30, 0),  # three times 10 steps
        (spans((100, 200, 11)), 31, 1),
        (spans((0, 100, 101), (0, 40, 5)), 3, 0),
        (spans((0, 100, 101), (0, 40, 5)), 4, 1),
        (spans((0, 40, 2)), 120, 0),
        (spans((0, 40, 2)), 121, 1),
        (spans((7, 7, 1)), 3, 0),
        (spans((7, 7, 1)), 4, 1),
        (spans((0, 40, 1)), 4, 1),
        ((), 3, 0),
        ((), 4, 1),
        (spans((math.nan, math.nan, 11)), 0, 1),  # where no step is known, nothing is the same
    ],
)
def test_new_is_more_than_three_points_of_the_longest_run_away(runs: tuple[RunSpan, ...], apart: int, new: int) -> None:
    before = replace(with_events(event(start=1000), interval=1000), runs=())
    for start in (1000 - apart, 1000 + apart):
        now = replace(with_events(event(start=start)), runs=runs)
        assert read("spikes.new", now, baseline=before).value == new


@pytest.mark.parametrize(
    ("now", "before", "new"),
    [
        (event(start=350), event(start=350), 0),
        (event("shift"), event("spike"), 1),
        (event(start=None), event(start=350), 1),
        (event(start=350), event(start=None), 1),
        (event(start=None), event(start=None), 1),
        (event(start=math.inf), event(start=math.inf), 1),
    ],
)
def test_an_event_is_known_by_kind_and_step(now: Event, before: Event, new: int) -> None:
    assert read("spikes.new", with_events(now), baseline=with_events(before)).value == new


def test_new_needs_the_series_on_both_sides() -> None:
    empty = log(series={})
    assert read("spikes.new", log()) == nothing("there is no baseline to compare with")
    assert read("spikes.new", empty, baseline=log()) == nothing(NO_LOSS)
    assert read("spikes.new", log(), baseline=empty) == nothing(NO_LOSS)
    elsewhere = with_events(event(), name="grad_norm")
    assert read("spikes.new", elsewhere, baseline=log()).value == 0
    assert read("spikes.new", elsewhere, baseline=log(), series="grad_norm").value == 1
    assert read("spikes.new", elsewhere, baseline=log(), series="*").value == 1


@pytest.mark.parametrize(("rule", "window"), [("olmo2", 1000), ("olmo_core", 128)])
def test_a_score_is_that_of_its_series_or_of_the_one_that_decides(rule: str, window: int) -> None:
    scores = {"loss": 0.25, "grad_norm": 0.5, "loss_scale": math.nan}
    both = {"olmo2": 7.0, "olmo_core": 7.0}
    record = log(series={name: series(name, **both | {rule: score}) for name, score in scores.items()})
    name = f"spikes.spike_score.{rule}"
    assert read(name, record) == Found(value=0.25)
    assert read(name, record, series="grad_norm") == Found(value=0.5)
    assert read(name, record, series="*") == Found(value=0.5)
    assert read(name, record, series="*", relation=LOW) == Found(value=0.25)
    short = nothing(f"no run is long enough for this score ({window} points)")
    assert read(name, record, series="loss_scale") == short
    assert read(name, with_series(record, loss=series(**both | {rule: math.inf})), series="*").value == math.inf
    assert read(name, log(series={})) == nothing(NO_LOSS)


def test_points_are_those_of_the_series_or_of_the_one_that_decides() -> None:
    points = {"loss": 11, "grad_norm": 13, "loss_scale": 7}
    record = log(series={name: series(name, points=count) for name, count in points.items()})
    assert read("spikes.points", record) == Found(value=11.0)
    assert read("spikes.points", record, series="*").value == 13
    assert read("spikes.points", record, series="*", relation=LOW).value == 7
    assert read("spikes.points", log(series={})) == nothing(NO_LOSS)
    assert read("spikes.points", log(series={}), series="*") == nothing("no series could be judged")


def test_unreadable_lines_are_those_of_the_whole_log() -> None:
    assert read("spikes.unreadable_lines", log(unreadable_lines=3, series={})) == Found(value=3.0)


def test_a_series_that_was_not_judged_is_told_with_those_that_were() -> None:
    expected = nothing("the log has no judged series 'eval'; it has loss, grad_norm, loss_scale")
    for name in ("spikes.count.nan", "spikes.points", "spikes.spike_score.olmo2"):
        assert read(name, log(), series="eval") == expected

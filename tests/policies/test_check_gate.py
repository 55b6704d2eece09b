"""Every gate that a policy can have: at the limit, just above it, infinity, NaN in each place, missing."""

import math
from dataclasses import replace
from itertools import product

import pytest
from checkrecords import (
    CHECKPOINT,
    LOG,
    SITES,
    checkpoint,
    event,
    is_curve,
    log,
    series,
    with_events,
    with_series,
    with_value,
    without,
)
from hypothesis import given
from hypothesis import strategies as st

from mhcdiag.metrics import METRICS, Examined, Metric
from mhcdiag.policies.gates import JUDGEABLE, applies, gates_for, judge_gate, overall, unjudged, without_allowed
from mhcdiag.policies.policy import Allow, PolicyGate
from mhcdiag.results.check import Family, GateSeverity, ValuePlace
from mhcdiag.results.gain import Definition, Direction, Kind, Reduction
from mhcdiag.results.numbers import Huge, Number
from mhcdiag.results.spikes import EventKind, LogResult, RunSpan
from mhcdiag.results.verdict import Relation, Verdict

FACTORS = [metric for metric in METRICS.values() if metric.unit == "factor"]
FRACTIONS = [metric for metric in METRICS.values() if metric.unit == "fraction"]
NUMBERS = [*FACTORS, *FRACTIONS]
COUNTS = [metric for metric in METRICS.values() if metric not in NUMBERS]
CURVES = [metric for metric in FACTORS if is_curve(metric)]
ALWAYS_THERE = (
    "spikes.unreadable_lines", "spikes.count.loss_scale", "gain.nonfinite", "gain.assumed", "gain.skipped",
)  # fmt: skip
LEFT_OUT = [metric for metric in METRICS.values() if metric.name not in ALWAYS_THERE]

WORST = METRICS["gain.worst.backward.norm"]
CURVE = METRICS["gain.prefix.forward.norm.max"]
SPIKE = METRICS["spikes.count.spike"]
NEW = METRICS["spikes.new"]


def name_of(one: object) -> str | None:
    return one.name if isinstance(one, Metric) else None


def gate_on(metric: Metric, **limits: object) -> PolicyGate:
    return PolicyGate(metric=metric.name, name="the gate", **limits)  # type: ignore[arg-type]


def verdict(
    metric: Metric, value: Number | None, *, site: int = 0, baseline: object = None, **limits: object
) -> Verdict:
    found = with_value(metric, value, site=site)
    if baseline is None and metric.needs_baseline:
        baseline = log()
    return judge_gate(gate_on(metric, **limits), found, baseline).verdict  # type: ignore[arg-type]


# Laws


numbers = st.floats(min_value=0) | st.builds(Huge, st.floats(308, 5000)) | st.just(math.nan)
limits = st.floats(min_value=0, allow_nan=False, allow_infinity=False)


CURVE_KEY = (Kind.PREFIX, Direction.FORWARD, Definition.NORM, Reduction.MAX)


def curve_of(values: list[Number]) -> Examined:
    return checkpoint(gain={CURVE_KEY: tuple(values)})


def is_nan(value: Number) -> bool:
    return not isinstance(value, Huge) and math.isnan(value)


curves = st.lists(numbers, min_size=len(SITES), max_size=len(SITES))


@given(values=curves, limit=limits)
def test_an_upper_limit_passes_where_every_number_is_below_it(values: list[Number], limit: float):
    expected = all(not isinstance(value, Huge) and value <= limit for value in values)
    outcome = judge_gate(gate_on(CURVE, max=limit), curve_of(values), None)
    assert outcome.verdict is (Verdict.PASS if expected else Verdict.FAIL)


@given(values=curves, limit=limits)
def test_a_lower_limit_passes_where_every_number_is_above_it(values: list[Number], limit: float):
    expected = all(not is_nan(value) and (isinstance(value, Huge) or value >= limit) for value in values)
    outcome = judge_gate(gate_on(CURVE, min=limit), curve_of(values), None)
    assert outcome.verdict is (Verdict.PASS if expected else Verdict.FAIL)


@given(values=curves, lower=limits, higher=limits)
def test_a_higher_limit_never_turns_a_pass_into_a_failure(values: list[Number], lower: float, higher: float):
    lower, higher = sorted((lower, higher))
    record = curve_of(values)
    if judge_gate(gate_on(CURVE, max=lower), record, None).verdict is Verdict.PASS:
        assert judge_gate(gate_on(CURVE, max=higher), record, None).verdict is Verdict.PASS
    if judge_gate(gate_on(CURVE, min=higher), record, None).verdict is Verdict.PASS:
        assert judge_gate(gate_on(CURVE, min=lower), record, None).verdict is Verdict.PASS


@given(values=curves, data=st.data())
def test_the_order_of_sites_does_not_matter(values: list[Number], data: st.DataObject):
    limit = data.draw(limits)
    mixed = data.draw(st.permutations(values))
    for side in ("max", "min"):
        gate = gate_on(CURVE, **{side: limit})
        one, two = judge_gate(gate, curve_of(values), None), judge_gate(gate, curve_of(mixed), None)
        assert one.verdict is two.verdict
        assert one.value == two.value or (is_nan(one.value) and is_nan(two.value))


@given(value=numbers, before=st.floats(0, 1e100), ratio=st.floats(1e-3, 1e3))
def test_a_ratio_is_a_limit_times_the_baseline(value: Number, before: float, ratio: float):
    baseline = with_value(WORST, before)
    assert verdict(WORST, value, baseline=baseline, max_ratio=ratio) is verdict(WORST, value, max=ratio * before)


@given(before=numbers, value=numbers, ratio=st.floats(1e-3, 1e3))
def test_no_baseline_lets_nan_pass(before: Number, value: Number, ratio: float):
    found = verdict(WORST, value, baseline=with_value(WORST, before), max_ratio=ratio)
    if found is Verdict.PASS:
        assert not is_nan(value)
        assert not is_nan(before)
        assert math.isfinite(float(value))
        assert math.isfinite(float(before))


events = st.lists(st.tuples(st.sampled_from(["spike", "shift", "blip"]), st.integers(0, 1000)), max_size=11)


def with_found(found: list[tuple[str, int]]) -> LogResult:
    return with_events(*(event(kind, start) for kind, start in found))


@given(found=events, first=st.integers(0, 1000), length=st.integers(0, 500))
def test_every_event_is_either_allowed_or_left(found: list[tuple[str, int]], first: int, length: int):
    entry = Allow(steps=(first, first + length), kind="spike", reason="known")
    screened = without_allowed(with_found(found), [entry])
    kept = [(one.kind, one.start) for one in screened.log.series["loss"].events]
    gone = [(one.kind, one.step) for one in screened.allowed]
    assert sorted([*kept, *gone]) == sorted(found)
    assert all(kind == "spike" and first <= step <= first + length for kind, step in gone)
    assert not any(kind == "spike" and first <= step <= first + length for kind, step in kept)


@given(found=events, shift=st.integers(-3 * 7, 3 * 7))
def test_nothing_is_new_against_itself_or_within_three_points(found: list[tuple[str, int]], shift: int):
    before = with_found(found)
    moved = with_found([(kind, start + shift) for kind, start in found])
    assert judge_gate(gate_on(NEW, max=0), moved, before).verdict is Verdict.PASS


@given(found=events)
def test_everything_is_new_against_a_log_without_events(found: list[tuple[str, int]]):
    assert judge_gate(gate_on(NEW, max=0), with_found(found), log()).value == len(found)


# Every metric


UPPER = {
    30.0: Verdict.PASS,
    math.nextafter(30.0, math.inf): Verdict.FAIL,
    math.inf: Verdict.FAIL,
    math.nan: Verdict.FAIL,
    Huge(400.0): Verdict.FAIL,
    None: Verdict.UNJUDGED,
}
"""What `max = 30` says of a number."""

LOWER = {
    0.5: Verdict.PASS,
    math.nextafter(0.5, 0): Verdict.FAIL,
    math.inf: Verdict.PASS,
    Huge(400.0): Verdict.PASS,
    math.nan: Verdict.FAIL,
    -math.inf: Verdict.FAIL,
    None: Verdict.UNJUDGED,
}
"""What `min = 0.5` says of it."""


@pytest.mark.parametrize("metric", FACTORS, ids=name_of)
@pytest.mark.parametrize(("limit", "table"), [({"max": 30.0}, UPPER), ({"min": 0.5}, LOWER)], ids=["max", "min"])
def test_factors(metric: Metric, limit: dict[str, float], table: dict[Number | None, Verdict]):
    for site in range(len(SITES) if is_curve(metric) else 1):
        assert {value: verdict(metric, value, site=site, **limit) for value in table} == table


@pytest.mark.parametrize("metric", FRACTIONS, ids=name_of)
@pytest.mark.parametrize(
    ("value", "above", "below"),
    [
        (0.25, Verdict.PASS, Verdict.PASS),
        (math.nextafter(0.25, 1), Verdict.FAIL, Verdict.PASS),
        (math.nextafter(0.25, 0), Verdict.PASS, Verdict.FAIL),
        (math.inf, Verdict.FAIL, Verdict.PASS),
        (math.nan, Verdict.FAIL, Verdict.FAIL),
        (None, Verdict.UNJUDGED, Verdict.UNJUDGED),
    ],
)
def test_fractions(metric: Metric, value: float | None, above: Verdict, below: Verdict):
    if value is not None and math.isnan(value) and metric.family is Family.LOG:
        above = below = Verdict.UNJUDGED  # a spike score of NaN says that no run has a full window
    assert verdict(metric, value, max=0.25) is above
    assert verdict(metric, value, min=0.25) is below


@pytest.mark.parametrize("metric", COUNTS, ids=name_of)
@pytest.mark.parametrize(
    ("value", "above", "below"),
    [(3, Verdict.PASS, Verdict.PASS), (4, Verdict.FAIL, Verdict.PASS), (2, Verdict.PASS, Verdict.FAIL)],
)
def test_counts(metric: Metric, value: int, above: Verdict, below: Verdict):
    assert verdict(metric, value, max=3.0) is above
    assert verdict(metric, value, min=3.0) is below
    assert judge_gate(gate_on(metric, max=3.0), with_value(metric, value), log()).value == value


@pytest.mark.parametrize("metric", LEFT_OUT, ids=name_of)
def test_what_is_missing_is_unjudged_with_a_reason(metric: Metric):
    for side in ("max", "min", "max_ratio"):
        outcome = judge_gate(gate_on(metric, **{side: 0.5}), without(metric), with_value(metric, 1))
        assert outcome.verdict is Verdict.UNJUDGED
        assert outcome.value is None
        assert outcome.finding


def test_a_log_without_a_loss_scaler_has_no_events_of_one():
    assert judge_gate(gate_on(METRICS["spikes.count.loss_scale"], max=0), without(SPIKE), None).verdict is Verdict.PASS


@pytest.mark.parametrize("metric", FACTORS, ids=name_of)
def test_null_says_what_is_missing(metric: Metric):
    outcome = judge_gate(gate_on(metric, max=30.0), with_value(metric, None), None)
    assert outcome.verdict is Verdict.UNJUDGED
    assert outcome.finding


@pytest.mark.parametrize("metric", [one for one in METRICS.values() if not one.needs_baseline], ids=name_of)
def test_ratio_to_the_baseline(metric: Metric):
    before, at, above = (1.0, 0.5, math.nextafter(0.5, 1)) if metric.unit in ("factor", "fraction") else (4, 2, 3)
    if is_curve(metric):
        before, at, above = 2.0, 1.0, math.nextafter(1.0, 2)  # the other sites are 1
    baseline = with_value(metric, before)
    passed, failed = (
        judge_gate(gate_on(metric, max_ratio=0.5), with_value(metric, value), baseline) for value in (at, above)
    )
    assert passed.verdict is Verdict.PASS
    assert failed.verdict is Verdict.FAIL
    assert failed.limit == 0.5 * before
    assert failed.baseline == before


@pytest.mark.parametrize("metric", [one for one in METRICS.values() if not one.needs_baseline], ids=name_of)
def test_a_ratio_without_its_baseline_is_unjudged(metric: Metric):
    outcome = judge_gate(gate_on(metric, max_ratio=2.0), with_value(metric, 1), None)
    assert outcome.verdict is Verdict.UNJUDGED
    assert outcome.limit is None
    assert outcome.finding == "no limit: not in the baseline"


@pytest.mark.parametrize("metric", FACTORS, ids=name_of)
def test_a_baseline_that_is_no_number_limits_nothing(metric: Metric):
    for before in (math.nan, math.inf, Huge(400.0), None):
        outcome = judge_gate(gate_on(metric, max_ratio=2.0), with_value(metric, 1.0), with_value(metric, before))
        assert outcome.verdict is Verdict.UNJUDGED
        assert outcome.limit is None
        assert outcome.finding.startswith("no limit: ")
        assert len(outcome.finding) > len("no limit: ")


@pytest.mark.parametrize("before", [math.nan, math.inf, Huge(400.0), None, 1.0])
def test_nan_fails_whatever_the_baseline(before: Number | None):
    assert verdict(WORST, math.nan, baseline=with_value(WORST, before), max_ratio=2.0) is Verdict.FAIL


def test_a_ratio_that_overflows_is_no_limit():
    assert verdict(WORST, 1.0, baseline=with_value(WORST, 1e308), max_ratio=100.0) is Verdict.UNJUDGED


def test_a_baseline_of_zero_allows_zero():
    baseline = with_value(WORST, 0.0)
    assert verdict(WORST, 0.0, baseline=baseline, max_ratio=2.0) is Verdict.PASS
    assert verdict(WORST, 5e-324, baseline=baseline, max_ratio=2.0) is Verdict.FAIL


# What an outcome says


def test_the_outcome_carries_what_the_gate_says():
    gate = PolicyGate(metric=WORST.name, name="a name", max=30.0, severity=GateSeverity.WARNING, reason="because")
    outcome = judge_gate(gate, with_value(WORST, 31.0), None)
    assert (outcome.gate, outcome.metric, outcome.reason) == ("a name", WORST.name, "because")
    assert (outcome.path, outcome.series, outcome.severity) == (CHECKPOINT, None, GateSeverity.WARNING)
    assert (outcome.value, outcome.limit, outcome.relation) == (31.0, 30.0, Relation.AT_MOST)
    assert (outcome.finding, outcome.place) == ("above its limit", ValuePlace(text="0.attn to 1.attn"))


@pytest.mark.parametrize("metric", CURVES, ids=name_of)
def test_the_site_that_decides_is_named(metric: Metric):
    cases = ((31.0, {"max": 30.0}), (0.25, {"min": 0.5}), (math.nan, {"max": 30.0}))
    for site, (value, limit) in product(range(len(SITES)), cases):
        outcome = judge_gate(gate_on(metric, **limit), with_value(metric, value, site=site), None)
        assert outcome.verdict is Verdict.FAIL
        assert outcome.place == ValuePlace(text=SITES[site])


@pytest.mark.parametrize("kind", list(EventKind))
def test_the_first_event_is_named_by_step_and_line(kind: EventKind):
    metric = METRICS[f"spikes.count.{kind}"]
    found = (event(kind, start=12040, line=1007), event(kind, start=13000))
    outcome = judge_gate(gate_on(metric, max=1), with_events(*found, name=metric.series), None)
    assert (outcome.value, outcome.place) == (2, ValuePlace(text="step 12,040", line=1007))
    assert outcome.series == metric.series


def test_an_event_without_a_step_is_counted():
    record = with_events(event(start=None))
    assert judge_gate(gate_on(SPIKE, max=0), record, None).place == ValuePlace(text="step unknown", line=51)
    assert judge_gate(gate_on(NEW, max=0), record, record).value == 1


# Series, kinds, paths


@pytest.mark.parametrize("metric", [one for one in METRICS.values() if one.series is not None], ids=name_of)
def test_a_series_that_was_not_judged_is_unjudged(metric: Metric):
    outcome = judge_gate(gate_on(metric, max=0, series="eval_loss"), log(), log())
    assert outcome.verdict is Verdict.UNJUDGED
    assert "no judged series 'eval_loss'; it has loss, grad_norm, loss_scale" in outcome.finding
    assert outcome.series == "eval_loss"


def test_a_series_is_the_gates_own_choice():
    broken = series("grad_norm", event(EventKind.NAN))
    record = with_series(log(), grad_norm=broken, eval_loss=broken)
    metric = METRICS["spikes.count.nan"]
    for name, count in ((None, 0), ("loss", 0), ("grad_norm", 1), ("eval_loss", 1), ("*", 2)):
        assert judge_gate(gate_on(metric, max=0, series=name), record, None).value == count


def test_every_series_is_none_where_none_was_judged():
    record = log(series={})
    for metric in (SPIKE, NEW, METRICS["spikes.spike_score.olmo_core"], METRICS["spikes.points"]):
        assert judge_gate(gate_on(metric, max=0, series="*"), record, log()).finding == "no series could be judged"


@pytest.mark.parametrize(("side", "value"), [("max", 0.75), ("min", 0.125)])
def test_of_every_series_the_one_nearest_to_failing_counts(side: str, value: float):
    scores = zip(log().series, (0.125, 0.75, 0.5), strict=True)
    record = log(series={name: series(name, points=score, olmo_core=score) for name, score in scores})
    for name in ("spikes.spike_score.olmo_core", "spikes.points"):
        assert judge_gate(gate_on(METRICS[name], series="*", **{side: 0.25}), record, None).value == value


def test_kinds_are_told_apart():
    for counted in EventKind:
        for there in EventKind:
            metric = METRICS[f"spikes.count.{counted}"]
            record = with_events(event(there), name=metric.series)
            assert judge_gate(gate_on(metric, max=0), record, None).value == (counted is there)


def test_a_divergence_that_a_resume_ended_is_over():
    metric = METRICS["spikes.count.divergence"]
    for recovered, count in ((None, 1), (True, 0), (False, 0)):
        record = with_events(event(EventKind.DIVERGENCE, recovered=recovered))
        assert judge_gate(gate_on(metric, max=0), record, None).value == count


@pytest.mark.parametrize(
    ("pattern", "path", "covered"),
    [
        ("*", "anything/at/all", True),
        ("logs/*.jsonl", "logs/run.jsonl", True),
        ("logs/*.jsonl", "runs/7/logs/run.jsonl", True),
        ("run.jsonl", "logs/run.jsonl", True),
        ("run.jsonl", "logs/other_run.jsonl", False),
        ("step_1??", "checkpoints/step_100", True),
        ("step_1??", "checkpoints/step_1000", False),
        ("Logs/*", "logs/run.jsonl", False),
        ("run[12].jsonl", "logs/run2.jsonl", True),
    ],
)
def test_patterns_of_paths(pattern: str, path: str, covered: bool):
    assert applies(pattern, path) is covered


def test_gates_apply_by_family_and_path():
    gates = [
        PolicyGate(metric=WORST.name, name="a", max=1.0),
        PolicyGate(metric=WORST.name, name="b", max=1.0, paths="step_2*"),
        PolicyGate(metric=SPIKE.name, name="c", max=1.0),
    ]
    assert [gate.name for gate in gates_for(gates, Family.CHECKPOINT, CHECKPOINT)] == ["a"]
    assert [gate.name for gate in gates_for(gates, Family.CHECKPOINT, "checkpoints/step_200")] == ["a", "b"]
    assert [gate.name for gate in gates_for(gates, Family.LOG, LOG)] == ["c"]


# Events that are new


@pytest.mark.parametrize(
    ("start", "kind", "new"), [(350, "spike", 0), (371, "spike", 0), (372, "spike", 1), (329, "spike", 0),
                               (328, "spike", 1), (350, "shift", 1)]
)  # fmt: skip
def test_new_is_more_than_three_points_from_an_event_of_the_same_kind(start: int, kind: str, new: int):
    outcome = judge_gate(gate_on(NEW, max=0), with_found([(kind, start)]), with_found([("spike", 350)]))
    assert outcome.value == new


def test_new_without_a_baseline_or_its_series_is_unjudged():
    assert judge_gate(gate_on(NEW, max=0), log(), None).finding == "there is no baseline to compare with"
    outcome = judge_gate(gate_on(NEW, max=0), log(), log(series={}))
    assert outcome.verdict is Verdict.UNJUDGED


@pytest.mark.parametrize("runs", [(), (RunSpan(first_step=math.nan, last_step=math.nan, points=0),)])
def test_new_in_a_log_without_two_points_counts_single_steps(runs: tuple[RunSpan, ...]):
    record = replace(with_found([("spike", 354)]), runs=runs)
    assert judge_gate(gate_on(NEW, max=0), record, with_found([("spike", 350)])).value == 1
    assert judge_gate(gate_on(NEW, max=0), record, with_found([("spike", 351)])).value == 0


# Allowed events


@pytest.mark.parametrize(
    ("entry", "allowed"),
    [
        ({}, True),
        ({"kind": "spike"}, True),
        ({"kind": "shift"}, False),
        ({"series": "loss"}, True),
        ({"series": "grad_norm"}, False),
        ({"paths": "logs/run.jsonl"}, True),
        ({"paths": "*.csv"}, False),
        ({"steps": (350.0, 350.0)}, True),
        ({"steps": (351.0, 400.0)}, False),
        ({"steps": (300.0, 349.0)}, False),
    ],
)
def test_an_entry_allows_what_all_its_keys_say(entry: dict[str, object], allowed: bool):
    record = with_found([("spike", 350)])
    listed = Allow(**{"steps": (300.0, 400.0), "reason": "corrupt shard", **entry})  # type: ignore[arg-type]
    screened = without_allowed(record, [listed])
    assert judge_gate(gate_on(SPIKE, max=0), screened.log, None).verdict is (Verdict.PASS if allowed else Verdict.FAIL)
    assert [(one.path, one.series, one.step, one.line, one.reason) for one in screened.allowed] == (
        [(LOG, "loss", 350.0, 51, "corrupt shard")] if allowed else []
    )


def test_an_event_without_a_step_is_never_allowed():
    for start in (None, math.inf):
        record = with_events(event(start=start))
        assert without_allowed(record, [Allow(steps=(0.0, math.inf), reason="all")]).allowed == ()


def test_the_record_itself_is_left_as_it_was():
    record = with_found([("spike", 350)])
    without_allowed(record, [Allow(steps=(0.0, 1000.0), reason="all")])
    assert record == with_found([("spike", 350)])


# Several together


@pytest.mark.parametrize(
    ("found", "strict", "together"),
    [
        ([], False, Verdict.UNJUDGED),
        ([(Verdict.PASS, GateSeverity.ERROR)], False, Verdict.PASS),
        ([(Verdict.FAIL, GateSeverity.WARNING)], False, Verdict.PASS),
        ([(Verdict.FAIL, GateSeverity.WARNING)], True, Verdict.FAIL),
        ([(Verdict.UNJUDGED, GateSeverity.WARNING), (Verdict.PASS, GateSeverity.ERROR)], False, Verdict.PASS),
        ([(Verdict.UNJUDGED, GateSeverity.WARNING), (Verdict.PASS, GateSeverity.ERROR)], True, Verdict.UNJUDGED),
        ([(Verdict.UNJUDGED, GateSeverity.ERROR), (Verdict.FAIL, GateSeverity.ERROR)], False, Verdict.FAIL),
        ([(Verdict.UNJUDGED, GateSeverity.ERROR), (Verdict.FAIL, GateSeverity.WARNING)], False, Verdict.UNJUDGED),
    ],
)
def test_one_verdict_for_several(found: list[tuple[Verdict, GateSeverity]], strict: bool, together: Verdict):
    outcomes = [
        replace(unjudged(LOG, Family.LOG, "too short"), verdict=one, severity=severity) for one, severity in found
    ]
    assert overall(outcomes, strict=strict) is together


def test_what_cannot_be_judged_at_all_has_a_gate_of_its_own():
    outcome = unjudged(LOG, Family.LOG, "7 points are too few")
    assert (outcome.gate, outcome.metric, outcome.verdict) == (JUDGEABLE, "spikes.judgeable", Verdict.UNJUDGED)
    assert unjudged(CHECKPOINT, Family.CHECKPOINT, "why").metric == "gain.judgeable"

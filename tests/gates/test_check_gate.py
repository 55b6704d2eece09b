"""Gates of a policy: every metric against its limit, with whatever can stand in a document."""

import copy
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mhcdiag.gates.allowing import applies, without_allowed
from mhcdiag.gates.check import gates_for, judge_gate, overall, unjudged
from mhcdiag.metrics import METRICS
from mhcdiag.policy.record import Allow, Gate
from mhcdiag.results.check import Family, Relation, Severity
from mhcdiag.results.numbers import Huge
from mhcdiag.results.verdict import Verdict

CURVE = [1.0, 7.0, 2.0]
EVENT = {"kind": "spike", "run": 0, "line": 41, "start": 400, "recovered": True}


def checkpoint() -> dict[str, Any]:
    """A document in which every number that a limit can be about is 7, and 1 the smallest of a curve."""
    span = {"value": 7.0, "from_site": "0.attn", "to_site": "1.ffn"}
    definitions = {"amax": span, "norm": span}
    reductions = dict.fromkeys(("mean", "p50", "p99", "max", "of_mean", "mean_without_first"), CURVE)
    by_definition = {"amax": reductions, "norm": reductions}
    bound = {"single": CURVE, "prefix": CURVE, "suffix": CURVE, "worst": 7.0, "why": "a test"}
    return {
        "path": "a.safetensors",
        "layout": "test",
        "streams": 4,
        "sites": ["0.attn", "0.ffn", "1.attn"],
        "worst": {"forward": definitions, "backward": definitions},
        "gain": {
            kind: dict.fromkeys(("forward", "backward"), by_definition) for kind in ("single", "prefix", "suffix")
        },
        "bound": {"forward": bound, "backward": bound},
        "sinkhorn": {"row_residual": CURVE, "column_residual": CURVE, "log_sum_mean": 7.0, "log_sum_max": 7.0},
        "nonfinite": [{"site": f"{i}.attn", "tensors": [], "found": "NaN"} for i in range(7)],
        "assumed": list("abcdefg"),
        "skipped": [{"what": str(i), "reason": "x"} for i in range(7)],
    }


def log() -> dict[str, Any]:
    """A document with seven events of every kind in every series, seven points and seven unreadable lines."""
    kinds = ("blip", "spike", "shift", "divergence", "nan", "gradspike", "loss_scale")
    events = [
        {**EVENT, "kind": kind, "start": 100 * i, "line": i, "recovered": None} for kind in kinds for i in range(1, 8)
    ]
    score = {"olmo2": 0.7, "olmo_core": 0.7}
    series = {"source_name": "x", "points": 7, "spike_score": score, "events": events}
    return {
        "path": "run.jsonl",
        "unreadable_lines": 7,
        "runs": [{"first_step": 0, "last_step": 990, "points": 100}],
        "series": {"loss": series, "grad_norm": series, "loss_scale": series},
    }


def document(name: str) -> dict[str, Any]:
    return copy.deepcopy(checkpoint() if METRICS[name].family is Family.CHECKPOINT else log())


def value_of(name: str) -> float:
    if name == "spikes.new":
        return 49.0
    return 0.7 if METRICS[name].unit == "fraction" else 7.0


def judged(name: str, found: dict[str, Any], **limits: Any):
    empty = {**log(), "series": {name: {**one, "events": []} for name, one in log()["series"].items()}}
    baseline = limits.pop("baseline", empty if name == "spikes.new" else None)
    return judge_gate(Gate(metric=name, name="g", **limits), found, baseline)


def poisoned(tree: Any, value: object) -> Any:
    """The document with every number replaced, of curves the last: Python's max drops a NaN that comes late."""
    if isinstance(tree, dict):
        return {key: poisoned(one, value) for key, one in tree.items()}
    if tree == CURVE:
        return [*CURVE[:-1], value]
    return value if isinstance(tree, float) else tree


@pytest.mark.parametrize("name", METRICS)
def test_a_value_at_its_limit_passes_and_one_just_above_fails(name):
    value = value_of(name)
    at = judged(name, document(name), max=value)
    assert (at.verdict, at.finding, at.value) == (Verdict.PASS, "", value)
    above = judged(name, document(name), max=math.nextafter(value, 0))
    assert (above.verdict, above.finding) == (Verdict.FAIL, "above its limit")
    assert above.limit is not None
    assert above.value > above.limit


@pytest.mark.parametrize("name", METRICS)
def test_a_lower_limit_judges_the_smallest_and_fails_just_below(name):
    found = document(name)
    curve = name.split(".")[1] in ("single", "prefix", "suffix") or name.endswith(("residual",))
    curve = curve or (".bound." in name and not name.endswith("worst"))
    value = 1.0 if curve else value_of(name)
    assert judged(name, found, min=value).verdict is Verdict.PASS
    below = judged(name, found, min=math.nextafter(value, math.inf))
    assert (below.verdict, below.finding, below.relation) == (Verdict.FAIL, "below its limit", Relation.AT_LEAST)


GAINS = [name for name, metric in METRICS.items() if metric.family is Family.CHECKPOINT and metric.unit == "factor"]


@pytest.mark.parametrize("name", GAINS)
@pytest.mark.parametrize(
    ("written", "verdict", "finding"),
    [
        ("nan", Verdict.FAIL, "NaN is within no limit"),
        ("inf", Verdict.FAIL, "above its limit"),
        ({"log10": 4880.5}, Verdict.FAIL, "above its limit"),
        (None, Verdict.UNJUDGED, None),
    ],
)
def test_what_is_no_number_never_passes(name, written, verdict, finding):
    outcome = judged(name, poisoned(document(name), written), max=1e300)
    assert outcome.verdict is verdict
    assert outcome.finding == finding if finding else outcome.finding
    if written == {"log10": 4880.5}:
        assert outcome.value == Huge(4880.5)


@pytest.mark.parametrize("name", GAINS)
def test_nan_fails_a_lower_limit_too(name):
    assert judged(name, poisoned(document(name), "nan"), min=0.0).verdict is Verdict.FAIL


@pytest.mark.parametrize("name", METRICS)
def test_a_document_without_the_metric_leaves_it_unjudged(name):
    bare = {"path": "x", "layout": "plain", "sites": [], "sinkhorn": None, "series": {}, "runs": []}
    if name == "spikes.unreadable_lines":
        pytest.skip("every log has lines")
    outcome = judged(name, bare, max=1.0)
    if name == "spikes.count.loss_scale":  # the scaler is watched in every log, and most have none
        assert outcome.verdict is Verdict.PASS
    else:
        assert outcome.verdict is Verdict.UNJUDGED
        assert outcome.value is None
        assert outcome.finding


@pytest.mark.parametrize("name", [name for name in METRICS if name != "spikes.new"])
def test_a_ratio_is_held_against_the_baseline(name):
    found = document(name)
    assert judged(name, found, max_ratio=1.0, baseline=found).verdict is Verdict.PASS
    failed = judged(name, found, max_ratio=0.5, baseline=found)
    assert (failed.verdict, failed.baseline) == (Verdict.FAIL, value_of(name))
    missing = judged(name, found, max_ratio=1.0, baseline=None)
    assert (missing.verdict, missing.limit) == (Verdict.UNJUDGED, None)
    assert "not in the baseline" in missing.finding


@pytest.mark.parametrize(
    ("before", "verdict"),
    [("nan", Verdict.UNJUDGED), (None, Verdict.UNJUDGED), ({"log10": 400.0}, Verdict.UNJUDGED), (0.0, Verdict.FAIL)],
)
def test_a_baseline_that_is_no_number_judges_nothing(before, verdict):
    name = "gain.worst.forward.norm"
    outcome = judged(name, document(name), max_ratio=2.0, baseline=poisoned(document(name), before))
    assert outcome.verdict is verdict


@given(value=st.floats(0, 1e12), low=st.floats(0, 1e12), more=st.floats(0, 1e12))
def test_raising_a_limit_never_turns_a_pass_into_a_failure(value, low, more):
    found = poisoned(checkpoint(), value)
    strict = judged("gain.worst.forward.norm", found, max=low).verdict
    loose = judged("gain.worst.forward.norm", found, max=low + more).verdict
    assert not (strict is Verdict.PASS and loose is Verdict.FAIL)


def test_composites_of_streams_that_end_at_each_layer_are_not_judged():
    found = {**checkpoint(), "composes": False}
    assert judged("gain.worst.forward.norm", found, max=1000.0).verdict is Verdict.UNJUDGED
    assert judged("gain.single.forward.norm.mean", found, max=1000.0).verdict is Verdict.PASS


def test_the_place_names_the_site_or_the_line():
    assert judged("gain.single.forward.norm.mean", checkpoint(), max=1.0).place.text == "0.ffn"
    assert judged("gain.worst.forward.norm", checkpoint(), max=1.0).place.text == "0.attn to 1.ffn"
    place = judged("spikes.count.spike", log(), max=1.0).place
    assert (place.text, place.line) == ("step 100", 1)


@pytest.mark.parametrize(("series", "count"), [(None, 7.0), ("loss", 7.0), ("*", 21.0)])
def test_events_are_counted_in_the_series_of_the_gate(series, count):
    assert judged("spikes.count.spike", log(), max=0.0, series=series).value == count


def test_a_series_the_log_does_not_have_is_named():
    outcome = judged("spikes.count.spike", log(), max=0.0, series="G_raw")
    assert outcome.verdict is Verdict.UNJUDGED
    assert "no judged series 'G_raw'; it has loss, grad_norm, loss_scale" in outcome.finding


def test_a_divergence_that_a_resume_ended_is_over():
    found = log()
    found["series"]["loss"] = {**found["series"]["loss"], "events": [{**EVENT, "kind": "divergence"}]}
    assert judged("spikes.count.divergence", found, max=0.0).value == 0


@pytest.mark.parametrize(("start", "kind", "new"), [(430, "spike", 0.0), (431, "spike", 1.0), (400, "blip", 1.0)])
def test_an_event_is_new_without_one_of_its_kind_within_three_points(start, kind, new):
    """The log has a point every ten steps."""
    found, before = log(), log()
    found["series"] = {"loss": {**found["series"]["loss"], "events": [EVENT]}}
    before["series"] = {"loss": {**before["series"]["loss"], "events": [{**EVENT, "start": start, "kind": kind}]}}
    outcome = judged("spikes.new", found, max=0.0, baseline=before)
    assert outcome.value == new


def test_a_gate_applies_to_its_family_and_paths():
    gates = [
        Gate(metric="gain.nonfinite", name="a", max=0),
        Gate(metric="spikes.points", name="b", min=10),
        Gate(metric="spikes.points", name="c", min=10, paths="logs/base*"),
    ]
    assert [gate.name for gate in gates_for(gates, Family.CHECKPOINT, "x")] == ["a"]
    assert [gate.name for gate in gates_for(gates, Family.LOG, "logs/base1.jsonl")] == ["b", "c"]
    assert [gate.name for gate in gates_for(gates, Family.LOG, "logs/other.jsonl")] == ["b"]


@pytest.mark.parametrize(
    ("pattern", "path", "fits"),
    [
        ("*", "anything", True),
        ("logs/*.jsonl", "logs/a.jsonl", True),
        ("logs/*.jsonl", "/scratch/run/logs/a.jsonl", True),
        ("a.jsonl", "logs/a.jsonl", True),
        ("a.jsonl", "logs/ba.jsonl", False),
    ],
)
def test_patterns_match_from_any_folder_on(pattern, path, fits):
    assert applies(pattern, path) is fits


@pytest.mark.parametrize(
    ("change", "left"),
    [
        ({}, 0),
        ({"kind": "spike"}, 0),
        ({"kind": "nan"}, 1),
        ({"series": "grad_norm"}, 1),
        ({"paths": "other*"}, 1),
        ({"steps": (401, 500)}, 1),
        ({"steps": (300, 399)}, 1),
        ({"steps": (400, 400)}, 0),
    ],
)
def test_an_allowed_event_counts_nowhere_and_is_kept(change, left):
    found = log()
    found["series"] = {"loss": {**found["series"]["loss"], "events": [EVENT]}}
    entry = Allow(**{"steps": (390.0, 410.0), "reason": "known", **change})
    kept, allowed = without_allowed(found, [entry])
    assert len(kept["series"]["loss"]["events"]) == left
    assert [one.reason for one in allowed] == ["known"] * (1 - left)
    assert len(found["series"]["loss"]["events"]) == 1, "the document itself is left alone"


def test_warnings_decide_only_under_strict_and_nothing_judged_is_no_pass():
    warning = judged("gain.worst.forward.norm", checkpoint(), max=1.0, severity=Severity.WARNING)
    passed = judged("gain.worst.forward.norm", checkpoint(), max=10.0)
    doubt = unjudged("a", Family.LOG, "why")
    assert overall([warning, passed], strict=False) is Verdict.PASS
    assert overall([warning, passed], strict=True) is Verdict.FAIL
    assert overall([warning], strict=False) is Verdict.PASS
    assert overall([passed, doubt], strict=False) is Verdict.UNJUDGED
    assert overall([], strict=False) is Verdict.UNJUDGED

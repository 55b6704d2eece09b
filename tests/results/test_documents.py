"""What a document module writes it reads back: NaN, infinity, numbers beyond float64 and curves that are not there."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from checkrecords import EMPTY, alike
from hypothesis import given, settings
from hypothesis import strategies as st

import mhcdiag
from mhcdiag.results.check import (
    AllowedEvent,
    CheckedInput,
    CheckReport,
    Family,
    GateOutcome,
    GateSeverity,
    ValuePlace,
)
from mhcdiag.results.documents import read_count, read_flag, read_float, read_list, read_number, read_table, read_text
from mhcdiag.results.documents.check import check_document, check_of
from mhcdiag.results.documents.gain import gain_document, gain_of
from mhcdiag.results.documents.health import health_document, health_of
from mhcdiag.results.documents.spikes import spikes_document, spikes_of
from mhcdiag.results.documents.weights import weights_document, weights_of
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
from mhcdiag.results.numbers import Huge
from mhcdiag.results.spikes import Companion, Event, EventKind, LogResult, RunSpan, SeriesResult, SpikeScore
from mhcdiag.results.verdict import Relation, Skipped, Verdict
from mhcdiag.results.weights import TensorNumbers, WeightsFinding, WeightsKind, WeightsResult
from mhcdiag.usecases.spikes import spikes

SITES = ("0.attn", "0.ffn", "1.attn")
SAMPLES = Path(__file__).parents[2] / "sample_checkpoints"

texts = st.text(max_size=7)
words = st.lists(texts, max_size=3).map(tuple)
counts = st.integers(0, 2**63)
floats = st.floats() | st.just(-0.0) | st.just(5e-324)
numbers = floats | st.builds(Huge, st.floats(308, 5000))
curves = st.tuples(*(numbers for _ in SITES))
steps = st.floats(allow_infinity=False) | st.integers(0, 10**12).map(float) | st.just(2.0**53)
"""Of a log: for infinity its document has null, as for NaN."""
few = settings(max_examples=60)


def through_json(document: object) -> Any:
    """Through text, as strict as JSON is."""
    return json.loads(json.dumps(document, allow_nan=False))


gains = st.builds(
    GainResult,
    path=texts,
    layout=texts,
    model=texts,
    streams=counts,
    sites=st.just(SITES),
    tensors=words,
    inputs=texts,
    tokens=counts,
    span_tokens=counts,
    dtype=texts,
    device=texts,
    kernel=texts,
    bytes_read=counts,
    bytes_total=counts,
    assumed=words,
    skipped=st.lists(st.builds(Skipped, what=texts, reason=texts), max_size=3).map(tuple),
    excluded=words,
    notes=words,
    nonfinite=st.lists(st.builds(NonFinite, site=texts, tensors=words, found=texts), max_size=3).map(tuple),
    gain=st.dictionaries(
        st.tuples(*(st.sampled_from(list(one)) for one in (Kind, Direction, Definition, Reduction))), curves, max_size=5
    ),
    worst=st.dictionaries(
        st.tuples(*(st.sampled_from(list(one)) for one in (Direction, Definition))),
        st.builds(WorstSpan, value=numbers, from_site=texts, to_site=texts),
    ),
    spans=st.just({}),
    bound=st.dictionaries(
        st.sampled_from(list(Direction)),
        st.builds(
            Bound,
            single=st.none() | curves,
            prefix=st.none() | curves,
            suffix=st.none() | curves,
            worst=st.none() | numbers,
            why=texts,
        ),
    ),
    sinkhorn=st.none()
    | st.builds(
        SinkhornQuality,
        exact_side=st.sampled_from(list(Direction)),
        row_residual=curves,
        column_residual=curves,
        log_sum_mean=floats,
        log_sum_max=floats,
    ),
    composes=st.booleans(),
)

named_floats = st.dictionaries(texts, floats, max_size=3)
health = st.builds(
    HealthResult,
    path=texts,
    layout=texts,
    model=texts,
    streams=counts,
    sites=st.just(SITES),
    inputs=texts,
    tokens=counts,
    against=texts,
    checks=st.lists(
        st.builds(
            CheckResult,
            name=texts,
            formula=texts,
            source=texts,
            basis=st.sampled_from(list(Basis)),
            thresholds=st.dictionaries(texts, st.floats(allow_nan=False, allow_infinity=False), max_size=2),
            overall=named_floats,
            per_site=st.dictionaries(texts, st.tuples(*(floats for _ in SITES)), max_size=2),
            findings=st.lists(
                st.builds(
                    Finding,
                    severity=st.sampled_from(list(Severity)),
                    what=texts,
                    site=texts,
                    sites=counts,
                    advice=texts,
                ),
                max_size=2,
            ).map(tuple),
            not_checkable=texts,
            skipped=words,
        ),
        max_size=3,
    ).map(tuple),
    assumed=words,
    notes=words,
)

events = st.builds(
    Event,
    kind=st.sampled_from(list(EventKind)),
    run=counts,
    line=counts,
    start=steps,
    peak=steps,
    end=steps,
    value=floats,
    baseline=steps,
    z=steps,
    points=counts,
    duration=steps,
    area=steps,
    recovered=st.none() | st.booleans(),
    recovery_steps=st.none() | steps.filter(math.isfinite),
    companion=st.none() | st.builds(Companion, start=steps, peak=steps, value=steps, first=texts),
    note=texts,
)
logs = st.builds(
    LogResult,
    path=texts,
    format=texts,
    rule=texts,
    lines=counts,
    loss_lines=counts,
    unreadable_lines=counts,
    runs=st.lists(st.builds(RunSpan, first_step=steps, last_step=steps, points=counts), max_size=3).map(tuple),
    series=st.dictionaries(
        texts,
        st.builds(
            SeriesResult,
            source_name=texts,
            points=counts,
            spike_score=st.builds(SpikeScore, olmo2=steps, olmo_core=steps),
            events=st.lists(events, max_size=3).map(tuple),
            curve=st.just(EMPTY),
        ),
        max_size=2,
    ),
    notes=words,
)

outcomes = st.builds(
    GateOutcome,
    gate=texts,
    metric=texts,
    series=st.none() | texts,
    path=texts,
    verdict=st.sampled_from(list(Verdict)),
    severity=st.sampled_from(list(GateSeverity)),
    value=st.none() | numbers,
    relation=st.sampled_from(list(Relation)),
    limit=st.none() | floats,
    baseline=st.none() | numbers,
    finding=texts,
    reason=texts,
    place=st.none() | st.builds(ValuePlace, text=texts, line=st.none() | counts),
)
found_in_weights = st.builds(
    WeightsFinding,
    kind=st.sampled_from(list(WeightsKind)),
    severity=st.sampled_from(list(Severity)),
    tensor=texts,
    position=st.none() | st.lists(counts, max_size=3).map(tuple),
    count=counts,
    value=floats,
    limit=floats,
    what=texts,
    why=texts,
    beside=words,
)
weights = st.builds(
    WeightsResult,
    path=texts,
    unscanned=texts,
    expected_seconds=floats,
    tensors=counts,
    tensors_scanned=counts,
    elements=counts,
    elements_scanned=counts,
    bytes_total=counts,
    bytes_scanned=counts,
    sample=floats,
    match=words,
    allow=words,
    left_out=counts,
    skipped=st.lists(st.builds(Skipped, what=texts, reason=texts), max_size=2).map(tuple),
    findings=st.lists(found_in_weights, max_size=3).map(tuple),
    allowed=st.lists(found_in_weights, max_size=2).map(tuple),
    notes=words,
    kernel=st.sampled_from(["", "numpy", "numba"]),
    seconds=st.just(0.0),
    unread=words,
    absmax=floats,
)
numbers_of_tensors = st.builds(
    TensorNumbers, name=texts, dtype=texts, shape=st.lists(counts, max_size=3).map(tuple), elements=counts,
    scanned=counts, nan=counts, infinite=counts, zeros=counts, absmax=floats, rms=floats,
)  # fmt: skip
common = {"path": texts, "verdict": st.sampled_from(list(Verdict)), "error": texts, "sha256": texts}
inputs = st.one_of(
    st.builds(
        CheckedInput,
        family=st.just(Family.CHECKPOINT),
        result=gains,
        health=st.none() | health,
        weights=st.none() | weights,
        **common,
    ),
    st.builds(CheckedInput, family=st.just(Family.LOG), result=logs, health=st.none(), **common),
    st.builds(CheckedInput, family=st.sampled_from(list(Family)), result=st.none(), health=st.none(), **common),
)
reports = st.builds(
    CheckReport,
    verdict=st.sampled_from(list(Verdict)),
    exit_code=counts,
    outcomes=st.lists(outcomes, max_size=3).map(tuple),
    inputs=st.lists(inputs, max_size=2).map(tuple),
    allowed=st.lists(
        st.builds(AllowedEvent, path=texts, series=texts, kind=texts, step=steps, line=counts, reason=texts), max_size=2
    ).map(tuple),
    policy=texts,
    baseline=st.none() | texts,
    strict=st.booleans(),
    version=texts,
    created=texts,
)


@few
@given(result=gains)
def test_a_measurement_comes_back(result: GainResult) -> None:
    assert alike(gain_of(through_json(gain_document(result))), result)


@few
@given(result=health)
def test_an_examination_comes_back(result: HealthResult) -> None:
    assert alike(health_of(through_json(health_document(result))), result)


@few
@given(result=weights, numbers=st.lists(numbers_of_tensors, max_size=3).map(tuple))
def test_a_scan_of_weights_comes_back(result: WeightsResult, numbers: tuple[TensorNumbers, ...]) -> None:
    assert alike(weights_of(through_json(weights_document(result))), result)
    whole = replace(result, numbers=numbers)
    assert alike(weights_of(through_json(weights_document(whole, numbers=True))), whole)


@few
@given(result=logs)
def test_a_log_comes_back(result: LogResult) -> None:
    assert alike(spikes_of(through_json(spikes_document(result))), result)


@few
@given(report=reports)
def test_a_check_comes_back(report: CheckReport) -> None:
    assert alike(check_of(through_json(check_document(report))), report)


def test_what_is_alike_is_told_from_what_is_not() -> None:
    """The comparison behind these tests: were it always true, they would say nothing."""
    one = Companion(start=1.0, peak=math.nan, value=2.0, first="loss")
    assert alike(one, replace(one))
    assert not alike(one, replace(one, peak=3.0))
    assert not alike((one,), (one, one))
    assert not alike({"a": (math.nan,)}, {"a": (1.0,)})
    assert not alike({"a": 1}, {"b": 1})


@pytest.mark.parametrize(
    "name", ["mhc.safetensors", "hc.safetensors", "identity-hc.safetensors", "captured/hc.safetensors"]
)
def test_samples_come_back_but_for_what_is_drawn(name: str) -> None:
    result = mhcdiag.gain(SAMPLES / name, tokens=3)
    again = gain_of(through_json(gain_document(result)))
    assert alike(again, replace(result, spans={}, mean_mappings=(), mean_composite=()))
    assert again.curve("prefix", "forward", "norm") == result.curve("prefix", "forward", "norm")


@pytest.mark.parametrize("name", ["diverged.log", "spiky.jsonl", "toy-hc.jsonl"])
def test_logs_come_back_but_for_what_is_drawn(name: str) -> None:
    result = spikes(str(SAMPLES / "logs" / name))
    drawn = {key: replace(one, curve=EMPTY) for key, one in result.series.items()}
    assert alike(spikes_of(through_json(spikes_document(result))), replace(result, series=drawn))


@pytest.mark.parametrize(
    ("read", "right", "wrong"),
    [
        (read_table, [{}, {"a": 1}], [None, [], "x", 3]),
        (read_list, [[], [1]], [None, {}, "abc", 3]),
        (read_text, ["", "x"], [None, 3, ["x"]]),
        (read_count, [0, 7, -1], [None, 1.0, "1", True]),
        (read_flag, [True, False], [None, 0, 1, "true"]),
        (read_number, [0, 1.5, "nan", "inf", {"log10": 400.0}], [None, "x", True, [], {"log10": "x"}]),
        (read_float, [0, 1.5, "-inf"], [None, "x", True, {"log10": 400.0}]),
    ],
    ids=lambda one: getattr(one, "__name__", ""),
)
def test_a_part_is_what_was_written_or_refused(read: Any, right: list[object], wrong: list[object]) -> None:
    for value in right:
        read(value)
    for value in wrong:
        with pytest.raises(TypeError, match=" where "):
            read(value)

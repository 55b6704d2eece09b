"""Metrics give what stands in the records, also in those that a baseline gives back, and every one is explained."""

import json

import pytest

import mhcdiag
from mhcdiag.errors import SettingError
from mhcdiag.metrics import METRICS, Examined, Question, find_metric
from mhcdiag.metrics.interface import extreme
from mhcdiag.results.check import Family
from mhcdiag.results.documents.gain import gain_document, gain_of
from mhcdiag.results.documents.spikes import spikes_document, spikes_of
from mhcdiag.results.gain import Definition, Direction, Kind, Reduction
from mhcdiag.results.numbers import Huge, number, parse_number
from mhcdiag.results.verdict import Relation
from mhcdiag.usecases.spikes import spikes

SAMPLES = "sample_checkpoints"


@pytest.fixture(scope="module")
def result(request):
    return mhcdiag.gain(request.config.rootpath / SAMPLES / "mhc.safetensors", tokens=7)


@pytest.fixture(scope="module", params=["measured", "of a baseline"])
def record(result, request):
    """As it was measured, and through JSON text and back."""
    again = gain_of(json.loads(json.dumps(gain_document(result))))
    return Examined(gain=result if request.param == "measured" else again)


def read(name, record, **asked):
    return METRICS[name].read(record, Question(**asked))


@pytest.mark.parametrize("direction", Direction)
@pytest.mark.parametrize("definition", Definition)
def test_worst_is_the_record_s(result, record, direction, definition):
    found = read(f"gain.worst.{direction}.{definition}", record)
    span = result.worst[direction, definition]
    assert found.value == span.value
    assert span.from_site in found.place.text


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("reduction", [Reduction.MEAN, Reduction.P99, Reduction.MAX, Reduction.OF_MEAN])
def test_a_curve_gives_its_largest_and_its_smallest(result, record, kind, reduction):
    curve = result.curve(kind, "backward", "norm", reduction)
    name = f"gain.{kind}.backward.norm.{reduction}"
    largest = read(name, record)
    assert largest.value == max(curve)
    assert largest.place.text == result.sites[curve.index(max(curve))]
    assert read(name, record, relation=Relation.AT_LEAST).value == min(curve)


def test_bounds_sinkhorn_and_counts_are_the_record_s(result, record):
    assert read("gain.bound.backward.worst", record).value == result.bound[Direction.BACKWARD].worst
    assert read("gain.sinkhorn.log_sum_max", record).value == result.sinkhorn.log_sum_max
    assert read("gain.sinkhorn.row_residual", record).value == max(result.sinkhorn.row_residual)
    assert read("gain.assumed", record).value == len(result.assumed)
    assert read("gain.nonfinite", record).value == 0


def test_events_and_scores_are_the_record_s(pytestconfig):
    log = spikes(str(pytestconfig.rootpath / SAMPLES / "logs" / "diverged.log"))
    again = spikes_of(json.loads(json.dumps(spikes_document(log))))
    for record in (log, again):
        for kind in ("nan", "divergence", "spike", "blip"):
            events = [event for event in log.series["loss"].events if event.kind == kind]
            assert read(f"spikes.count.{kind}", record).value == len(events)
        assert read("spikes.spike_score.olmo_core", record).value == log.series["loss"].spike_score.olmo_core
        assert read("spikes.points", record).value == log.series["loss"].points
        assert read("spikes.count.nan", record).place.line == 1480
        assert read("spikes.new", record, baseline=record).value == 0


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_is_explained(name):
    metric = METRICS[name]
    words = metric.explanation
    assert all((metric.unit, words.measures, words.source, words.false_alarms, words.action))
    assert name.startswith(("gain.", "health.", "weights.") if metric.family is Family.CHECKPOINT else "spikes.")


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("gain.worst.foward.norm", "did you mean gain.worst.forward.norm"),
        ("spikes.count.spikes", "did you mean spikes.count.spike"),
        ("x", "names begin with gain.assumed"),
    ],
)
def test_a_metric_that_is_none_gets_the_nearest(name, hint):
    with pytest.raises(SettingError, match=hint):
        find_metric(name)


@pytest.mark.parametrize("value", [0.0, 1.5, float("inf"), float("-inf"), Huge(4880.5), None])
def test_numbers_survive_json(value):
    assert parse_number(json.loads(json.dumps(number(value), allow_nan=False))) == value


def test_nan_survives_json_and_what_is_no_number_is_none():
    nan = parse_number(number(float("nan")))
    assert nan != nan  # noqa: PLR0124
    assert [parse_number(value) for value in (True, "x", [], {"log10": "x"})] == [None] * 4


def test_nan_decides_wherever_it_stands():
    assert extreme([1.0, 3.0, 2.0], Relation.AT_MOST) == 1
    assert extreme([1.0, 3.0, 0.5], Relation.AT_LEAST) == 2
    assert extreme([1.0, float("nan"), 9.0], Relation.AT_MOST) == 1
    assert extreme([1.0, Huge(400.0)], Relation.AT_MOST) == 1

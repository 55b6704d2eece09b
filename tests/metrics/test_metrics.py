"""Metrics read from documents what the records hold, and every one can be explained."""

from itertools import product
from pathlib import Path

import pytest
from readme_blocks import ROOT
from trainlogs import healthy, spiky, write_jsonl

from mhcdiag import GainResult, api
from mhcdiag.contracts.gain import gain_document
from mhcdiag.contracts.spikes import spikes_document
from mhcdiag.errors import SettingError
from mhcdiag.logapi import spikes
from mhcdiag.metrics import METRICS, Metric, Question, find_metric
from mhcdiag.metrics.extremes import extreme
from mhcdiag.results.check import Family, Relation
from mhcdiag.results.gain import Direction, Reduction
from mhcdiag.results.numbers import Huge
from mhcdiag.results.spikes import Kind, LogResult

SAMPLES = ROOT / "sample_checkpoints"
SIDES = {Relation.AT_MOST: max, Relation.AT_LEAST: min}


@pytest.fixture(scope="module", params=["hc.safetensors", "mhc.safetensors", "deepseek_v4"])
def measured(request) -> GainResult:
    return api.gain(SAMPLES / request.param, tokens=31)


@pytest.fixture(scope="module")
def logs(tmp_path_factory) -> list[LogResult]:
    folder = tmp_path_factory.mktemp("logs")
    made = [write_jsonl(folder / "a.jsonl", spiky()), write_jsonl(folder / "b.jsonl", healthy(), grad_norm=healthy())]
    return [spikes(str(path)) for path in (*made, SAMPLES / "logs" / "spiky.jsonl", SAMPLES / "logs" / "diverged.log")]


def value_of(name: str, document: object, relation: Relation = Relation.AT_MOST, **question: object) -> object:
    return METRICS[name].read(document, Question(relation=relation, **question)).value  # type: ignore[arg-type]


def test_curves_are_the_records_curves(measured: GainResult):
    document = gain_document(measured)
    for keys, curve in measured.gain.items():
        for relation, side in SIDES.items():
            assert value_of(".".join(["gain", *keys]), document, relation) == side(curve)
    assert len(measured.gain) == len([name for name in METRICS if name.split(".")[1] in ("single", "prefix", "suffix")
                                      and not name.endswith(Reduction.MEAN_WITHOUT_FIRST)])  # fmt: skip


def test_worst_is_the_records_with_its_sites(measured: GainResult):
    document = gain_document(measured)
    for keys, span in measured.worst.items():
        found = METRICS[".".join(["gain.worst", *keys])].read(document, Question())
        assert found.value == span.value
        assert found.place is not None
        assert found.place.text in (f"{span.from_site} to {span.to_site}", span.from_site)


def test_bounds_are_the_records(measured: GainResult):
    document = gain_document(measured)
    for direction, part in product(Direction, ("single", "prefix", "suffix", "worst")):
        bound = getattr(measured.bound[direction], part)
        expected = max(bound) if isinstance(bound, tuple) else bound
        assert value_of(f"gain.bound.{direction}.{part}", document) == expected


def test_sinkhorn_is_the_records_or_missing(measured: GainResult):
    document = gain_document(measured)
    quality = measured.sinkhorn
    if quality is None:
        reading = METRICS["gain.sinkhorn.log_sum_max"].read(document, Question())
        assert reading.missing == "layout hyper-connections has no Sinkhorn iteration"
        return
    assert value_of("gain.sinkhorn.row_residual", document) == max(quality.row_residual)
    assert value_of("gain.sinkhorn.column_residual", document) == max(quality.column_residual)
    assert value_of("gain.sinkhorn.log_sum_mean", document) == quality.log_sum_mean
    assert value_of("gain.sinkhorn.log_sum_max", document) == quality.log_sum_max


def test_counts_are_the_records(measured: GainResult):
    document = gain_document(measured)
    for name in ("nonfinite", "assumed", "skipped"):
        assert value_of(f"gain.{name}", document) == len(getattr(measured, name))


def test_every_metric_of_a_checkpoint_is_there_or_says_why(measured: GainResult):
    document = gain_document(measured)
    for metric in METRICS.values():
        if metric.family is Family.CHECKPOINT:
            reading = metric.read(document, Question())
            assert (reading.value is None) == bool(reading.missing)


def test_events_of_logs_are_the_records(logs: list[LogResult]):
    for log in logs:
        document = spikes_document(log)
        for kind in Kind:
            for series, one in log.series.items():
                counted = [event for event in one.events if event.kind is kind]
                counted = [event for event in counted if kind is not Kind.DIVERGENCE or event.recovered is None]
                reading = METRICS[f"spikes.count.{kind}"].read(document, Question(series=series))
                assert reading.value == len(counted)
                assert reading.place is None or reading.place.line == counted[0].line
        assert value_of("spikes.new", document, baseline=document) == 0
        assert value_of("spikes.unreadable_lines", document) == log.unreadable_lines
    assert sum(value_of("spikes.count.spike", spikes_document(log)) for log in logs) == 2


def test_scores_and_points_of_logs_are_the_records(logs: list[LogResult]):
    for log in logs:
        document, loss = spikes_document(log), log.series["loss"]
        assert value_of("spikes.spike_score.olmo_core", document) == loss.spike_score.olmo_core
        assert value_of("spikes.points", document) == loss.points
        least = min(one.points for one in log.series.values())
        assert value_of("spikes.points", document, Relation.AT_LEAST, series="*") == least
    short = METRICS["spikes.spike_score.olmo2"].read(spikes_document(logs[0]), Question())
    assert short.missing == "no run is long enough for this score (1000 points)"


def test_a_log_without_a_step_between_points_is_read(tmp_path: Path):
    document = spikes_document(spikes(str(write_jsonl(tmp_path / "one.jsonl", healthy(1)))))
    assert value_of("spikes.new", document, baseline=document) == 0


@pytest.mark.parametrize("metric", METRICS.values(), ids=lambda metric: metric.name)
def test_every_metric_is_explained(metric: Metric):
    words = metric.explanation
    for text in (words.measures, words.source, words.false_alarms, words.action):
        assert len(text) >= len("definition")
        assert text.isprintable()
    assert metric.unit
    assert metric.name.startswith("gain." if metric.family is Family.CHECKPOINT else "spikes.")
    assert find_metric(metric.name) is metric


def test_every_kind_of_event_has_a_metric():
    assert {f"spikes.count.{kind}" for kind in Kind} <= METRICS.keys()


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("gain.worst.backwrd.norm", "did you mean gain.worst.backward.norm or "),
        ("spikes.count.NaN", r"did you mean spikes.count.nan"),
        ("spikes.spike_score.olmo-core", r"did you mean spikes.spike_score.olmo_core"),
        ("gain.prefix.forward.norm", r"did you mean gain.prefix.forward.norm"),
        ("worst.backward.norm", r"did you mean gain.worst.backward.norm"),
        ("xyzzy", "names begin with gain.assumed, gain.bound, .*spikes.count"),
    ],
)
def test_a_wrong_name_gets_the_nearest(name: str, hint: str):
    with pytest.raises(SettingError, match=f"there is no metric '{name}'; {hint}"):
        find_metric(name)


NAN = float("nan")


@pytest.mark.parametrize(
    ("numbers", "most", "least"),
    [
        ([3.0, 7.0, 5.0], 1, 0),
        ([3.0, Huge(400.0), Huge(500.0)], 2, 0),
        ([3.0, NAN, 5.0], 1, 1),
        ([3.0, 7.0, NAN], 2, 2),
        ([NAN, 7.0, NAN], 0, 0),
        ([float("inf"), Huge(400.0), NAN], 2, 2),
        ([5.0, 5.0], 0, 0),
    ],
)
def test_the_extreme_is_nan_wherever_it_stands(numbers: list[float], most: int, least: int):
    assert extreme(numbers, Relation.AT_MOST) == most
    assert extreme(numbers, Relation.AT_LEAST) == least

"""A baseline is an earlier report; what is none, or of another model, is refused by name."""

import json

import pytest

from mhcdiag.errors import InputError
from mhcdiag.policies.baseline import Baseline, read_baseline, refuse_other_model
from mhcdiag.results.check import Family

LOSS = {"points": 9, "events": [], "spike_score": {"olmo2": None, "olmo_core": None}}
LOG = {"series": {}, "runs": [], "unreadable_lines": 0}
REPORT = {
    "format_version": 1,
    "command": "check",
    "results": [
        {"path": "a/step_1", "gain": {"layout": "x"}, "spikes": None},
        {"path": "logs/run.jsonl", "gain": None, "spikes": LOG},
    ],
}


def written(tmp_path, report) -> Baseline:
    path = tmp_path / "baseline.json"
    path.write_text(report if isinstance(report, str) else json.dumps(report), encoding="utf-8")
    return read_baseline(path)


def test_inputs_are_found_by_path_then_by_name_then_alone(tmp_path):
    baseline = written(tmp_path, REPORT)
    assert baseline.find(Family.LOG, "logs/run.jsonl") == LOG
    assert baseline.find(Family.LOG, "elsewhere/run.jsonl") == LOG
    assert baseline.find(Family.CHECKPOINT, "a/step_2") == {"layout": "x"}
    more = {**REPORT, "results": [*REPORT["results"], {"path": "b/step_1", "gain": {"layout": "y"}, "spikes": None}]}
    several = written(tmp_path, more)
    assert several.find(Family.CHECKPOINT, "b/step_1") == {"layout": "y"}
    assert several.find(Family.CHECKPOINT, "c/step_1") is None, "two of that name"
    assert several.find(Family.CHECKPOINT, "c/step_2") is None


def test_reports_of_gain_and_spikes_are_baselines_too(tmp_path):
    gain = {
        "format_version": 1,
        "command": "gain",
        "results": [{"path": "a", "gain": {"x": 1}}, {"path": "b", "error": ""}],
    }
    assert list(written(tmp_path, gain).documents) == [(Family.CHECKPOINT, "a")]
    spikes = {
        "format_version": 1,
        "command": "spikes",
        "results": [{"path": "a", **LOG, "series": {"loss": LOSS}}, {"path": "b", **LOG}],
    }
    assert list(written(tmp_path, spikes).documents) == [(Family.LOG, "a")]


@pytest.mark.parametrize(
    ("report", "message"),
    [
        ({**REPORT, "format_version": 2}, "format version 2; expected format version 1; .*--update-baseline"),
        ({**REPORT, "format_version": None}, "format version None"),
        ({"a": 1}, "JSON that is no report of mhcdiag"),
        ([], "JSON that is no report"),
        ("{", "not a JSON report"),
        ("[" * 100_000, "not a JSON report"),
        ({**REPORT, "results": [{"gain": {}}]}, "a report with a broken part: 'path'"),
        ({**REPORT, "results": [3]}, "a report with a broken part"),
    ],
)
def test_what_is_no_baseline_is_refused(tmp_path, report, message):
    with pytest.raises(InputError, match=message):
        written(tmp_path, report)


def test_a_missing_baseline_is_told(tmp_path):
    with pytest.raises(InputError, match="No such file or directory; expected a baseline"):
        read_baseline(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layout": "plain"}, "layout toy, here plain"),
        ({"streams": 2}, "streams 4, here 2"),
        ({"sites": ["a"]}, "sites 2 sites, here 1"),
        ({"sites": ["a", "c"]}, "another model"),
    ],
)
def test_another_model_is_refused(change, message):
    before = {"layout": "toy", "streams": 4, "sites": ["a", "b"]}
    baseline = Baseline(path="b.json", documents={})
    refuse_other_model(baseline, before, dict(before))
    with pytest.raises(InputError, match=f"b.json: a baseline of another model: .*{message}|{message}"):
        refuse_other_model(baseline, before, {**before, **change})


def test_the_examination_belongs_to_the_checkpoint_alone(tmp_path):
    health = {"sites": [], "checks": []}
    both = {"path": "a", "gain": {"layout": "x"}, "spikes": LOG, "health": health}
    found = written(tmp_path, {**REPORT, "results": [both]}).documents
    assert found == {(Family.CHECKPOINT, "a"): {"layout": "x", "health": health}, (Family.LOG, "a"): LOG}
    without = written(tmp_path, {**REPORT, "results": [{**both, "health": None}]}).documents
    assert without[Family.CHECKPOINT, "a"] == {"layout": "x"}


@pytest.mark.parametrize("series", [[], "loss", None])
def test_a_log_whose_series_are_no_table_is_refused_as_a_whole(tmp_path, series):
    report = {**REPORT, "results": [{"path": "a", "gain": None, "spikes": {**LOG, "series": series}}]}
    with pytest.raises(InputError, match="a report with a broken part: "):
        written(tmp_path, report)


def test_the_path_has_the_word_over_the_name_and_families_stay_apart():
    documents = {(Family.LOG, "a/x"): {"n": 1}, (Family.LOG, "b/x"): {"n": 2}, (Family.CHECKPOINT, "c/x"): {"n": 3}}
    baseline = Baseline(path="b.json", documents=documents)
    assert baseline.find(Family.LOG, "a/x") == {"n": 1}
    assert baseline.find(Family.LOG, "b/x") == {"n": 2}
    assert baseline.find(Family.LOG, "c/x") is None
    assert baseline.find(Family.CHECKPOINT, "a/x") == {"n": 3}
    assert Baseline(path="b.json", documents=documents | {(Family.LOG, "a/y"): {"n": 4}}).find(Family.LOG, "c/y") == {
        "n": 4
    }, "the only one of its name"
    assert Baseline(path="b.json", documents={}).find(Family.LOG, "a/x") is None


@pytest.mark.parametrize("series", [{"points": 9}, {**LOSS, "events": [{}]}, {**LOSS, "spike_score": {}}])
def test_every_metric_is_tried_so_that_an_edited_baseline_is_refused_at_once(tmp_path, series):
    report = {**REPORT, "results": [{"path": "a", "gain": None, "spikes": {**LOG, "series": {"loss": series}}}]}
    with pytest.raises(InputError, match="a report with a broken part: "):
        written(tmp_path, report)
    report["results"][0]["spikes"]["series"]["loss"] = LOSS
    assert list(written(tmp_path, report).documents) == [(Family.LOG, "a")]


@pytest.mark.parametrize(("was", "now"), [(None, ["a"]), (["a"], None)])
def test_sites_that_one_of_two_lacks_are_a_difference(was, now):
    with pytest.raises(InputError, match="a baseline of another model: sites "):
        refuse_other_model(Baseline(path="b.json", documents={}), {"sites": was}, {"sites": now})

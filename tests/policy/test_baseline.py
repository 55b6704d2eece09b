"""An earlier report as a baseline: what is found in it for an input, and what is refused."""

import json
from copy import deepcopy
from pathlib import Path

import pytest
from checkdocuments import CHECKPOINT, LOG, checkpoint, log
from reports.check_reports import broken_input, failing, gain_result, healthy, log_result, unreadable
from reports.check_reports import report as made

from mhcdiag.contracts.gain import gain_document
from mhcdiag.contracts.spikes import spikes_document
from mhcdiag.errors import InputError
from mhcdiag.gates.gain import judge_gain
from mhcdiag.gates.spikes import SpikeGate, judge
from mhcdiag.policy.baseline import Baseline, baseline_of, read_baseline, refuse_other_model
from mhcdiag.reports.check_json import check_json
from mhcdiag.reports.gain_json import gain_json
from mhcdiag.reports.spikes_json import spikes_json
from mhcdiag.results.check import Family
from mhcdiag.results.judged import Unreadable
from mhcdiag.results.spikes import SpikesReport
from mhcdiag.results.verdict import Verdict


def written(folder: Path, text: str | bytes) -> Path:
    path = folder / "baseline.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def as_json(document: object) -> object:
    return json.loads(json.dumps(document))


@pytest.mark.parametrize("report", [healthy, failing])
def test_a_report_of_check(tmp_path: Path, report):
    baseline = read_baseline(written(tmp_path, check_json(report())))
    assert baseline.find(Family.CHECKPOINT, CHECKPOINT) == as_json(gain_document(gain_result()))
    assert baseline.find(Family.LOG, LOG) == as_json(spikes_document(log_result()))
    assert baseline.documents.keys() == baseline_of(report(), "x").documents.keys()


def test_reports_of_gain_and_spikes(tmp_path: Path):
    none = Unreadable(path="gone", reason="no such file")
    gain = read_baseline(written(tmp_path, gain_json([none, judge_gain(gain_result())])))
    assert gain.find(Family.CHECKPOINT, CHECKPOINT)["worst"] == gain_document(gain_result())["worst"]
    assert gain.find(Family.LOG, LOG) is None
    report = SpikesReport(verdict=Verdict.PASS, logs=(none, judge(log_result(), SpikeGate())))
    spikes = read_baseline(written(tmp_path, spikes_json(report)))
    assert spikes.find(Family.LOG, LOG)["series"] == as_json(spikes_document(log_result())["series"])
    assert len(spikes.documents) == len(gain.documents) == 1


def test_what_could_not_be_read_then_is_not_in_it(tmp_path: Path):
    baseline = read_baseline(written(tmp_path, check_json(unreadable())))
    assert list(baseline.documents) == [(Family.CHECKPOINT, CHECKPOINT)]
    nothing = read_baseline(written(tmp_path, check_json(made(inputs=(broken_input(),)))))
    assert nothing.find(Family.CHECKPOINT, "checkpoints/broken") is None


def holding(*paths: str) -> Baseline:
    documents = {(Family.CHECKPOINT, path): {"path": path} for path in paths}
    return Baseline(path="b.json", documents={**documents, (Family.LOG, "only.log"): {"path": "only.log"}})


@pytest.mark.parametrize(
    ("paths", "asked", "found"),
    [
        (("a/1", "b/1"), "b/1", "b/1"),
        (("a/1", "b/2"), "c/2", "b/2"),
        (("a/1", "b/1"), "c/1", None),
        (("a/1", "b/2"), "c/3", None),
        (("a/1",), "c/3", "a/1"),
        ((), "c/3", None),
    ],
)
def test_the_same_path_then_the_same_name_then_the_only_one(paths: tuple[str, ...], asked: str, found: str | None):
    document = holding(*paths).find(Family.CHECKPOINT, asked)
    assert (None if document is None else document["path"]) == found


def broken(change) -> str:
    report = json.loads(check_json(healthy()))
    change(report)
    return json.dumps(report)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not a JSON report: "),
        ("{", "not a JSON report: "),
        (b"\xff\xfe{", "not a JSON report: "),
        ("[" * 100_003, "not a JSON report: "),
        ("[]", "JSON that is no report of mhcdiag"),
        ("3", "JSON that is no report of mhcdiag"),
        ("null", "JSON that is no report of mhcdiag"),
        ('{"command": "gain"}', "JSON that is no report of mhcdiag"),
        ('{"command": ["gain"], "results": []}', "JSON that is no report of mhcdiag"),
        ('{"command": "other", "results": [], "format_version": 1}', "JSON that is no report of mhcdiag"),
        (
            broken(lambda it: it.update(format_version=2)),
            "format version 2; expected format version 1; .*--update-base",
        ),
        (broken(lambda it: it.pop("format_version")), "format version None; expected format version 1"),
        (broken(lambda it: it.update(results=[3])), "a report with a broken part: "),
        (broken(lambda it: it["results"][0].pop("path")), "a report with a broken part: 'path'"),
        (broken(lambda it: it["results"][0].update(gain="text")), "a report with a broken part: "),
        (broken(lambda it: it["results"][0]["gain"]["worst"]["forward"]["norm"].pop("from_site")), "broken part"),
        (broken(lambda it: it["results"][1]["spikes"].update(series=[])), "a report with a broken part: "),
        (broken(lambda it: it["results"][1]["spikes"]["series"]["loss"].pop("events")), "broken part: 'events'"),
        (broken(lambda it: it["results"][1]["spikes"].update(unreadable_lines=None)), "a report with a broken part"),
        (broken(lambda it: it["results"][0]["gain"].update(sites=[])), "a report with a broken part"),
    ],
)
def test_what_is_no_baseline_is_refused_in_one_line(tmp_path: Path, text: str | bytes, message: str):
    path = written(tmp_path, text)
    with pytest.raises(InputError, match=message) as raised:
        read_baseline(path)
    assert "\n" not in str(raised.value)
    assert str(raised.value).startswith(str(path))


def test_a_baseline_that_is_missing(tmp_path: Path):
    with pytest.raises(InputError, match=r"gone.json: No such file or directory; expected a baseline; .*--update"):
        read_baseline(tmp_path / "gone.json")
    with pytest.raises(InputError, match="Is a directory"):
        read_baseline(tmp_path)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("layout", "lucidrains", "layout lucidrains, here deepseek-v4"),
        ("streams", 4, "streams 4, here 2"),
        ("sites", ["0.attn"], "sites 1 sites, here 3"),
        ("sites", None, "sites None, here"),
    ],
)
def test_another_model_is_refused(key: str, value: object, message: str):
    before = {**checkpoint(), key: value}
    baseline = Baseline(path="b.json", documents={})
    with pytest.raises(InputError, match=f"b.json: a baseline of another model: {message}.*--update-baseline"):
        refuse_other_model(baseline, before, checkpoint())
    refuse_other_model(baseline, deepcopy(checkpoint()), checkpoint())


def test_documents_of_the_tests_are_as_the_contracts_write_them():
    of_gain, of_spikes = gain_document(gain_result()), spikes_document(log_result())
    assert checkpoint().keys() <= of_gain.keys()
    assert log().keys() <= of_spikes.keys()
    assert log()["series"]["loss"].keys() == of_spikes["series"]["loss"].keys()

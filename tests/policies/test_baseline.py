"""A baseline is an earlier report; what is none, or of another model, is refused by name."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from checkrecords import CHECKPOINT, LOG, checkpoint, event, health, log, series, with_events, with_series

from mhcdiag.errors import InputError
from mhcdiag.metrics import METRICS, Examined, Question, Record
from mhcdiag.policies.baseline import Baseline, read_baseline, refuse_other_model
from mhcdiag.results.check import Family
from mhcdiag.results.documents.gain import gain_document
from mhcdiag.results.documents.health import health_document
from mhcdiag.results.documents.spikes import spikes_document
from mhcdiag.results.gain import GainResult
from mhcdiag.results.numbers import Huge
from mhcdiag.results.spikes import LogResult

OLD = Path(__file__).parent / "old_baselines"
"""Reports of mhcdiag before its baselines were read into records."""

Json = dict[str, Any]


def entry(record: GainResult | LogResult, **changes: Any) -> Json:
    """One result of a report of `check`."""
    is_gain = isinstance(record, GainResult)
    return {
        "path": record.path,
        "family": "checkpoint" if is_gain else "log",
        "verdict": "pass",
        "error": "",
        "sha256": "",
        "gain": gain_document(record) if is_gain else None,
        "spikes": None if is_gain else spikes_document(record),
        "health": None,
        **changes,
    }


def report(*results: Json, **changes: Any) -> Json:
    return {"format_version": 1, "command": "check", "results": list(results), **changes}


def written(tmp_path: Path, document: object) -> Baseline:
    path = tmp_path / "baseline.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document), encoding="utf-8")
    return read_baseline(path)


def gain(path: str = CHECKPOINT, **changes: Any) -> GainResult:
    return checkpoint(path=path, **changes).gain


def test_inputs_are_found_by_path_then_by_name_then_alone(tmp_path):
    both = report(entry(gain("a/step_1")), entry(log()))
    baseline = written(tmp_path, both)
    assert baseline.find(Family.LOG, LOG) == log()
    assert baseline.find(Family.LOG, "elsewhere/run.jsonl") == log()
    assert baseline.find(Family.CHECKPOINT, "a/step_2") == Examined(gain=gain("a/step_1"))
    several = written(tmp_path, report(*both["results"], entry(gain("b/step_1"))))
    assert several.find(Family.CHECKPOINT, "b/step_1") == Examined(gain=gain("b/step_1"))
    assert several.find(Family.CHECKPOINT, "c/step_1") is None, "two of that name"
    assert several.find(Family.CHECKPOINT, "c/step_2") is None


def test_reports_of_gain_and_spikes_are_baselines_too(tmp_path):
    unread = {"path": "b", "verdict": "unjudged", "error": "no such file"}
    of_gain = report({"verdict": "pass", **gain_document(gain("a"))}, unread, command="gain")
    assert written(tmp_path, of_gain).records == {(Family.CHECKPOINT, "a"): Examined(gain=gain("a"))}
    of_spikes = report({"verdict": "pass", **spikes_document(log(path="a"))}, unread, command="spikes")
    assert written(tmp_path, of_spikes).records == {(Family.LOG, "a"): log(path="a")}
    empty = report(spikes_document(log(path="a", series={})), command="spikes")
    assert written(tmp_path, empty).records == {}, "a log in which nothing was judged compares with nothing"


def test_what_could_not_be_read_is_left_out(tmp_path):
    unread = entry(gain(), gain=None, error="torn", verdict="unjudged")
    assert written(tmp_path, report(unread, entry(log()))).records == {(Family.LOG, LOG): log()}


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (report(format_version=2), "format version 2; expected format version 1; .*--update-baseline"),
        (report(format_version=None), "format version None"),
        ({"a": 1}, "JSON that is no report of mhcdiag"),
        (report(command="health"), "JSON that is no report of mhcdiag"),
        (report() | {"results": {}}, "JSON that is no report of mhcdiag"),
        ([], "JSON that is no report"),
        ("{", "not a JSON report"),
        ("[" * 100_000, "not a JSON report"),
        (report({"gain": {}}), "a report with a broken part: 'path'"),
        (report(3), "a report with a broken part: 3 where a table was expected"),  # type: ignore[arg-type]
        (report({"gain": {"layout": "x"}}, command="gain"), "a report with a broken part: 'path'"),
        (report({"path": "a", "gain": {"x": 1}}, command="gain"), "a report with a broken part: 'sites'"),
        (report(None, command="spikes"), "a report with a broken part: null where a table was expected"),  # type: ignore[arg-type]
    ],
)
def test_what_is_no_baseline_is_refused(tmp_path, document, message):
    with pytest.raises(InputError, match=message):
        written(tmp_path, document)


def test_a_missing_baseline_is_told(tmp_path):
    with pytest.raises(InputError, match="No such file or directory; expected a baseline"):
        read_baseline(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layout": "plain"}, "layout deepseek-v4, here plain"),
        ({"model": "v5"}, "model , here v5"),
        ({"streams": 4}, "streams 2, here 4"),
        ({"sites": ("a",)}, "sites 3 sites, here 1"),
        ({"sites": ("0.attn", "0.ffn", "1.ffn")}, "sites 3 sites, here 3"),
        ({"layout": "plain", "streams": 4}, "layout deepseek-v4, here plain"),
    ],
)
def test_another_model_is_refused(change, message):
    baseline = Baseline(path="b.json", records={})
    refuse_other_model(baseline, gain(), gain("elsewhere", tokens=7))
    with pytest.raises(InputError, match=f"^b.json: found a baseline of another model: {message};|{message}"):
        refuse_other_model(baseline, gain(), gain(**change))


def test_the_examination_belongs_to_the_checkpoint_alone(tmp_path):
    examined = health_document(health())
    both = report(entry(gain("a"), health=examined), entry(log(path="a"), health=examined))
    assert written(tmp_path, both).records == {
        (Family.CHECKPOINT, "a"): Examined(gain=gain("a"), health=health()),
        (Family.LOG, "a"): log(path="a"),
    }
    without = entry(gain("a"))
    del without["health"]  # as before policies could gate health
    assert written(tmp_path, report(without)).records == {(Family.CHECKPOINT, "a"): Examined(gain=gain("a"))}


def test_the_path_has_the_word_over_the_name_and_families_stay_apart():
    one, two, four = (log(lines=number) for number in (1, 2, 4))
    three = checkpoint(tokens=3)
    records: dict[tuple[Family, str], Record] = {
        (Family.LOG, "a/x"): one,
        (Family.LOG, "b/x"): two,
        (Family.CHECKPOINT, "c/x"): three,
    }
    baseline = Baseline(path="b.json", records=records)
    assert baseline.find(Family.LOG, "a/x") == one
    assert baseline.find(Family.LOG, "b/x") == two
    assert baseline.find(Family.LOG, "c/x") is None
    assert baseline.find(Family.CHECKPOINT, "a/x") == three
    more = Baseline(path="b.json", records=records | {(Family.LOG, "a/y"): four})
    assert more.find(Family.LOG, "c/y") == four, "the only one of its name"
    assert Baseline(path="b.json", records={}).find(Family.LOG, "a/x") is None


def edited(document: Json, path: tuple[str | int, ...], value: object) -> Json:
    """The document with one part changed; `...` takes it away."""
    inner: Any = document
    for key in path[:-1]:
        inner = inner[key]
    if value is ...:
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    return document


CURVE = ("gain", "gain", "prefix", "forward", "norm", "max")
EVENTS = ("spikes", "series", "loss", "events")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (CURVE, [1.0, None, 2.0]),
        (CURVE, ["x", True, 2.0]),
        (CURVE, []),
        (CURVE, [1.0, 2.0]),
        (CURVE, [1.0, 2.0, 3.0, 4.0]),
        (CURVE, None),
        (CURVE, 3.0),
        (CURVE, [1.0, 2.0, 10**400]),
        (CURVE[:2], ...),
        (CURVE[:2], []),
        (("gain", "gain", "before"), {"forward": {"norm": {"max": [1.0, 1.0, 1.0]}}}),
        (("gain", "worst", "backward", "amax"), None),
        (("gain", "worst", "backward", "amax", "value"), None),
        (("gain", "worst", "backward", "amax", "from_site"), ...),
        (("gain", "bound", "forward", "worst"), "x"),
        (("gain", "bound", "forward", "why"), ...),
        (("gain", "sinkhorn", "log_sum_max"), "x"),
        (("gain", "sinkhorn", "row_residual"), ...),
        (("gain", "nonfinite"), None),
        (("gain", "assumed"), 3),
        (("gain", "assumed"), "eps"),
        (("gain", "skipped"), [{"what": "w"}]),
        (("gain", "composes"), 1),
        (("gain", "sites"), "abc"),
        (("gain", "sites"), ["0.attn", "0.ffn", 3]),
        (("gain", "streams"), True),
        (("gain", "layout"), None),
        (("gain", "model"), ...),
        (("gain",), [3]),
        (("health",), []),
        (("health",), "x"),
        (("health", "checks", 0, "per_site"), {"moved": [1.0, None, 2.0]}),
        (("health", "checks", 0, "per_site"), {"moved": [1.0, 2.0]}),
        (("health", "checks", 0, "overall"), {"moved": None}),
        (("health", "checks", 0, "findings"), [{"severity": "fail"}]),
        (("health", "checks", 0, "name"), ...),
    ],
)
def test_an_edited_checkpoint_is_refused_as_a_whole(tmp_path, path, value):
    whole = entry(gain(), health=health_document(health()))
    assert len(written(tmp_path, report(whole)).records) == 1
    with pytest.raises(InputError, match=r"a report with a broken part: .*; expected a baseline; .*--update-baseline"):
        written(tmp_path, report(entry(log()), edited(whole, path, value)))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("spikes", "series"), []),
        (("spikes", "series"), "loss"),
        (("spikes", "series"), None),
        (("spikes", "series", "loss"), {"points": 9}),
        (("spikes", "series", "loss", "points"), ...),
        (("spikes", "series", "loss", "spike_score"), {}),
        (("spikes", "series", "loss", "spike_score", "olmo2"), "x"),
        (EVENTS, [{}]),
        (EVENTS, None),
        ((*EVENTS, 0, "kind"), "hiccup"),
        ((*EVENTS, 0, "start"), "x"),
        ((*EVENTS, 0, "line"), None),
        ((*EVENTS, 0, "recovered"), 1),
        (("spikes", "runs"), None),
        (("spikes", "runs", 0, "points"), None),
        (("spikes", "unreadable_lines"), ...),
        (("spikes", "unreadable_lines"), 1.5),
        (("family",), "tensor"),
        (("verdict",), "fine"),
    ],
)
def test_an_edited_log_is_refused_as_a_whole(tmp_path, path, value):
    whole = entry(with_events(event()))
    assert len(written(tmp_path, report(whole)).records) == 1
    with pytest.raises(InputError, match="a report with a broken part: "):
        written(tmp_path, report(edited(whole, path, value)))


def test_an_unknown_step_is_null(tmp_path):
    unknown = with_events(event(start=None))
    (found,) = written(tmp_path, report(entry(unknown))).records.values()
    assert METRICS["spikes.count.spike"].read(found, Question()).place.text == "step unknown"  # type: ignore[union-attr]


@pytest.mark.parametrize("name", ["check", "gain"])
def test_checkpoints_of_old_baselines_are_read(name):
    records = read_baseline(OLD / f"{name}.json").records
    (calm,) = (record for (_, path), record in records.items() if "step_2" in path)
    (exploded,) = (record for (_, path), record in records.items() if "step_1" in path)
    assert isinstance(calm, Examined)
    assert calm.gain.sites == ("0.attn", "0.ffn", "1.attn")
    assert METRICS["gain.worst.forward.norm"].read(exploded, Question()).value == Huge(320.0)
    assert METRICS["gain.worst.forward.norm"].read(calm, Question()).value == pytest.approx(1.219, abs=1e-3)
    assert METRICS["gain.nonfinite"].read(calm, Question()).value == 0
    assert (calm.health is not None) is (name == "check")


def test_a_checkpoint_from_before_streams_could_end_is_read(tmp_path):
    document = json.loads((OLD / "gain.json").read_text(encoding="utf-8"))
    for result in document["results"]:
        result.pop("composes", None)
    records = written(tmp_path, document).records.values()
    assert [record.gain.composes for record in records if isinstance(record, Examined)] == [True, True]


@pytest.mark.parametrize("name", ["check", "spikes"])
def test_logs_of_old_baselines_are_read(name):
    (record,) = (one for one in read_baseline(OLD / f"{name}.json").records.values() if isinstance(one, LogResult))
    assert [(event.kind, event.start) for event in record.series["loss"].events] == [("spike", 5030), ("nan", 6000)]
    assert METRICS["spikes.new"].read(record, Question(baseline=record)).value == 0


def test_a_series_that_was_added_is_known(tmp_path):
    more = with_series(log(), eval_loss=series("eval_loss", event("shift")))
    assert written(tmp_path, report(entry(more))).records == {(Family.LOG, LOG): replace(more)}

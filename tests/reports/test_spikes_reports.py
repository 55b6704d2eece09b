"""The reports on training logs: JSON contract, CSV, terminal text, and control characters in each."""

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from trainlogs import healthy, spiky, write_jsonl

from mhcdiag.policies.verdicts import SpikeGate, judge
from mhcdiag.reports.json_documents import COLUMNS, spikes_csv, spikes_json
from mhcdiag.reports.spikes_console import log_report, verdict_line
from mhcdiag.results.judged import Unreadable
from mhcdiag.results.spikes import JudgedLog, SpikesReport
from mhcdiag.usecases.spikes import spikes

EVENT_KEYS = {
    "kind", "run", "line", "start", "peak", "end", "value", "baseline", "z", "points", "duration", "area", "recovered",
    "recovery_steps", "grad_norm", "note",
}  # fmt: skip
LOG_KEYS = {
    "path", "verdict", "reason", "format", "rule", "lines", "loss_lines", "unreadable_lines", "merged_records",
    "replaced_records", "ignored_lines", "doubt", "numbering", "runs", "notes", "limits", "series",
}  # fmt: skip


@pytest.fixture
def judged(tmp_path: Path) -> JudgedLog:
    norm = np.full(800, 0.5) + 0.01 * np.random.default_rng(2).standard_normal(800)
    norm[497:503] += 2.0
    loss = spiky()
    loss[700:] = np.nan
    return judge(spikes(str(write_jsonl(tmp_path / "run.jsonl", loss, grad_norm=norm))), SpikeGate())


def report(*logs: JudgedLog | Unreadable) -> SpikesReport:
    return SpikesReport(verdict=logs[0].verdict, logs=logs)


def renamed(log: JudgedLog, path: str) -> JudgedLog:
    """The same log under a name, with a note, that try to drive a terminal."""
    notes = (*log.result.notes, "resumed\x1b[2Jat 7")
    return replace(log, result=replace(log.result, path=path, notes=notes))


def shown(renderable: object, width: int = 100) -> str:
    out = Console(file=io.StringIO(), width=width, color_system=None)
    out.print(renderable)
    return out.file.getvalue()  # type: ignore[attr-defined]


def test_the_json_contract_has_these_keys_and_no_others(judged: JudgedLog) -> None:
    unreadable = Unreadable(path="gone.log", reason="gone.log: no such file")
    document = json.loads(spikes_json(report(judged, unreadable)))
    assert list(document) == ["format_version", "command", "verdict", "results"]
    assert (document["format_version"], document["command"], document["verdict"]) == (1, "spikes", "fail")
    assert [set(result) for result in document["results"]] == [LOG_KEYS, LOG_KEYS]
    assert [result["verdict"] for result in document["results"]] == ["fail", "unjudged"]
    series = document["results"][0]["series"]
    assert list(series) == ["loss", "grad_norm"]
    for one in series.values():
        assert set(one) == {"source_name", "points", "spike_score", "events"}
        assert all(set(event) == EVENT_KEYS for event in one["events"])


def test_events_in_json_are_those_of_the_record(judged: JudgedLog) -> None:
    (document,) = json.loads(spikes_json(report(judged)))["results"]
    spike, nan = document["series"]["loss"]["events"]
    assert (spike["kind"], spike["start"], spike["recovered"], spike["grad_norm"]["first"]) == (
        "spike", 501, True, "grad_norm"
    )  # fmt: skip
    assert spike["value"] == pytest.approx(judged.result.series["loss"].events[0].value)
    assert (nan["kind"], nan["value"], nan["z"], nan["recovered"]) == ("nan", "nan", None, None)


def test_csv_has_a_row_per_event_and_empty_cells_for_the_unknown(judged: JudgedLog) -> None:
    rows = list(csv.DictReader(io.StringIO(spikes_csv(report(judged)))))
    events = [event for series in judged.result.series.values() for event in series.events]
    assert [tuple(row) for row in rows] == [COLUMNS] * len(events)
    assert [row["kind"] for row in rows] == [str(event.kind) for event in events]
    assert (rows[0]["start"], rows[0]["recovered"], rows[0]["first"]) == ("501", "true", "grad_norm")
    assert (rows[1]["value"], rows[1]["recovered"], rows[1]["recovery_steps"]) == ("", "", "")


def test_csv_leaves_out_what_could_not_be_read_and_quotes_commas(judged: JudgedLog) -> None:
    text = spikes_csv(report(renamed(judged, 'a,"b".log'), Unreadable(path="gone.log", reason="gone")))
    assert {row["path"] for row in csv.DictReader(io.StringIO(text))} == {'a,"b".log'}


def test_the_terminal_shows_the_most_severe_event_first(judged: JudgedLog) -> None:
    lines = shown(log_report(judged, width=100)).splitlines()
    kinds = [line.split()[0] for line in lines if line.split()[:1] and line.split()[0] in {"nan", "spike", "gradspike"}]
    assert kinds[0] == "nan"
    assert kinds.index("spike") < kinds.index("gradspike")


def test_context_stands_beside_its_event(judged: JudgedLog) -> None:
    event = judged.result.series["loss"].events[0]
    line = event.line
    out = shown(log_report(judged, width=100, context={(line, event.start): [(line, '{"step": 501, "loss"')]}))
    assert '{"step": 501, "loss"' in out


def test_block_characters_only_where_they_can_be_shown(judged: JudgedLog) -> None:
    assert "█" in shown(log_report(judged, width=100))
    assert shown(log_report(judged, width=100, unicode=False)).isascii()


def test_control_characters_are_escaped_on_the_terminal_and_in_json(judged: JudgedLog) -> None:
    evil = renamed(judged, "run\x1b[31m\x07.log")
    context = {evil.result.series["loss"].events[0].line: [(1, "\x1b]0;title\x07")]}
    out = shown(log_report(evil, width=100, context=context)) + shown(verdict_line(evil))
    assert not {"\x1b", "\x07"} & set(out)
    assert "\\x1b[31m" in out
    text = spikes_json(report(evil))
    assert "\x1b" not in text
    assert json.loads(text)["results"][0]["path"] == "run\x1b[31m\x07.log"


def test_the_verdict_line_of_a_clean_log_says_so(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "calm.jsonl", healthy())
    line = verdict_line(judge(spikes(str(path)), SpikeGate())).plain
    assert line == f"PASS  {path}  no events"


def test_the_verdict_line_of_a_short_log_does_not_sound_clean(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "short.jsonl", healthy(31))
    line = verdict_line(judge(spikes(str(path)), SpikeGate())).plain
    assert line == f"PASS  {path}  no events; too short to judge spikes"

"""What the commands print keeps to the schemas that are shipped with them."""

import json
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

import mhcdiag
from mhcdiag.cli.main import run
from mhcdiag.policies.verdicts import judge_gain
from mhcdiag.reports.json_documents import gain_json
from mhcdiag.results.documents import COMMANDS, schema
from mhcdiag.results.gain import NonFinite
from mhcdiag.results.numbers import Huge

ROOT = Path(__file__).parent.parent.parent
SAMPLES = ROOT / "sample_checkpoints"


def complaints(command: str, document: dict) -> list[str]:
    """What the schema of a command has against a report: nothing, if it is one."""
    return [error.message for error in Draft202012Validator(schema(command)).iter_errors(document)]


@pytest.mark.parametrize("command", COMMANDS)
def test_the_schemas_are_schemas(command):
    meta = Draft202012Validator(Draft202012Validator.META_SCHEMA)
    assert list(meta.iter_errors(schema(command))) == []
    assert schema(command)["properties"]["command"] == {"const": command}


def test_reports_of_gain_keep_to_theirs(capsys, tmp_path):
    run(["gain", str(SAMPLES / "hc.safetensors"), str(SAMPLES / "deepseek_v4"), str(tmp_path / "none"), "--json"])
    document = json.loads(capsys.readouterr().out)
    assert complaints("gain", document) == []
    assert [each["verdict"] for each in document["results"]] == ["fail", "pass", "unjudged"]


def test_numbers_that_json_does_not_have_keep_to_it():
    result = mhcdiag.gain(SAMPLES / "mhc.safetensors", tokens=3)
    key = next(iter(result.gain))
    curve = (Huge(4880.5), float("nan"), float("inf"), *result.gain[key][3:])
    broken = NonFinite(site="0.attn", tensors=("a",), found="3 of 24 values are NaN")
    odd = replace(result, gain={**result.gain, key: curve}, nonfinite=(broken,))
    document = json.loads(gain_json([judge_gain(odd)]))
    assert complaints("gain", document) == []
    assert document["results"][0]["gain"]["single"]["forward"]["amax"]["mean"][:3] == [{"log10": 4880.5}, "nan", "inf"]


def test_reports_of_spikes_keep_to_theirs(capsys, tmp_path):
    logs = [str(SAMPLES / "logs" / "spiky.jsonl"), str(SAMPLES / "logs" / "diverged.log"), str(tmp_path / "none")]
    run(["spikes", *logs, "--json", "--advice"])
    document = json.loads(capsys.readouterr().out)
    assert complaints("spikes", document) == []
    assert [each["verdict"] for each in document["results"]] == ["pass", "fail", "unjudged"]
    run(["spikes", logs[0], "--against", logs[1], "--json"])
    document = json.loads(capsys.readouterr().out)
    assert complaints("spikes", document) == []
    assert document["against"]["points"] > 0


@pytest.mark.parametrize(
    ("paths", "verdict"),
    [(["runs/hc"], "fail"), (["logs/toy-mhc.jsonl"], "pass"), (["hc.safetensors"], "unjudged")],
)
def test_reports_of_trend_keep_to_theirs(capsys, paths, verdict):
    run(["trend", *(str(SAMPLES / path) for path in paths), "--max-doubling-rate", "100", "--json"])
    document = json.loads(capsys.readouterr().out)
    assert complaints("trend", document) == []
    assert document["verdict"] == verdict
    assert complaints("trend", {**document, "surprise": 1}) != []


def test_reports_of_check_keep_to_theirs(capsys, tmp_path, monkeypatch):
    (tmp_path / "mhcdiag.toml").write_text(
        '[[gates]]\nmetric = "gain.worst.forward.norm"\nmax_ratio = 2\n'
        '[[gates]]\nmetric = "spikes.count.nan"\nmax = 0\n'
        '[[gates]]\nmetric = "health.failed"\nmax = 0\npaths = "*/hc.*"\n'
        '[[allow]]\nsteps = [1400, 1500]\nreason = "known"\n',
        encoding="utf-8",
    )
    monkeypatch.chdir(tmp_path)
    names = ["mhc.safetensors", "hc.safetensors", "logs/diverged.log", "none.jsonl"]
    run(["check", *(str(SAMPLES / name) for name in names), "--json"])
    document = json.loads(capsys.readouterr().out)
    assert complaints("check", document) == []
    assert document["allowed"]
    assert [one["health"] is not None for one in document["results"]] == [False, True, False, False]
    assert {one["verdict"] for one in document["outcomes"]} == {"pass", "fail", "unjudged"}


def test_reports_of_health_keep_to_theirs(capsys, tmp_path):
    run(["health", str(SAMPLES / "hc.safetensors"), str(SAMPLES / "mhc.safetensors"), str(tmp_path / "none"), "--json"])
    document = json.loads(capsys.readouterr().out)
    assert complaints("health", document) == []
    assert [each["verdict"] for each in document["results"]] == ["fail", "pass", "unjudged"]
    gains = [each["checks"][0] for each in document["results"][:2]]
    assert [(each["name"], each["evidence"]) for each in gains] == [("gain", "sampled"), ("gain", "certified")]


@pytest.mark.parametrize("change", [{"verdict": "fine"}, {"format_version": 2}, {"surprise": 1}, {"results": {}}])
def test_a_report_that_is_none_is_refused(capsys, change):
    run(["check", str(SAMPLES / "logs" / "spiky.jsonl"), "--isolated", "--json"])
    document = json.loads(capsys.readouterr().out)
    assert complaints("check", document) == []
    assert len(complaints("check", {**document, **change})) == 1


def test_the_schemas_are_in_the_wheel():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert "schema/*.json" in project["tool"]["setuptools"]["package-data"]["mhcdiag.results.documents"]

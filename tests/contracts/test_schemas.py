"""The schemas hold for every report, refuse what is none, and travel with the package."""

import json
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from fnmatch import fnmatch
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from checkdocuments import with_value
from checkinputs import make
from jsonschema import Draft202012Validator, ValidationError
from readme_blocks import ROOT
from reports.check_reports import EVERY

from mhcdiag.cli.main import run
from mhcdiag.contracts.schemas import COMMANDS, schema
from mhcdiag.metrics import METRICS
from mhcdiag.reports.check_json import check_json
from mhcdiag.results.numbers import Huge
from mhcdiag.results.spikes import Kind

SAMPLES = ROOT / "sample_checkpoints"
NAMES = ("calm", "exploded", "broken", "huge", "torn.safetensors", "nan.jsonl", "diverging.jsonl", "short.jsonl",
         "spiky.jsonl", "gone.jsonl")  # fmt: skip
CHECKPOINTS = [*NAMES[:5], *(str(SAMPLES / name) for name in ("hc.safetensors", "mhc.safetensors", "deepseek_v4"))]
LOGS = [*NAMES[5:], *(str(SAMPLES / "logs" / name) for name in ("spiky.jsonl", "diverged.log"))]
ALLOW = '[[allow]]\nkind = "spike"\nsteps = [0, 1000]\nreason = "known"\n'


def validator(command: str) -> Draft202012Validator:
    return Draft202012Validator(schema(command))


@pytest.fixture
def inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mhcdiag.toml").write_text(ALLOW)
    for name in NAMES:
        if name != "gone.jsonl":
            make(name, tmp_path)


def report(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    run([*arguments, "--json"])
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


@pytest.mark.parametrize("command", COMMANDS)
def test_a_schema_is_one_and_describes_every_key(command: str):
    found = schema(command)
    Draft202012Validator.check_schema(found)
    assert found["$id"] == f"urn:mhcdiag:{command}:1"
    assert found["additionalProperties"] is False
    objects = list(objects_in(found))
    assert len(objects) > 10
    for one in objects:
        assert one["additionalProperties"] is False
        assert set(one["required"]) <= set(one["properties"])
        for entry in one["properties"].values():
            assert entry["title"]
            assert entry["description"].endswith(".")


def objects_in(part: object) -> Iterator[dict[str, Any]]:
    if isinstance(part, dict):
        if "properties" in part and part.get("type") == "object":
            yield part
        part = list(part.values())
    if isinstance(part, list):
        for one in part:
            yield from objects_in(one)


def test_what_schemas_share_is_the_same():
    check, gain, spikes = (schema(command)["$defs"] for command in ("check", "gain", "spikes"))
    assert len(gain.keys() & check.keys()) > 10
    for other in (gain, spikes):
        for name in other.keys() & check.keys():
            assert other[name] == check[name]
    measured = gain["measured"]["properties"]
    assert {name: measured[name] for name in check["checkpoint"]["properties"]} == check["checkpoint"]["properties"]
    judged = spikes["judged"]["properties"]
    assert {name: judged[name] for name in check["log"]["properties"]} == check["log"]["properties"]


def test_kinds_of_events_are_all_known():
    assert schema("spikes")["$defs"]["event"]["properties"]["kind"]["enum"] == [str(kind) for kind in Kind]


def test_reports_of_gain(inputs: None, capsys):
    found = report(capsys, "gain", *CHECKPOINTS)
    validator("gain").validate(found)
    assert len(found["results"]) == len(CHECKPOINTS)
    text = json.dumps(found)
    assert all(word in text for word in ('"nan"', '{"log10"', '"error"'))


def test_reports_of_spikes(inputs: None, capsys):
    found = report(capsys, "spikes", *LOGS, "--advice")
    validator("spikes").validate(found)
    assert len(found["results"]) == len(LOGS)
    assert any("advice" in one for one in found["results"])
    found = report(capsys, "spikes", "diverging.jsonl", "--against", "spiky.jsonl")
    validator("spikes").validate(found)
    assert found["against"]["opens"] is not None


def test_reports_of_check(inputs: None, capsys):
    found = report(capsys, "check", *CHECKPOINTS, *LOGS, "--strict")
    validator("check").validate(found)
    assert len(found["results"]) == len(CHECKPOINTS) + len(LOGS)
    assert len(found["allowed"]) == 1
    validator("check").validate(report(capsys, "check", "calm", "--baseline", "b.json", "--update-baseline"))
    validator("check").validate(json.loads(Path("b.json").read_text()))


@pytest.mark.parametrize("made", EVERY, ids=lambda made: made.__name__)
def test_reports_of_every_kind(made):
    document = json.loads(check_json(replace(made(), created="2026-01-02T03:04:05Z")))
    for one in document["results"]:
        if one["gain"]:
            # These results hold two reductions only: what a measurement holds is tested above.
            one["gain"]["gain"] = with_value(METRICS["gain.worst.forward.norm"], Huge(400.0))["gain"]
            for curve in (curve for kind in one["gain"]["gain"].values() for curve in leaves(kind)):
                curve.pop("mean_without_first")
    validator("check").validate(document)


def leaves(part: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if "mean" in part:
        yield part
        return
    for one in part.values():
        yield from leaves(one)


def changed(document: dict[str, Any], path: list[object], value: object) -> dict[str, Any]:
    """A copy with one key set, or removed where the value is the ellipsis."""
    copy = json.loads(json.dumps(document))
    place = copy
    for key in path[:-1]:
        place = place[key]
    if value is ...:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return copy


@pytest.mark.parametrize(
    ("command", "path", "value"),
    [
        ("check", ["format_version"], 2),
        ("check", ["command"], "gain"),
        ("check", ["verdict"], "passed"),
        ("check", ["decided_by"], ...),
        ("check", ["extra"], 1),
        ("check", ["created"], "yesterday"),
        ("check", ["outcomes", 0, "value"], "many"),
        ("check", ["outcomes", 0, "value"], {"log10": 3}),
        ("check", ["outcomes", 0, "limit"], ...),
        ("check", ["results", 0, "gain", "streams"], 0),
        ("check", ["results", 0, "gain", "worst", "forward", "norm", "value"], None),
        ("check", ["results", 0, "sha256"], "0a"),
        ("gain", ["results", 0, "tokens"], -1),
        ("gain", ["results", 0, "gain", "single", "forward", "norm", "mean", 0], None),
        ("gain", ["results", 0, "gain", "single", "sideways"], {}),
        ("gain", ["results", 0, "path"], ...),
        ("spikes", ["results", 0, "series", "loss", "events", 0, "kind"], "bump"),
        ("spikes", ["results", 0, "series", "loss", "events", 0, "start"], "nan"),
        ("spikes", ["results", 0, "runs", 0, "points"], 1.5),
        ("spikes", ["results", 0, "series", "loss", "spike_score"], None),
    ],
)
def test_what_is_no_report_is_refused(inputs: None, command: str, path: list[object], value: object, capsys):
    document = report(capsys, command, "spiky.jsonl" if command == "spikes" else "calm")
    validator(command).validate(document)
    with pytest.raises(ValidationError):
        validator(command).validate(changed(document, path, value))


def test_there_is_no_schema_of_another_command():
    with pytest.raises(ValueError, match="no schema for 'explain'; there are check, gain, spikes"):
        schema("explain")


def test_the_schemas_travel_with_the_package():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    patterns = project["tool"]["setuptools"]["package-data"]["mhcdiag"]
    for command in COMMANDS:
        name = f"contracts/schema/{command}.schema.json"
        assert files("mhcdiag").joinpath(name).is_file()
        assert any(fnmatch(name, pattern) for pattern in patterns)
    there = {path.name for path in (ROOT / "mhcdiag" / "contracts" / "schema").iterdir()}
    assert there == {f"{command}.schema.json" for command in COMMANDS}

"""The sample logs are what their script writes, and say what their README says."""

import json
import subprocess
import sys

import pytest
from document_blocks import ROOT

from mhcdiag.cli.main import run

SAMPLES = ROOT / "sample_checkpoints"


def test_the_script_writes_the_same_logs(tmp_path):
    subprocess.run([sys.executable, str(SAMPLES / "make_logs.py"), "--out", str(tmp_path)], check=True)
    for name in ("spiky.jsonl", "diverged.log"):
        assert (tmp_path / name).read_text() == (SAMPLES / "logs" / name).read_text()


@pytest.mark.parametrize(
    ("name", "code", "kinds"),
    [("spiky.jsonl", 0, ["spike", "gradspike"]), ("diverged.log", 1, ["nan", "divergence", "nan", "gradspike"])],
)
def test_verdicts_and_events(name: str, code: int, kinds: list[str], capsys):
    assert run(["spikes", str(SAMPLES / "logs" / name), "--json"]) == code
    (result,) = json.loads(capsys.readouterr().out)["results"]
    found = [event["kind"] for series in result["series"].values() for event in series["events"]]
    assert sorted(found) == sorted(kinds)


def test_the_gradient_norm_moved_first(capsys):
    assert run(["spikes", str(SAMPLES / "logs" / "spiky.jsonl"), "--json"]) == 0
    (result,) = json.loads(capsys.readouterr().out)["results"]
    (loss,) = result["series"]["loss"]["events"]
    (norm,) = result["series"]["grad_norm"]["events"]
    assert norm["start"] == 1000 < loss["start"] == 1002
    assert loss["recovered"] is True


@pytest.mark.parametrize("topology", ["residual", "hc", "mhc", "identity-hc"])
def test_logs_of_the_trained_samples_carry_their_gains(topology: str, capsys):
    path = SAMPLES / "logs" / f"toy-{topology}.jsonl"
    assert run(["trend", str(path), "--json"]) == (1 if topology == "hc" else 0)
    document = json.loads(capsys.readouterr().out)
    assert document["points"][-1]["step"] == 300
    assert (document["trends"]["forward"]["peak"] > 1000) == (topology == "hc")
    assert run(["spikes", str(path), "--json"]) == 0


def test_the_loss_of_one_trained_run_really_collapsed(capsys):
    run(["spikes", str(SAMPLES / "logs" / "toy-collapse.jsonl"), "--json"])
    (result,) = json.loads(capsys.readouterr().out)["results"]
    events = [event for event in result["series"]["loss"]["events"] if event["kind"] != "blip"]
    assert events
    assert max(event["value"] - event["baseline"] for event in events) > 4

"""The sample logs are what their script writes, and say what their README says."""

import json
import subprocess
import sys

import pytest
from readme_blocks import ROOT

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

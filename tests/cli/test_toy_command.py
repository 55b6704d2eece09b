"""`mhcdiag toy` on the command line: exit codes, messages, files."""

import json
import re
from pathlib import Path

import pytest

from mhcdiag.cli.main import run

SMALL = ["--depth", "2", "--width", "6", "--steps", "9"]


def test_a_smoke_run_of_the_default_model(tmp_path: Path, capsys):
    out = tmp_path / "run"
    assert run(["toy", "train", "--steps", "20", "--out", str(out)]) == 0
    assert "largest gain" in capsys.readouterr().out
    assert len((out / "train.jsonl").read_text().splitlines()) == 20
    assert run(["gain", str(out / "step_000020.safetensors"), "--quiet"]) == 0
    assert run(["spikes", str(out / "train.jsonl"), "--quiet"]) == 0
    assert run(["trend", str(out), "--log", str(out / "train.jsonl"), "--quiet"]) == 0


def test_compare_writes_a_folder_per_topology_and_a_figure(tmp_path: Path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    out = tmp_path / "runs"
    assert run(["toy", "compare", *SMALL, "--width", "8", "--out", str(out), "--topologies", "residual,hc,mhc"]) == 0
    printed = capsys.readouterr().out
    assert sorted(entry.name for entry in out.iterdir()) == ["compare.png", "hc", "mhc", "residual"]
    assert (out / "compare.png").read_bytes().startswith(b"\x89PNG")
    for topology in ("residual", "hc", "mhc"):
        assert re.search(rf"^{topology} +\d\.\d{{3}} ", printed, re.MULTILINE), printed
        rows = [json.loads(line) for line in (out / topology / "train.jsonl").read_text().splitlines()]
        assert [row["step"] for row in rows] == list(range(1, 10))


def test_all_topologies_see_the_same_data(tmp_path: Path):
    out = tmp_path / "runs"
    assert (
        run(["toy", "compare", *SMALL, "--out", str(out), "--topologies", "residual,identity-hc,hc", "--jobs", "1"])
        == 0
    )
    names = ("residual", "identity-hc", "hc")
    logs = [(out / name / "train.jsonl").read_text().splitlines() for name in names]
    first = [json.loads(lines[0])["loss"] for lines in logs]
    assert first[1] == pytest.approx(first[0], rel=1e-3)
    assert first[2] == pytest.approx(first[0], rel=1e-3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--streams", "0"], "--streams 0: expected at least 1"),
        (["--heads", "5"], "--heads 5 does not divide --width 6"),
        (["--topology", "nothing"], "no topology 'nothing'"),
        (["--text", "/dev/null"], "/dev/null: it is empty"),
        (["--lr", "inf"], "--lr inf: expected a finite number"),
        (["--device", "abacus"], "device 'abacus' is not there"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(tmp_path: Path, capsys, options: list[str], message: str):
    out = tmp_path / "run"
    assert run(["toy", "train", *SMALL, *options, "--out", str(out)]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1
    assert not out.exists()


def test_an_existing_folder_is_refused_without_force(tmp_path: Path, capsys):
    command = ["toy", "train", *SMALL, "--out", str(tmp_path / "run")]
    assert run(command) == 0
    assert run(command) == 2
    assert "exists already; --force replaces it, --resume continues" in capsys.readouterr().err
    assert run([*command, "--resume"]) == 0
    assert run([*command, "--force"]) == 0


def test_compare_refuses_an_existing_folder_before_it_trains(tmp_path: Path, capsys):
    (tmp_path / "old.txt").write_text("")
    assert run(["toy", "compare", *SMALL, "--out", str(tmp_path)]) == 2
    assert "exists already" in capsys.readouterr().err
    assert [entry.name for entry in tmp_path.iterdir()] == ["old.txt"]


def test_compare_refuses_the_same_topology_twice(tmp_path: Path, capsys):
    assert run(["toy", "compare", "--topologies", "hc,hc", "--out", str(tmp_path / "x")]) == 2
    assert "expected different names" in capsys.readouterr().err


@pytest.mark.parametrize(("limit", "code"), [("1e9", 0), ("0.5", 1)])
def test_the_gate_judges_only_where_it_is_asked_to(tmp_path: Path, limit: str, code: int):
    command = ["toy", "train", *SMALL, "--out", str(tmp_path / "run")]
    assert run([*command, "--max-gain", limit]) == code


def test_nan_is_a_result_and_fails_only_a_gate(tmp_path: Path, capsys):
    command = ["toy", "train", *SMALL, "--lr", "1e30", "--clip", "0", "--warmup", "0", "--out", str(tmp_path / "run")]
    assert run(command) == 0
    assert re.search(r"NaN at \d: stopped", capsys.readouterr().out)
    assert run([*command, "--force", "--max-gain", "1e30"]) == 1

"""The command as a process: exit codes, streams, and no torch."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

BLOCK_TORCH = "import sys; sys.modules['torch'] = None; from mhcdiag.cli import main; main()"


def run(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "COLUMNS": "100"}
    return subprocess.run(
        [sys.executable, "-c", BLOCK_TORCH, "spikes", *arguments],
        input=stdin, capture_output=True, text=True, env=environment, check=False,
    )  # fmt: skip


def log(path: Path, *, nan: bool = False) -> Path:
    losses = [2.0 + 0.001 * (i % 7) for i in range(97)]
    if nan:
        losses[83] = float("nan")
    path.write_text("".join(json.dumps({"step": i, "loss": one}) + "\n" for i, one in enumerate(losses)))
    return path


def test_clean_bad_and_unreadable_logs_have_their_own_codes(tmp_path: Path) -> None:
    clean, bad, empty = log(tmp_path / "a.jsonl"), log(tmp_path / "b.jsonl", nan=True), tmp_path / "c.jsonl"
    empty.write_text("")
    assert run(str(clean)).returncode == 0
    assert run(str(bad)).returncode == 1
    assert run(str(empty)).returncode == 2
    assert run(str(clean), str(empty)).returncode == 2
    done = run(str(empty), str(bad), str(clean), "--json")
    assert done.returncode == 1
    report = json.loads(done.stdout)
    assert [one["verdict"] for one in report["results"]] == ["unjudged", "fail", "pass"]
    assert (report["format_version"], report["command"], report["verdict"]) == (1, "spikes", "fail")


def test_the_keys_of_the_contract(tmp_path: Path) -> None:
    (result,) = json.loads(run(str(log(tmp_path / "b.jsonl", nan=True)), "--json").stdout)["results"]
    assert {
        "path",
        "verdict",
        "format",
        "lines",
        "unreadable_lines",
        "runs",
        "notes",
        "limits",
        "series",
    } <= set(result)
    (event,) = result["series"]["loss"]["events"]
    keys = {"kind", "run", "line", "start", "peak", "end", "value", "baseline", "z", "duration", "recovered"}
    assert keys | {"recovery_steps"} <= set(event)
    assert (event["kind"], event["line"], event["start"], event["value"]) == ("nan", 84, 83, None)


def test_following_stops_at_the_gate_and_runs_the_command_once(tmp_path: Path) -> None:
    path, out = log(tmp_path / "b.jsonl", nan=True), tmp_path / "event.json"
    command = f'printf "%s" "$MHCDIAG_EVENT" >> {out}; exit 7'
    done = run("--follow", str(path), "--log-format", "jsonl", "--on-fail", command, "--idle-timeout", "2")
    assert done.returncode == 1
    assert "the command ended with 7" in done.stderr
    assert json.loads(out.read_text())["kind"] == "nan"


def test_following_a_clean_log_ends_with_0(tmp_path: Path) -> None:
    done = run("--follow", str(log(tmp_path / "a.jsonl")), "--idle-timeout", "0.3")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("arguments", [("--fail-on", "foo"), ("--steps", "x"), ("--rule", "foo")])
def test_wrong_words_are_told_with_code_2(arguments: tuple[str, str], tmp_path: Path) -> None:
    done = run(str(log(tmp_path / "a.jsonl")), *arguments)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr

"""`mhcdiag trend` on the command line."""

import json
import math
import re
from pathlib import Path

import pytest

from mhcdiag.cli.main import run


@pytest.fixture
def log(tmp_path: Path) -> str:
    """A gain that doubles every 100 steps and passes 1000 at step 997, and a loss spike at step 700."""
    rows = []
    for step in range(10, 810, 10):
        loss = 3.0 + 0.02 * math.sin(step) + (2.0 if 700 <= step < 740 else 0.0)
        rows.append(
            {"step": step, "loss": loss, "grad_norm": 1.0 + 0.05 * math.cos(step), "gain_forward": 2 ** (step / 100)}
        )
    path = tmp_path / "train.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_json_holds_rate_and_crossing(log: str, capsys):
    assert run(["trend", log, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    forward = document["trends"]["forward"]
    assert document["command"] == "trend"
    assert forward["growth"]["doubling_steps"] == pytest.approx(100)
    crossing = next(each for each in forward["crossings"] if each["name"] == "1000")
    assert crossing["expected"] == pytest.approx(100 * math.log2(1000))


def test_the_report_names_what_it_judged(log: str, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    assert run(["trend", log, "--max-doubling-rate", "9"]) == 1
    printed = capsys.readouterr().out
    assert "gain columns of the log, as logged" in printed
    assert "doubles every 100 steps" in printed
    assert "forward.doublings_per_1000_steps 10.00 > 9.000" in printed
    assert "risk: not known: our toy study is about gains that `mhcdiag toy` logs" in " ".join(printed.split())


@pytest.mark.parametrize(("step", "code"), [("990", 0), ("1000", 1)])
def test_the_gate_on_the_projection(log: str, step: str, code: int, capsys):
    assert run(["trend", log, "--no-crossing-before", step, "--quiet"]) == code
    assert f"forward.crossing 996.6 {'>=' if code == 0 else '<'} {step}" in capsys.readouterr().out.replace(".0", "")


def test_figure_and_page_show_the_events_of_the_log(log: str, tmp_path: Path):
    plot, page = tmp_path / "trend.svg", tmp_path / "trend.html"
    assert run(["trend", log, "--log", log, "--plot", str(plot), "--html", str(page), "--quiet"]) == 0
    assert plot.read_text().count("<path") > 10
    text = page.read_text()
    assert '<h2 id="trend">' in text
    assert "<svg" in text
    assert not re.search(r"https?://", text)


def test_names_of_files_cannot_inject_markup(log: str, tmp_path: Path):
    evil = tmp_path / "<script>alert(1)<"
    evil.mkdir()
    path = evil / "train.jsonl"
    path.write_text(Path(log).read_text())
    assert run(["trend", str(path), "--html", str(tmp_path / "page.html"), "--quiet"]) == 0
    assert "<script" not in (tmp_path / "page.html").read_text()


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_no_trend_is_exit_code_2(tmp_path: Path, capsys, options: list[str]):
    path = tmp_path / "train.jsonl"
    path.write_text('{"step": 1, "loss": 2.0, "gain_forward": 1.0}\n')
    assert run(["trend", str(path), *options]) == 2
    assert "1 rows with a gain; expected two or more" in capsys.readouterr().err


def test_a_missing_path_is_exit_code_2(tmp_path: Path, capsys):
    assert run(["trend", str(tmp_path / "nothing.jsonl")]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize(
    "option", ["--max-doubling-rate=nan", "--max-doubling-rate=inf", "--stream-rms=nan", "--stream-rms=0"]
)
def test_a_limit_that_is_no_number_is_exit_code_2(log: str, capsys, option: str):
    assert run(["trend", log, option]) == 2
    assert "expected a" in capsys.readouterr().err

"""`mhcdiag cost` on the command line."""

import json
from pathlib import Path

import pytest

from mhcdiag.cli.main import run


def test_json_of_a_preset(capsys):
    assert run(["cost", "--preset", "v4-pro", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["width"], found["streams"], found["sites"]) == (7168, 4, 122)
    assert found["traffic"][0] == {"topology": "residual", "reads": 2 * 7168, "writes": 7168}


def test_options_win_over_a_configuration(tmp_path: Path, capsys):
    config = {"hidden_size": 14, "num_hidden_layers": 3, "hc_mult": 2}
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert run(["cost", str(tmp_path), "--streams", "5", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["width"], found["streams"], found["sites"]) == (14, 5, 6)
    assert found["model"].endswith("changed by options")


def test_the_report_says_whose_the_formulas_are(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    assert run(["cost"]) == 0
    printed = capsys.readouterr().out
    assert "27b: C = 2560, n = 4, 60 sites" in printed
    assert "6.3 sites" in printed
    assert "arXiv 2512.24880" in printed


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--preset", "1t"], "--preset 1t: there are 3b, 9b, 27b"),
        (["--streams", "0"], "--streams 0: expected at least 1"),
        (["--dtype", "int3"], "--dtype int3"),
        (["nowhere.json"], "nowhere.json: No such file"),
        (["nowhere.json", "--preset", "3b"], "both give sizes"),
    ],
)
def test_bad_input_is_exit_code_2(options: list[str], message: str, capsys):
    assert run(["cost", *options]) == 2
    assert message in capsys.readouterr().err


def test_measured_ratios_are_those_of_one_machine(monkeypatch, capsys):
    from mhcdiag.toy import training as timing

    times = timing.step_times(rounds=1, depth=1)
    assert times[0].topology == "residual"
    assert times[0].ratio == 1
    monkeypatch.setattr(timing, "step_times", lambda: times)
    assert run(["cost", "--measure"]) == 0
    assert "they are so narrow" in capsys.readouterr().out.replace("\n", " ")

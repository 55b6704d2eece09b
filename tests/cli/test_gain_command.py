"""The command as a shell sees it: exit codes, streams, files."""

import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from stacks import CONFIG, captured_tensors, deepseek_v4_tensors, write

from mhcdiag.cli.main import run


@pytest.fixture
def calm(tmp_path) -> str:
    return str(write(tmp_path / "calm", deepseek_v4_tensors(), config=CONFIG))


@pytest.fixture
def exploded(tmp_path) -> str:
    return str(write(tmp_path / "exploded", captured_tensors(torch.eye(2).repeat(6, 1, 1, 1) * 4)))


@pytest.fixture
def broken(tmp_path) -> str:
    return str(write(tmp_path / "broken", captured_tensors(torch.eye(2).repeat(6, 1, 1, 1) * math.nan)))


def test_a_calm_checkpoint_passes(calm: str, capsys):
    assert run(["gain", calm]) == 0
    out = capsys.readouterr()
    assert out.out.rstrip().splitlines()[-1].startswith("PASS")
    assert out.err == ""


def test_an_exploded_one_fails(exploded: str, capsys):
    assert run(["gain", exploded]) == 1
    assert "worst.forward.norm 4096 > 1000" in capsys.readouterr().out


def test_the_limit_is_the_users(exploded: str, calm: str):
    assert run(["gain", exploded, "--max-gain", "4096", "-q"]) == 0
    assert run(["gain", exploded, "--max-gain", "4095.9", "-q"]) == 1
    assert run(["gain", calm, "--max-gain", "1.5", "--gate-on", "bound", "-q"]) == 1


def test_nan_fails(broken: str, capsys):
    assert run(["gain", broken, "-q"]) == 1
    assert "site 0.attn" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("inputs", "code"),
    [("calm calm", 0), ("calm missing", 2), ("calm exploded", 1), ("missing exploded calm", 1), ("missing missing", 2)],
)
def test_several_inputs(inputs: str, code: int, request, capsys):
    paths = ["/nowhere/model" if name == "missing" else request.getfixturevalue(name) for name in inputs.split()]
    assert run(["gain", *paths]) == code
    out = capsys.readouterr()
    assert out.err.count("mhcdiag: /nowhere/model: ") == inputs.count("missing")
    assert out.out.count("PASS") == inputs.count("calm")


def test_strict(tmp_path, capsys):
    path = str(write(tmp_path, deepseek_v4_tensors()))
    assert run(["gain", path]) == 0
    assert "assumed: Sinkhorn iterations: 20" in capsys.readouterr().out
    assert run(["gain", path, "--strict"]) == 2
    assert run(["gain", path, "--strict", "--max-gain", "0.5"]) == 1


def test_json_goes_to_stdout_alone(calm: str, capsys):
    assert run(["gain", calm, "--json", "--tokens", "7"]) == 0
    out = capsys.readouterr()
    assert json.loads(out.out)["results"][0]["tokens"] == 7
    assert out.err == ""


def test_json_names_what_could_not_be_read(capsys):
    assert run(["gain", "/nowhere/model", "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["results"][0]["verdict"] == "unjudged"


def test_a_part_of_the_sites(exploded: str, capsys):
    assert run(["gain", exploded, "--sites", "2:4", "--json"]) == 0
    (result,) = json.loads(capsys.readouterr().out)["results"]
    assert result["sites"] == ["0.ffn", "1.attn", "1.ffn"]
    assert result["worst"]["forward"]["norm"]["value"] == 64.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--sites", "4:2"], "sites 4:2 are not within 1:6"),
        (["--sites", "2"], "is not FIRST:LAST"),
        (["--tokens", "0"], "Input should be greater than or equal to 1"),
        (["--inputs", "guess"], "'guess' is not one of"),
        (["--device", "cuda"], "device 'cuda' is not there; available: cpu"),
        (["--layout", "v9"], "there is no layout 'v9'"),
        (["--plot", "x.gif"], "expected a name that ends in .png, .svg, .pdf"),
        (["--plot", "/nowhere/x.png"], "cannot be written"),
        (["--tanh"], "--tanh means nothing for layout deepseek-v4"),
        (["--nonsense"], "No such option: --nonsense"),
    ],
)
def test_bad_usage_is_one_line_and_exit_2(calm: str, capsys, arguments: list[str], message: str):
    if arguments[-1] == "cuda" and torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    assert run(["gain", calm, *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_plots_are_written_whole(calm: str, exploded: str, tmp_path, suffix: str):
    target = tmp_path / f"gain.{suffix}"
    assert run(["gain", calm, exploded, "-q", "--plot", str(target), "--heatmap"]) == 1
    assert target.stat().st_size > 1000
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == [target.name]


def test_nothing_is_drawn_of_nothing(tmp_path):
    target = tmp_path / "gain.png"
    assert run(["gain", "/nowhere/model", "--plot", str(target)]) == 2
    assert not target.exists()


def test_control_characters_in_a_name_cannot_drive_the_terminal(tmp_path, capsys):
    assert run(["gain", str(tmp_path / "a\x1b[31mb\nc")]) == 2
    error = capsys.readouterr().err
    assert "\x1b" not in error
    assert error.count("\n") == 1


def test_a_bug_is_exit_3_with_its_traceback(calm: str, monkeypatch, capsys):
    def bug(*_args: object, **_kwargs: object) -> None:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr("mhcdiag.usecases.gain.gain", bug)
    assert run(["gain", calm]) == 3
    error = capsys.readouterr().err
    assert "ZeroDivisionError" in error
    assert "this is a bug in mhcdiag" in error


def test_ctrl_c_is_exit_130(calm: str, monkeypatch):
    def interrupted(*_args: object, **_kwargs: object) -> None:
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr("mhcdiag.usecases.gain.gain", interrupted)
    assert run(["gain", calm]) == 130


def test_a_closed_pipe_is_quiet(calm: str):
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "mhcdiag", "gain", calm, "--json"], stdout=writer, stderr=subprocess.PIPE, check=False
    )
    os.close(writer)
    assert done.stderr == b""
    assert done.returncode == 141


def test_the_module_and_no_color(calm: str):
    environment = os.environ | {"NO_COLOR": "1", "FORCE_COLOR": "", "COLUMNS": "72"}
    done = subprocess.run(
        [sys.executable, "-m", "mhcdiag", "gain", calm], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0
    assert "\x1b[" not in done.stdout
    *report, verdict = done.stdout.splitlines()
    assert max(map(len, report)) <= 72
    assert verdict.startswith("PASS")


def test_version_and_help(capsys):
    from mhcdiag import __version__

    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"mhcdiag {__version__}\n"
    assert run(["gain", "--help"]) == 0
    assert "mhcdiag gain model.safetensors" in capsys.readouterr().out


def test_the_command_reads_a_file_as_well_as_its_directory(calm: str, capsys):
    assert run(["gain", str(Path(calm) / "model.safetensors"), "-q"]) == 0
    assert "model.safetensors" in capsys.readouterr().out

"""`mhcdiag weights` as a shell sees it, and what `gain`, `health` and `check` say of the same weights."""

import csv
import io
import json
import re
from pathlib import Path

import pytest
import torch
from jsonschema import Draft202012Validator
from plantedweights import ATTENTION, FAULTS, as_pt, as_safetensors, planted, sound
from safetensors.torch import save_file

from mhcdiag.cli.main import run
from mhcdiag.results.documents import schema
from mhcdiag.usecases import weights as usecase

CONFIG = {"model_type": "llama", "num_hidden_layers": 3, "hidden_size": 64, "num_attention_heads": 4}


def plain(folder: Path, fault: str = "") -> str:
    """A Llama, which has gain 1 whatever its weights are, with NaN in one of them."""
    g = torch.Generator().manual_seed(0)
    tensors = {"model.embed_tokens.weight": torch.randn(32, 64, generator=g)}
    for layer in range(3):
        block = f"model.layers.{layer}"
        for name in ("q_proj", "k_proj", "v_proj", "o_proj"):
            tensors[f"{block}.self_attn.{name}.weight"] = 0.1 * torch.randn(64, 64, generator=g)
        for name in ("gate_proj", "up_proj"):
            tensors[f"{block}.mlp.{name}.weight"] = 0.1 * torch.randn(96, 64, generator=g)
        tensors[f"{block}.mlp.down_proj.weight"] = 0.1 * torch.randn(64, 96, generator=g)
        tensors[f"{block}.input_layernorm.weight"] = torch.ones(64)
        tensors[f"{block}.post_attention_layernorm.weight"] = torch.ones(64)
    tensors["model.norm.weight"] = torch.ones(64)
    if fault == "nan":
        tensors["model.layers.1.mlp.gate_proj.weight"][3, 5] = float("nan")
    elif fault == "zero":
        tensors["model.layers.1.mlp.gate_proj.weight"].zero_()
    folder.mkdir(parents=True)
    save_file(tensors, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(CONFIG))
    return str(folder)


BROKEN = "model.layers.1.mlp.gate_proj.weight"


def complaints(command: str, text: str) -> list[str]:
    return [error.message for error in Draft202012Validator(schema(command)).iter_errors(json.loads(text))]


# The command itself


@pytest.mark.parametrize("fault", FAULTS)
def test_exit_codes(fault: str, tmp_path: Path, capsys) -> None:
    path = str(as_safetensors(tmp_path / "m", planted(fault)))
    fatal = FAULTS[fault][0] in ("nan", "infinite")
    assert run(["weights", path]) == (1 if fatal else 0)
    assert run(["weights", path, "--fail-on", "warn"]) == 1
    last = capsys.readouterr().out.rstrip().splitlines()[-1]
    assert last.startswith(f"FAIL  {path}  {FAULTS[fault][1]}: ")


def test_a_sound_model_passes_and_says_how_much_was_looked_at(tmp_path: Path, capsys) -> None:
    path = str(as_safetensors(tmp_path / "m", sound()))
    assert run(["weights", path]) == 0
    out = capsys.readouterr().out
    assert re.search(r"58 tensors, [\d,]+ values, 1\.\d MB; looked at all of them\b", out)
    assert out.rstrip().splitlines()[-1] == f"PASS  {path}"
    assert run(["weights", path]) == 0
    assert capsys.readouterr().out == out  # nothing that differs from run to run, as a time would
    assert run(["weights", path, "--verbose"]) == 0
    assert re.search(r"all of them in [\d.]+ s \(numpy\)", capsys.readouterr().out)


@pytest.mark.parametrize("width", [60, 88, 160])
@pytest.mark.parametrize("fault", ["nan", "dead expert", "collapsed router"])
def test_the_report_fits_the_terminal(fault: str, width: int, tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    path = str(as_safetensors(tmp_path / "m", planted(fault)))
    run(["weights", path, "--match", "*layers*", "--allow", "*.q_proj.*"])
    report = capsys.readouterr().out.rpartition("\n\n")[0]
    names = sum(map(len, re.findall(r"\S+", path)))
    assert all(len(line) <= max(width, names + 2) for line in report.splitlines())
    assert FAULTS[fault][0].replace("_", " ") in report
    assert "left out: 2 tensors" in report


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--match", "*.nothing.*"], 2, "nothing was scanned: none of 58 tensors matches *.nothing.*"),
        (["--match", "*.experts.*"], 0, "(of 32 of 58 tensors, "),
        (["--match", "*.experts.*", "--strict"], 2, "--strict, and only"),
        (["--allow", ATTENTION], 0, "(1 finding allowed)"),
        (["--allow", ATTENTION, "--strict"], 2, "--strict, and 1 finding of --allow"),
    ],
)
def test_what_was_left_out_stands_in_the_verdict(options, code: int, said: str, tmp_path: Path, capsys) -> None:
    path = str(as_safetensors(tmp_path / "m", planted("nan")))
    assert run(["weights", path, *options]) == code
    assert said in capsys.readouterr().out.rstrip().splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--sample", "0"], "sample 0.0: expected a share above 0 and at most 1"),
        (["--sample", "2"], "sample 2.0"),
        (["--json", "--csv"], "--json and --csv contradict each other"),
    ],
)
def test_options_that_cannot_be_used(arguments, said: str, tmp_path: Path, capsys) -> None:
    assert run(["weights", str(tmp_path), *arguments]) == 2
    assert said in capsys.readouterr().err


def test_what_is_no_checkpoint_is_one_line_on_stderr(tmp_path: Path, capsys) -> None:
    (tmp_path / "a.safetensors").write_bytes(b"")
    good = str(as_safetensors(tmp_path / "m", sound()))
    assert run(["weights", str(tmp_path / "a.safetensors"), good]) == 2
    found = capsys.readouterr()
    assert found.err.count("\n") == 1
    assert "an empty file" in found.err
    assert found.out.rstrip().endswith(f"PASS  {good}")


def test_json_keeps_to_its_schema_and_holds_every_tensor(tmp_path: Path, capsys) -> None:
    path = str(as_safetensors(tmp_path / "m", planted("nan")))
    assert run(["weights", path, str(tmp_path / "none"), "--json"]) == 1
    text = capsys.readouterr().out
    assert complaints("weights", text) == []
    document = json.loads(text)
    first, second = document["results"]
    assert (document["verdict"], first["verdict"], second["verdict"]) == ("fail", "fail", "unjudged")
    assert (first["complete"], first["finite"], len(first["numbers"])) == (True, False, 58)
    (finding,) = [one for one in first["findings"] if one["severity"] == "fail"]
    assert (finding["tensor"], finding["position"], finding["value"], finding["limit"]) == (ATTENTION, [5, 7], 1.0, 0.0)


def test_csv_has_a_line_for_every_tensor(tmp_path: Path, capsys) -> None:
    assert run(["weights", str(as_safetensors(tmp_path / "m", planted("nan"))), "--csv"]) == 1
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert len(rows) == 58
    found = {row["name"]: row for row in rows}[ATTENTION]
    assert (found["shape"], found["scanned"], found["nan"], found["findings"]) == ("64x64", "4096", "1", "nan")


def test_details_list_every_tensor_and_quiet_only_the_verdict(tmp_path: Path, capsys) -> None:
    path = str(as_safetensors(tmp_path / "m", sound()))
    run(["weights", path, "--verbose"])
    assert sum("F32" in line for line in capsys.readouterr().out.splitlines()) == 58
    run(["weights", path, "--quiet"])
    assert capsys.readouterr().out == f"PASS  {path}\n"


def test_a_policy_file_says_what_is_allowed(tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    as_safetensors(tmp_path / "m", planted("nan"))
    (tmp_path / "mhcdiag.toml").write_text('[weights]\nallow = ["*.v_proj.*"]\n')
    assert run(["weights", "m"]) == 0
    assert run(["weights", "m", "--isolated"]) == 1
    (tmp_path / "mhcdiag.toml").write_text('[weights]\nalow = ["*"]\n')
    assert run(["weights", "m"]) == 2
    assert "did you mean 'allow'?" in capsys.readouterr().err


def test_no_torch_is_loaded_for_safetensors(tmp_path: Path) -> None:
    import subprocess
    import sys

    path = str(as_safetensors(tmp_path / "m", sound()))
    code = (
        "import sys; from mhcdiag.cli.main import run; code = run(['weights', sys.argv[1], '-q']);"
        "sys.exit(code or 10 * ('torch' in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code, path], check=False, capture_output=True).returncode == 0


# Beside the other commands


@pytest.mark.parametrize("command", ["gain", "health", "check"])
def test_nan_in_any_weight_fails_every_command(command: str, tmp_path: Path, capsys) -> None:
    path = plain(tmp_path / "m", "nan")
    assert run([command, path]) == 1
    out = capsys.readouterr().out
    assert BROKEN in out
    assert "1 of 6,144 values is NaN, at [3, 5] (limit 0)" in " ".join(out.split())
    assert run([command, plain(tmp_path / "sound")]) == 0
    assert run([command, path, "--no-scan"]) == 0
    assert "weights not scanned" in capsys.readouterr().out or command == "check"


@pytest.mark.parametrize("command", ["gain", "health", "check"])
def test_other_findings_are_said_and_change_nothing(command: str, tmp_path: Path, capsys) -> None:
    assert run([command, plain(tmp_path / "m", "zero")]) == 0
    assert BROKEN in capsys.readouterr().out


def test_health_fails_on_warnings_of_weights_where_it_is_asked_to(tmp_path: Path, capsys) -> None:
    assert run(["health", plain(tmp_path / "m", "zero"), "--fail-on", "warn"]) == 1
    assert f"{BROKEN}: all 6,144 values are zero" in capsys.readouterr().out.rstrip().splitlines()[-1]


@pytest.mark.parametrize("command", ["gain", "health", "check"])
def test_json_of_the_other_commands_holds_the_scan(command: str, tmp_path: Path, capsys) -> None:
    for fault, finite in (("nan", False), ("", True)):
        run([command, plain(tmp_path / f"m{fault}", fault), "--json"])
        text = capsys.readouterr().out
        assert complaints(command, text) == []
        (result,) = json.loads(text)["results"]
        assert result["weights"]["finite"] is finite
        assert result["weights"]["complete"]
        assert "numbers" not in result["weights"]


def test_above_the_limit_the_scan_waits_until_it_is_asked_for(tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.setattr(usecase, "UNASKED", 1000)
    path = plain(tmp_path / "m", "nan")
    assert run(["gain", path]) == 0
    assert "(--scan, about 1 min)" in capsys.readouterr().out
    assert run(["gain", path, "--scan"]) == 1
    capsys.readouterr()
    assert run(["check", path]) == 0
    assert "weights not scanned (--scan, about 1 min)" in " ".join(capsys.readouterr().out.split())
    assert run(["check", path, "--strict"]) == 2
    assert run(["check", path, "--scan"]) == 1


def test_the_policy_s_list_of_allowed_tensors_holds_for_every_command(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    plain(tmp_path / "m", "nan")
    (tmp_path / "mhcdiag.toml").write_text('[weights]\nallow = ["*.gate_proj.*"]\n')
    assert run(["gain", "m"]) == 0
    assert run(["check", "m"]) == 0
    (tmp_path / "mhcdiag.toml").write_text("[gain]\nscan = false\n[check]\nscan = false\n")
    assert run(["gain", "m"]) == 0
    assert run(["check", "m"]) == 0


def test_the_state_of_an_optimizer_counts(tmp_path: Path, capsys) -> None:
    as_pt(tmp_path, sound())
    state = {"state": {0: {"exp_avg": torch.tensor([1.0, float("inf")])}}, "param_groups": [{"lr": 1.0}]}
    torch.save({"model": sound(), "optimizer": state}, tmp_path / "step_7.pt")
    assert run(["weights", str(tmp_path / "step_7.pt")]) == 1
    assert "optimizer.state.0.exp_avg: 1 of 2 values is infinite, at [1] (limit 0)" in capsys.readouterr().out

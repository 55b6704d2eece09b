"""Where settings come from: flag over environment over file over default, for every command."""

import json
import tomllib
from pathlib import Path

import pytest
from checkinputs import make

from mhcdiag.cli.main import run
from mhcdiag.policies.policy import BUILT_IN
from mhcdiag.policies.policy_files import read_policy


def lines_of(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> list[str]:
    assert run(["config", *arguments]) == 0
    return capsys.readouterr().out.splitlines()


def tokens(capsys: pytest.CaptureFixture[str], *arguments: str) -> int:
    assert run(["gain", "calm", "--json", *arguments]) == 0
    return int(json.loads(capsys.readouterr().out)["results"][0]["tokens"])


def test_gain_takes_flag_then_environment_then_file_then_default(project: Path, monkeypatch, capsys):
    make("calm", project)
    assert tokens(capsys) == 1024
    (project / "mhcdiag.toml").write_text("[gain]\ntokens = 7\n")
    assert tokens(capsys) == 7
    monkeypatch.setenv("MHCDIAG_GAIN_TOKENS", "11")
    assert tokens(capsys) == 11
    assert tokens(capsys, "--tokens", "13") == 13
    assert tokens(capsys, "--isolated") == 11
    monkeypatch.delenv("MHCDIAG_GAIN_TOKENS")
    assert tokens(capsys, "--isolated") == 1024


def test_check_measures_with_the_options_of_gain_and_spikes(project: Path, monkeypatch, capsys):
    names = [make("calm", project), make("spiky.jsonl", project)]

    def found() -> tuple[int, int]:
        assert run(["check", *names, "--json"]) == 0
        gain, spikes = (one["gain"] or one["spikes"] for one in json.loads(capsys.readouterr().out)["results"])
        return gain["tokens"], len(spikes["series"]["loss"]["events"])

    assert found() == (1024, 1)
    (project / "mhcdiag.toml").write_text("[gain]\ntokens = 7\n[spikes]\nsteps = '600:'\n")
    assert found() == (7, 0)
    monkeypatch.setenv("MHCDIAG_GAIN_TOKENS", "11")
    monkeypatch.setenv("MHCDIAG_SPIKES_STEPS", "400:")
    assert found() == (11, 1)


def test_check_takes_flag_then_environment_then_file_then_default(project: Path, monkeypatch, capsys):
    make("exploded", project)
    assert run(["check", "exploded"]) == 1
    (project / "mhcdiag.toml").write_text("[check]\nexit_zero = true\nformat = 'json'\n")
    capsys.readouterr()
    assert run(["check", "exploded"]) == 0
    assert json.loads(capsys.readouterr().out)["verdict"] == "fail"
    monkeypatch.setenv("MHCDIAG_CHECK_EXIT_ZERO", "false")
    monkeypatch.setenv("MHCDIAG_CHECK_FORMAT", "csv")
    assert run(["check", "exploded"]) == 1
    assert capsys.readouterr().out.startswith("path,gate,")
    assert run(["check", "exploded", "--exit-zero", "--format", "text"]) == 0
    assert "exit code 0 (--exit-zero)" in capsys.readouterr().out


def test_spikes_takes_flag_then_environment_then_file_then_default(project: Path, monkeypatch):
    make("spiky.jsonl", project)
    assert run(["spikes", "spiky.jsonl"]) == 0
    (project / "mhcdiag.toml").write_text("[spikes]\nfail_on = 'spike'\n")
    assert run(["spikes", "spiky.jsonl"]) == 1
    monkeypatch.setenv("MHCDIAG_SPIKES_FAIL_ON", "nan")
    assert run(["spikes", "spiky.jsonl"]) == 0
    assert run(["spikes", "spiky.jsonl", "--fail-on", "spike,nan"]) == 1


def test_a_policy_is_named_by_flag_then_environment_then_found(project: Path, monkeypatch, capsys):
    make("calm", project)
    for name, count in (("mhcdiag.toml", 3), ("other.toml", 5), ("third.toml", 7)):
        (project / name).write_text(f"[gain]\ntokens = {count}\n")
    assert tokens(capsys) == 3
    monkeypatch.setenv("MHCDIAG_CONFIG", "other.toml")
    assert tokens(capsys) == 5
    assert tokens(capsys, "--config", "third.toml") == 7
    assert tokens(capsys, "--isolated") == 1024
    for arguments in (["--isolated", "--config", "third.toml"], ["--config", "third.toml", "--isolated"]):
        assert run(["gain", "calm", *arguments]) == 2
        assert "--config and --isolated contradict each other" in capsys.readouterr().err


def test_a_project_file_is_a_policy_too(project: Path, monkeypatch, capsys):
    (project / "pyproject.toml").write_text("[project]\nname = 'x'\n[tool.mhcdiag.gain]\ntokens = 7\n")
    (project / "below").mkdir()
    monkeypatch.chdir(project / "below")
    make("calm", project / "below")
    assert tokens(capsys) == 7


@pytest.mark.parametrize("command", ["gain", "spikes", "check", "config", "explain"])
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[gain\n", "mhcdiag.toml: not TOML: Expected ']' at the end of a table declaration (at line 1, column 6)"),
        ("gain = 3\n", "mhcdiag.toml: gain: 3; expected a valid dictionary"),
        ("[gians]\n", "mhcdiag.toml: unknown key 'gians'; expected inputs, "),
    ],
)
def test_a_bad_policy_stops_every_command(project: Path, command: str, text: str, message: str, capsys):
    (project / "mhcdiag.toml").write_text(text)
    assert run([command, *(["good.jsonl"] if command in ("gain", "spikes", "check") else [])]) == 2
    out = capsys.readouterr()
    assert message in out.err
    assert (out.err.count("\n"), out.out) == (1, "")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[gain]\ntoken = 7\n", "unknown key 'token' in [gain]; expected an option of `mhcdiag gain`: "),
        ("[gain]\ntokens = 'many'\n", "mhcdiag.toml: gain.tokens: "),
        ("[gain]\ntokens = 0\n", "mhcdiag.toml: gain.tokens: "),
        ("[gain]\ndevice = 'tpu'\n", "mhcdiag.toml: gain.device: "),
        ("[gain]\nisolated = true\n", "unknown key 'isolated' in [gain]"),
        ("[spikes]\nsteps = '5:3'\n", "--steps 5:3: the first step lies behind the last"),
        ("[spikes]\nrule = 'mine'\n", "there is no rule 'mine'"),
        ("[check]\njobs = 0\n", "mhcdiag.toml: check.jobs: "),
        ("[check]\nbase_line = 'b'\n", "did you mean 'baseline'?"),
    ],
)
def test_a_bad_option_in_a_policy_is_named_with_the_file(project: Path, text: str, message: str, capsys):
    make("good.jsonl", project)
    (project / "mhcdiag.toml").write_text(text)
    assert run(["check", "good.jsonl"]) == 2
    out = capsys.readouterr()
    assert message in out.err
    assert (out.err.count("\n"), out.out) == (1, "")


def test_a_bad_variable_is_named(project: Path, monkeypatch, capsys):
    make("good.jsonl", project)
    monkeypatch.setenv("MHCDIAG_GAIN_TOKENS", "many")
    assert run(["check", "good.jsonl"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("mhcdiag: MHCDIAG_GAIN_TOKENS=many: ")
    assert error.count("\n") == 1


def test_a_bad_flag_is_not_blamed_on_the_file(project: Path, capsys):
    (project / "mhcdiag.toml").write_text("[gain]\ntokens = 7\n")
    assert run(["gain", "calm", "--tokens", "many"]) == 2
    error = capsys.readouterr().err
    assert "'--tokens'" in error
    assert "mhcdiag.toml" not in error


def test_every_value_says_where_it_comes_from(project: Path, monkeypatch, capsys):
    (project / "mhcdiag.toml").write_text(
        "[gain]\ntokens = 7\n[spikes]\nseries = ['eval_loss']\n[check]\nstrict = true\n"
    )
    monkeypatch.setenv("MHCDIAG_GAIN_SEED", "5")
    lines = lines_of(capsys, [])
    for line in (
        "# policy: mhcdiag.toml, gates of the built-in policy",
        "tokens = 7  # mhcdiag.toml",
        "seed = 5  # MHCDIAG_GAIN_SEED",
        "# max_gain = 1000  # default",
        "# layout is not set",
        'series = ["eval_loss"]  # mhcdiag.toml',
        "strict = true  # mhcdiag.toml",
    ):
        assert line in lines


def test_what_is_printed_is_a_policy_that_says_the_same(project: Path, capsys):
    gates = '[[gates]]\nname = "mine"\nmetric = "gain.worst.backward.norm"\nmax_ratio = 2.5\nseverity = "warning"\n'
    allow = "[[allow]]\nsteps = [12000, inf]\nreason = 'a \"quoted\" \\u00e9 reason'\n"
    text = f"[inputs]\nlogs = ['*.jsonl']\n{gates}{allow.replace(chr(39), chr(39) * 3)}[gain]\ntokens = 7\n"
    (project / "mhcdiag.toml").write_text(text)
    shown = "\n".join(lines_of(capsys, []))
    (project / "shown.toml").write_text(shown)
    before, after = read_policy(project / "mhcdiag.toml"), read_policy(project / "shown.toml")
    assert (after.inputs, after.gates, after.allow, after.gain) == (
        before.inputs,
        before.gates,
        before.allow,
        before.gain,
    )
    again = "\n".join(lines_of(capsys, ["--config", "shown.toml"]))
    assert again.replace("shown.toml", "mhcdiag.toml") == shown


@pytest.mark.parametrize("arguments", [[], ["--isolated"]])
def test_without_a_policy_the_built_in_one_is_shown(project: Path, arguments: list[str], capsys):
    if arguments:
        (project / "mhcdiag.toml").write_text("[gain]\ntokens = 7\n")
    lines = lines_of(capsys, arguments)
    assert lines[0] == "# policy: built-in policy"
    shown = tomllib.loads("\n".join(lines))
    assert [gate["name"] for gate in shown["gates"]] == [gate.name for gate in BUILT_IN.gates]
    assert shown["gain"] == shown["spikes"] == shown["check"] == {}

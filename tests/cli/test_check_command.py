"""`mhcdiag check` from the words of a command line to its exit code and reports."""

import json
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch
from safetensors.torch import save_file

from mhcdiag.cli.main import run

ROOT = Path(__file__).parent.parent.parent
SAMPLES = ROOT / "sample_checkpoints"
HEALTHY = [f'{{"step": {step}, "loss": {2 + 1 / (1 + step):.4f}}}' for step in range(40)]
WITH_NAN = [*HEALTHY, *(f'{{"step": {step}, "loss": NaN}}' for step in range(40, 60))]


def diverging(step: int) -> float:
    """Falls, then climbs for good; the run is far longer than the warm-up of the rule."""
    return (4 - step / 500 if step < 600 else 2.8 + (step - 600) / 100) + 0.01 * (step % 7)


DIVERGING = [f'{{"step": {step}, "loss": {diverging(step):.4f}}}' for step in range(1500)]


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A working directory with a healthy checkpoint and logs, and no policy anywhere above."""
    monkeypatch.chdir(tmp_path)
    for variable in ("GITHUB_STEP_SUMMARY", "GITHUB_OUTPUT", "MHCDIAG_CONFIG"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("COLUMNS", "200")
    (tmp_path / "mhc.safetensors").write_bytes((SAMPLES / "mhc.safetensors").read_bytes())
    (tmp_path / "hc.safetensors").write_bytes((SAMPLES / "hc.safetensors").read_bytes())
    for name, lines in (("good", HEALTHY), ("nan", WITH_NAN), ("diverging", DIVERGING)):
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return tmp_path


def policy(folder: Path, text: str) -> None:
    (folder / "mhcdiag.toml").write_text(text, encoding="utf-8")


GATES = """
[gain]
tokens = 16
[[gates]]
name = "gain"
metric = "gain.worst.backward.norm"
max = 1000
[[gates]]
name = "no NaN"
metric = "spikes.count.nan"
max = 0
[[gates]]
name = "no divergence"
metric = "spikes.count.divergence"
max = 0
"""


def test_healthy_inputs_pass_with_the_built_in_policy(folder, capsys):
    assert run(["check", "mhc.safetensors", "good.jsonl"]) == 0
    shown = capsys.readouterr().out
    assert "built-in policy" in shown
    assert shown.splitlines()[-1] == "PASS: 6 passed; exit code 0"


@pytest.mark.parametrize(
    ("sick", "gate", "value"),
    [
        ("hc.safetensors", "forward gain", "> 1000"),
        ("nan.jsonl", "no NaN", "1 > 0"),
        ("diverging.jsonl", "no divergence", "1 > 0"),
    ],
)
def test_sick_inputs_fail_and_every_report_names_the_gate(folder, capsys, sick, gate, value):
    reports = [
        "-o",
        "r.xml",
        "-o",
        "r.sarif",
        "-o",
        "github:r.txt",
        "-o",
        "r.html",
        "-o",
        "r.md",
        "-o",
        "r.json",
        "-o",
        "r.csv",
    ]
    assert run(["check", "mhc.safetensors", "good.jsonl", sick, *reports]) == 1
    decided, verdict = capsys.readouterr().out.splitlines()[-2:]
    assert decided.startswith(f"decided by {gate}: ")
    assert value in decided
    assert re.fullmatch(r"FAIL: \d+ failed, .*exit code 1", verdict)
    failed = ElementTree.parse(folder / "r.xml").findall(".//testcase[failure]")
    assert gate in [case.get("name") for case in failed]
    results = json.loads((folder / "r.sarif").read_text())["runs"][0]["results"]
    assert any(gate in result["message"]["text"] for result in results)
    for name in ("r.txt", "r.html", "r.md", "r.csv"):
        assert gate in (folder / name).read_text(encoding="utf-8"), name
    assert json.loads((folder / "r.json").read_text())["decided_by"]["gate"] == gate


def test_one_bad_input_never_hides_the_others(folder, capsys):
    (folder / "junk.safetensors").write_bytes(b"junk")
    assert run(["check", "junk.safetensors", "mhc.safetensors", "good.jsonl", "none.jsonl"]) == 2
    captured = capsys.readouterr()
    assert "pass      mhc.safetensors" in captured.out
    assert captured.out.count("UNJUDGED") == 3
    assert captured.err.count("mhcdiag: ") == 2
    assert run(["check", "junk.safetensors", "nan.jsonl"]) == 1, "a gate that failed still wins"


def test_too_little_was_checked_is_no_pass(folder, capsys):
    (folder / "short.jsonl").write_text("\n".join(HEALTHY[:5]), encoding="utf-8")
    assert run(["check", "short.jsonl"]) == 2
    assert "too few to judge" in capsys.readouterr().out


def test_an_input_without_a_gate_is_no_pass(folder, capsys):
    policy(folder, '[[gates]]\nmetric = "gain.nonfinite"\nmax = 0\n')
    assert run(["check", "good.jsonl"]) == 2
    assert "no gate of the policy applies to it" in capsys.readouterr().out


def test_inputs_come_from_the_policy_in_natural_order(folder, capsys):
    policy(folder, '[inputs]\ncheckpoints = ["step_*"]\nlogs = ["*.jsonl"]\n' + GATES)
    for step in (2, 10):
        (folder / f"step_{step}").mkdir()
        (folder / f"step_{step}" / "model.safetensors").write_bytes((folder / "mhc.safetensors").read_bytes())
    assert run(["check", "--json"]) == 1
    paths = [each["path"] for each in json.loads(capsys.readouterr().out)["results"]]
    assert paths == ["step_2", "step_10", "diverging.jsonl", "good.jsonl", "nan.jsonl"]


def test_a_pattern_that_matches_nothing_leaves_the_check_unjudged(folder, capsys):
    policy(folder, '[inputs]\nlogs = ["good.jsonl", "nothing/*.log"]\n' + GATES)
    assert run(["check"]) == 2
    assert "the pattern 'nothing/*.log' matches nothing" in capsys.readouterr().err


def test_a_gate_whose_pattern_covers_no_input_leaves_the_check_unjudged(folder, capsys):
    gate = '[[gates]]\nname = "base"\nmetric = "spikes.count.spike"\nmax = 0\npaths = "base*.jsonl"\n'
    policy(folder, '[inputs]\nlogs = ["good.jsonl"]\n' + GATES + gate)
    assert run(["check"]) == 2
    assert "gate 'base' is for logs that match 'base*.jsonl', and no input does" in capsys.readouterr().err
    assert run(["check", "good.jsonl"]) == 0, "named on the command line, an input may be any of the policy's"


@pytest.mark.parametrize("text", [None, GATES])
def test_nothing_to_check_is_told(folder, capsys, text):
    if text:
        policy(folder, text)
    assert run(["check"]) == 2
    assert "nothing to check: no PATH was given" in capsys.readouterr().err


def test_a_folder_gives_its_checkpoints_and_logs(folder, capsys):
    (folder / "run" / "step_1").mkdir(parents=True)
    (folder / "run" / "step_1" / "model.safetensors").write_bytes((folder / "mhc.safetensors").read_bytes())
    (folder / "run" / "train.jsonl").write_bytes((folder / "good.jsonl").read_bytes())
    assert run(["check", "run", "--json"]) == 0
    found = {each["path"]: each["family"] for each in json.loads(capsys.readouterr().out)["results"]}
    assert found == {"run/step_1/model.safetensors": "checkpoint", "run/train.jsonl": "log"}


def test_an_empty_folder_is_no_pass(folder, capsys):
    (folder / "empty").mkdir()
    assert run(["check", "empty"]) == 2
    assert "neither checkpoint nor log" in capsys.readouterr().err


def test_exit_zero_is_for_a_trial_and_hides_nothing(folder, capsys):
    assert run(["check", "nan.jsonl", "--exit-zero"]) == 0
    assert "FAIL: 1 failed, 2 passed; exit code 0 (--exit-zero)" in capsys.readouterr().out


def test_warnings_count_under_strict_only(folder):
    policy(folder, '[[gates]]\nmetric = "spikes.count.nan"\nmax = 0\nseverity = "warning"\n')
    assert run(["check", "nan.jsonl"]) == 0
    assert run(["check", "nan.jsonl", "--strict"]) == 1


def test_assumptions_count_under_strict(folder, capsys):
    """Whether the package of lucidrains squashes its input part is not stored."""
    site = {
        "static_alpha": torch.eye(4, 5),
        "static_beta": torch.ones(4),
        "dynamic_alpha_fn": torch.zeros(16, 5),
        "dynamic_alpha_scale": torch.tensor(0.01),
        "dynamic_beta_fn": torch.zeros(16),
        "dynamic_beta_scale": torch.tensor(0.01),
        "norm.gamma": torch.ones(16),
    }
    places = [f"layers.{number}.{kind}" for number in range(2) for kind in ("attn", "ffn")]
    stored = {f"{place}.{name}": tensor.clone() for place in places for name, tensor in site.items()}
    save_file(stored, folder / "assumed.safetensors")
    assert run(["check", "assumed.safetensors", "--strict"]) == 2
    assert "--strict, and 1 thing(s) were assumed or skipped" in capsys.readouterr().out


def test_allowed_events_count_nowhere_and_are_shown(folder, capsys):
    policy(folder, GATES + '[[allow]]\nkind = "nan"\nsteps = [30, 50]\nreason = "shard 17"\n')
    assert run(["check", "nan.jsonl"]) == 0
    assert "nan of loss at step 40, nan.jsonl:41, allowed: shard 17" in capsys.readouterr().out


def test_flag_beats_environment_beats_file_beats_default(folder, capsys, monkeypatch):
    def tokens() -> int:
        run(["check", "mhc.safetensors", "--json"])
        return json.loads(capsys.readouterr().out)["results"][0]["gain"]["tokens"]

    assert tokens() == 1024
    policy(folder, GATES)
    assert tokens() == 16
    monkeypatch.setenv("MHCDIAG_GAIN_TOKENS", "8")
    assert tokens() == 8
    run(["gain", "mhc.safetensors", "--json", "--tokens", "4"])
    assert json.loads(capsys.readouterr().out)["results"][0]["tokens"] == 4
    run(["gain", "mhc.safetensors", "--json"])
    assert json.loads(capsys.readouterr().out)["results"][0]["tokens"] == 8
    monkeypatch.delenv("MHCDIAG_GAIN_TOKENS")
    run(["gain", "mhc.safetensors", "--json", "--isolated"])
    assert json.loads(capsys.readouterr().out)["results"][0]["tokens"] == 1024


def test_options_of_check_and_spikes_come_from_the_policy_too(folder, capsys, monkeypatch):
    policy(folder, "[check]\nexit_zero = true\nformat = 'json'\n[spikes]\nfail_on = 'never'\n" + GATES)
    assert run(["check", "nan.jsonl"]) == 0
    assert json.loads(capsys.readouterr().out)["verdict"] == "fail"
    assert run(["spikes", "nan.jsonl", "-q"]) == 0
    monkeypatch.setenv("MHCDIAG_SPIKES_FAIL_ON", "nan")
    assert run(["spikes", "nan.jsonl", "-q"]) == 1
    assert run(["spikes", "nan.jsonl", "-q", "--fail-on", "spike"]) == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[gain]\ntokns = 1\n", r"mhcdiag.toml: unknown key 'tokns' in \[gain\].*did you mean 'tokens'"),
        ("[gain]\ntokens = 'a'\n", r"mhcdiag.toml: gain.tokens: .*valid integer"),
        ("[check]\nstrct = true\n", r"mhcdiag.toml: unknown key 'strct' in \[check\].*did you mean 'strict'"),
        ("[gain\n", r"mhcdiag.toml: not TOML: .*line 1"),
    ],
)
def test_a_wrong_policy_stops_everything(folder, capsys, text, message):
    policy(folder, text)
    assert run(["check", "mhc.safetensors"]) == 2
    captured = capsys.readouterr()
    assert re.search(message, captured.err)
    assert captured.out == ""


def test_config_and_isolated(folder, capsys):
    policy(folder, "[broken")
    assert run(["check", "good.jsonl", "--isolated"]) == 0
    (folder / "other.toml").write_text(GATES, encoding="utf-8")
    assert run(["check", "good.jsonl", "--config", "other.toml"]) == 0
    assert "other.toml" in capsys.readouterr().out
    for words in (["--isolated", "--config", "other.toml"], ["--config", "other.toml", "--isolated"]):
        assert run(["check", "good.jsonl", *words]) == 2
        assert "contradict each other" in capsys.readouterr().err


def test_a_baseline_is_written_accepted_and_compared_with(folder, capsys):
    text = GATES + '[[gates]]\nmetric = "spikes.new"\nmax = 0\n[[gates]]\nname = "ratio"\n'
    policy(folder, text + 'metric = "gain.worst.forward.norm"\nmax_ratio = 1.5\n')
    assert run(["check", "mhc.safetensors", "good.jsonl"]) == 2, "no baseline: could not judge"
    assert run(["check", "mhc.safetensors", "good.jsonl", "--update-baseline"]) == 2, "which file?"
    inputs = ["mhc.safetensors", "good.jsonl", "--baseline", "b.json"]
    assert run(["check", *inputs, "--update-baseline"]) == 0
    assert run(["check", *inputs]) == 0
    capsys.readouterr()
    (folder / "good.jsonl").write_text("\n".join(WITH_NAN), encoding="utf-8")
    assert run(["check", *inputs]) == 1
    assert "spikes.new" in capsys.readouterr().out
    assert run(["check", "hc.safetensors", "--baseline", "b.json"]) == 2
    assert "a baseline of another model" in capsys.readouterr().err


def test_a_baseline_without_an_input_is_not_written(folder, capsys):
    (folder / "b.json").write_text("before", encoding="utf-8")
    words = ["check", "good.jsonl", "none.jsonl", "--baseline", "b.json", "--update-baseline"]
    assert run(words) == 2
    assert "b.json is left as it was: none.jsonl" in capsys.readouterr().err
    assert (folder / "b.json").read_text() == "before"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-o", "r.json", "-o", "json:./r.json"], "two reports would be written to this file"),
        (["-o", "r.txt"], "expected a name that ends in .json"),
        (["-o", "none/r.json"], "cannot be written"),
        (["-o", "."], "expected a name that ends in"),
        (["--format", "yaml"], "there is no such format"),
        (["--baseline", "none.json"], "No such file or directory; expected a baseline"),
    ],
)
def test_wrong_words_are_told_before_any_work(folder, capsys, words, message):
    assert run(["check", "good.jsonl", *words]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.out == ""


def test_an_interrupted_write_leaves_the_old_file(folder, monkeypatch):
    (folder / "r.md").write_text("before", encoding="utf-8")
    monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    assert run(["check", "good.jsonl", "-o", "r.md"]) == 2
    assert (folder / "r.md").read_text() == "before"
    assert not list(folder.glob(".r-*"))


def test_the_same_input_gives_the_same_bytes(folder, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    names = ["r.json", "r.md", "r.csv", "r.xml", "r.sarif", "github:r.txt", "r.html"]
    words = ["check", "hc.safetensors", "nan.jsonl", *(word for name in names for word in ("-o", name))]
    files = [folder / name.removeprefix("github:") for name in names]
    assert run(words) == 1
    first = [file.read_bytes() for file in files]
    assert run(words) == 1
    assert [file.read_bytes() for file in files] == first
    assert b"2023-11-14T22:13:20Z" in first[0]
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "soon")
    assert run(words) == 2


def test_github_gets_annotations_summary_and_outputs(folder, capsys, monkeypatch):
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "summary.md")
    monkeypatch.setenv("GITHUB_OUTPUT", "outputs")
    (folder / "summary.md").write_text("before\n", encoding="utf-8")
    assert run(["check", "nan.jsonl", "--format", "github"]) == 1
    assert "::error file=nan.jsonl,line=41" in capsys.readouterr().out
    assert (folder / "summary.md").read_text().startswith("before\n")
    assert "no NaN" in (folder / "summary.md").read_text()
    assert "verdict=fail" in (folder / "outputs").read_text()


def test_init_writes_a_policy_once(folder, capsys):
    assert run(["check", "--init"]) == 0
    assert (folder / "mhcdiag.toml").exists()
    assert run(["check", "good.jsonl"]) == 0
    assert run(["check", "--init"]) == 2
    assert "exists already" in capsys.readouterr().err


def test_config_shows_values_with_their_sources_and_is_a_policy(folder, capsys, monkeypatch):
    policy(folder, GATES)
    monkeypatch.setenv("MHCDIAG_GAIN_SEED", "3")
    assert run(["config"]) == 0
    shown = capsys.readouterr().out
    assert "tokens = 16  # mhcdiag.toml" in shown
    assert "seed = 3  # MHCDIAG_GAIN_SEED" in shown
    assert '# rule = "mhcdiag"  # default' in shown
    (folder / "again.toml").write_text(shown, encoding="utf-8")
    assert run(["check", "good.jsonl", "--config", "again.toml"]) == 0


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("gain.worst.forward.norm", "2512.24880"),
        ("spikes.count.nan", "What to do"),
        ("no NaN", "Gate 'no NaN' (error): spikes.count.nan <= 0"),
        ("zclip", "ZClip"),
    ],
)
def test_explain_tells_rules_metrics_and_gates(folder, capsys, name, words):
    policy(folder, GATES)
    assert run(["explain", name]) == 0
    assert words in capsys.readouterr().out


def test_explain_suggests(folder, capsys):
    assert run(["explain", "spikes.nu"]) == 2
    assert "did you mean spikes.new" in capsys.readouterr().err


def test_logs_are_checked_where_torch_cannot_be_imported(folder):
    code = "import sys\nsys.modules['torch'] = None\nfrom mhcdiag.cli.main import run\nsys.exit(run(sys.argv[1:]))\n"

    def without_torch(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False)

    assert without_torch("check", "good.jsonl").returncode == 0
    assert without_torch("check", "nan.jsonl", "-o", "r.xml").returncode == 1
    code = code.replace("'torch'", "'matplotlib'")
    figures = without_torch("check", "nan.jsonl", "-o", "r.html")
    assert (figures.returncode, figures.stdout) == (2, "")
    assert "needs the package 'matplotlib'" in figures.stderr
    code = code.replace("'matplotlib'", "'torch'")
    missing = without_torch("check", "mhc.safetensors")
    assert missing.returncode == 2
    assert "torch" in missing.stderr

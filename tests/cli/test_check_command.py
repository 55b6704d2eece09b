"""`mhcdiag check` as a shell sees it: exit codes, what stands last, files, and what never hides what."""

import csv
import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from xml.etree import ElementTree

import pytest
from checkinputs import make
from readme_blocks import ROOT

from mhcdiag.cli.check_outputs import FORMATS, SUFFIXES
from mhcdiag.cli.main import run
from mhcdiag.policy.starter import STARTER

SAMPLES = ROOT / "sample_checkpoints"
GATES = (
    '[[gates]]\nname = "gain"\nmetric = "gain.worst.backward.norm"\nmax = 1000\n'
    '[[gates]]\nname = "finite loss"\nmetric = "spikes.count.nan"\nmax = 0\n'
)
FORMATS_HERE = [name for name, place in FORMATS.items() if find_spec(place.partition(":")[0])]


def policy(project: Path, text: str = GATES) -> None:
    (project / "mhcdiag.toml").write_text(text)


def last_lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().out.rstrip().splitlines()[-2:]


# Exit codes


@pytest.mark.parametrize(
    ("names", "code"),
    [
        (["calm", "good.jsonl"], 0),
        (["exploded", "good.jsonl"], 1),
        (["calm", "nan.jsonl"], 1),
        (["broken"], 1),
        (["huge"], 1),
        (["diverging.jsonl"], 1),
        (["short.jsonl", "calm"], 2),
        (["torn.safetensors", "calm"], 2),
        (["gone.jsonl", "good.jsonl"], 2),
        (["torn.safetensors", "exploded", "calm"], 1),
        (["short.jsonl", "nan.jsonl"], 1),
    ],
)
def test_exit_codes_and_no_input_hides_another(project: Path, names: list[str], code: int, capsys):
    for name in names:
        if not name.startswith("gone"):
            make(name, project)
    # A folder without index and config is a folder of files.
    names = [name if name in ("calm", "gone.jsonl") or "." in name else f"{name}/model.safetensors" for name in names]
    assert run(["check", *names, "--json"]) == code
    out = capsys.readouterr()
    found = json.loads(out.out)
    assert [one["path"] for one in found["results"]] == names
    assert found["exit_code"] == code
    unreadable = [one["path"] for one in found["results"] if one["error"]]
    assert unreadable == [name for name in names if name.startswith(("torn", "gone"))]
    assert out.err.count("\n") == len(unreadable)
    assert all(one["gain"] or one["spikes"] for one in found["results"] if not one["error"])


@pytest.mark.parametrize(
    ("name", "gate", "metric"),
    [
        (SAMPLES / "hc.safetensors", "forward gain", "gain.worst.forward.norm"),
        ("broken", "finite mappings", "gain.nonfinite"),
        ("nan.jsonl", "no NaN", "spikes.count.nan"),
        ("diverging.jsonl", "no divergence", "spikes.count.divergence"),
    ],
)
def test_sick_inputs_fail_with_the_right_gate_in_every_format(project: Path, name, gate: str, metric: str, capsys):
    make("good.jsonl", project)
    path = str(name) if isinstance(name, Path) else make(name, project)
    outputs = [word for one in FORMATS_HERE for word in ("-o", f"{one}:report.{one}")]
    assert run(["check", "good.jsonl", path, *outputs]) == 1
    decided, verdict = last_lines(capsys)
    assert decided.startswith(f"decided by {gate}: {metric}")
    assert verdict.startswith("FAIL: ")
    assert verdict.endswith("exit code 1")
    assert json.loads((project / "report.json").read_text())["decided_by"]["gate"] == gate
    failed = ElementTree.parse(project / "report.junit").findall(".//testcase[failure]")
    assert gate in failed[0].attrib["name"]
    sarif = json.loads((project / "report.sarif").read_text())["runs"][0]["results"]
    assert any(gate in one["message"]["text"] or gate in one["ruleId"] for one in sarif if one.get("level") == "error")
    assert f"title=FAIL%3A {gate}" in (project / "report.github").read_text()
    rows = csv.DictReader((project / "report.csv").read_text().splitlines())
    assert gate in [row["gate"] for row in rows if row["verdict"] == "fail"]
    for one in FORMATS_HERE:
        assert gate in (project / f"report.{one}").read_text()


def test_healthy_samples_pass(project: Path, capsys):
    paths = [SAMPLES / "mhc.safetensors", SAMPLES / "deepseek_v4", SAMPLES / "logs" / "spiky.jsonl"]
    assert run(["check", *map(str, paths)]) == 0
    assert last_lines(capsys)[-1] == "PASS: 9 passed; exit code 0"


def test_the_last_lines_name_gate_value_limit_and_exit_code(project: Path, capsys):
    policy(project)
    assert run(["check", make("exploded", project), make("good.jsonl", project)]) == 1
    decided, verdict = last_lines(capsys)
    assert decided.startswith("decided by gain: gain.worst.backward.norm 4096 > 1000, exploded")
    assert verdict == "FAIL: 1 failed, 1 passed; exit code 1"
    assert run(["check", "exploded", "--quiet"]) == 1
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_verbose_shows_what_passes(project: Path, capsys):
    policy(project)
    make("calm", project)
    assert run(["check", "calm"]) == 0
    assert "<= 1000" not in capsys.readouterr().out
    assert run(["check", "calm", "--verbose"]) == 0
    assert "<= 1000" in capsys.readouterr().out


def test_exit_zero_changes_nothing_but_the_exit_code(project: Path, capsys):
    make("exploded", project)
    assert run(["check", "exploded", "--exit-zero"]) == 0
    assert last_lines(capsys)[-1] == "FAIL: 2 failed, 1 passed; exit code 0 (--exit-zero)"
    assert run(["check", "exploded", "--exit-zero", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["verdict"], found["exit_code"]) == ("fail", 0)
    assert run(["check", "--exit-zero"]) == 2  # what cannot even start is no trial


def test_warnings_count_only_under_strict(project: Path, capsys):
    policy(project, GATES.replace("max = 1000", 'max = 1000\nseverity = "warning"'))
    make("exploded", project)
    assert run(["check", "exploded"]) == 0
    assert last_lines(capsys)[-1] == "PASS: 1 warned; exit code 0"
    assert run(["check", "exploded", "--strict"]) == 1
    assert last_lines(capsys)[0].startswith("decided by gain: ")


def test_strict_leaves_what_was_assumed_unjudged(project: Path, capsys):
    from stacks import deepseek_v4_tensors, write

    write(project / "bare", deepseek_v4_tensors())
    assert run(["check", "bare"]) == 0
    assert run(["check", "bare", "--strict"]) == 2
    assert "decided by judgeable: " in last_lines(capsys)[0]


# Which inputs


def test_patterns_of_the_policy_are_relative_to_it(project: Path, monkeypatch, capsys):
    (project / "runs[1]" / "logs").mkdir(parents=True)
    folder = project / "runs[1]"
    for number in (2, 10, 1):
        make("good.jsonl", folder / "logs")
        (folder / "logs" / "good.jsonl").rename(folder / "logs" / f"step_{number}.jsonl")
    make("calm", folder)
    policy(folder, f'[inputs]\nlogs = ["logs/*.jsonl"]\ncheckpoints = ["cal*/"]\n{GATES}')
    monkeypatch.chdir(folder / "logs")
    assert run(["check", "--json"]) == 0
    paths = [one["path"] for one in json.loads(capsys.readouterr().out)["results"]]
    names = [Path(path).name for path in paths]
    assert names == ["calm", "step_1.jsonl", "step_2.jsonl", "step_10.jsonl"]
    assert paths[1] == "step_1.jsonl"


def test_a_pattern_that_matches_nothing_is_exit_2_and_hides_nothing(project: Path, capsys):
    make("good.jsonl", project)
    policy(project, f'[inputs]\nlogs = ["*.jsonl", "missing/*.log"]\n{GATES}')
    assert run(["check"]) == 2
    out = capsys.readouterr()
    assert "the pattern 'missing/*.log' matches nothing in" in out.err
    assert "good.jsonl" in out.out
    assert "missing/*.log" in out.out.rstrip().splitlines()[-2]


@pytest.mark.parametrize("text", [None, "", GATES])
def test_nothing_to_check_is_exit_2(project: Path, text: str | None, capsys):
    if text is not None:
        policy(project, text)
    assert run(["check"]) == 2
    out = capsys.readouterr()
    assert out.err.startswith("mhcdiag: nothing to check: no PATH was given and ")
    assert out.out == ""


def test_an_empty_folder_and_a_log_that_no_gate_covers_do_not_pass(project: Path, capsys):
    (project / "empty").mkdir()
    assert run(["check", "empty"]) == 2
    assert "neither checkpoint nor log" in capsys.readouterr().err
    policy(project, GATES.partition('[[gates]]\nname = "finite')[0])
    make("good.jsonl", project)
    assert run(["check", "good.jsonl"]) == 2
    assert "no gate of the policy applies to it: add one for logs" in capsys.readouterr().out


def test_folders_are_looked_through(project: Path, capsys):
    (project / "run" / "deep").mkdir(parents=True)
    for name, folder in (("calm", "run"), ("calm", "run/deep"), ("good.jsonl", "run/deep")):
        make(name, project / folder)
    assert run(["check", "run", "--json"]) == 0
    paths = [one["path"] for one in json.loads(capsys.readouterr().out)["results"]]
    assert paths == ["run/calm", "run/deep/calm", "run/deep/good.jsonl"]


def test_a_series_is_asked_only_of_the_logs_that_its_gate_covers(project: Path, capsys):
    gate = '[[gates]]\nmetric = "spikes.count.nan"\nmax = 0\nseries = "eval_loss"\npaths = "eval*.jsonl"\n'
    policy(project, GATES + gate)
    from trainlogs import healthy, write_jsonl

    write_jsonl(project / "eval.jsonl", healthy(), eval_loss=healthy(seed=1))
    make("good.jsonl", project)
    assert run(["check", "eval.jsonl", "good.jsonl"]) == 0
    assert last_lines(capsys)[-1] == "PASS: 3 passed; exit code 0"


def test_one_job_and_many_say_the_same(project: Path, capsys):
    names = [make(name, project) for name in ("calm", "exploded", "good.jsonl", "spiky.jsonl", "nan.jsonl")]
    texts = []
    for jobs in ("1", "3"):
        assert run(["check", *names, "-j", jobs, "-v"]) == 1
        texts.append(capsys.readouterr().out)
    assert texts[0] == texts[1]


# Allowed events and baselines


def test_an_allowed_event_counts_nowhere_and_is_shown(project: Path, capsys):
    make("spiky.jsonl", project)
    gate = '[[gates]]\nname = "spikes"\nmetric = "spikes.count.spike"\nmax = 0\n'
    policy(project, gate)
    assert run(["check", "spiky.jsonl"]) == 1
    policy(project, gate + '[[allow]]\nkind = "spike"\nsteps = [495, 505]\nreason = "corrupt shard 17"\n')
    capsys.readouterr()
    assert run(["check", "spiky.jsonl"]) == 0
    assert "spike of loss at step 501, spiky.jsonl:501, allowed: corrupt shard 17" in capsys.readouterr().out
    policy(project, gate + '[[allow]]\nkind = "spike"\nsteps = [12, 13]\nreason = "another"\n')
    assert run(["check", "spiky.jsonl"]) == 1


def test_a_baseline_is_written_and_compared_with(project: Path, capsys):
    gates = (
        '[[gates]]\nname = "new"\nmetric = "spikes.new"\nmax = 0\n'
        '[[gates]]\nname = "ratio"\nmetric = "gain.worst.backward.norm"\nmax_ratio = 2\n'
    )
    policy(project, gates)
    names = [make("spiky.jsonl", project), make("calm", project)]
    assert run(["check", *names]) == 2
    assert "no limit: the baseline lacks this number" in capsys.readouterr().out
    assert run(["check", *names, "--baseline", "b.json", "--update-baseline"]) == 0
    assert run(["check", *names, "--baseline", "b.json"]) == 0
    make("good.jsonl", project)
    (project / "good.jsonl").replace(project / "spiky.jsonl")
    assert run(["check", *names, "--baseline", "b.json", "--update-baseline"]) == 0
    make("spiky.jsonl", project)
    capsys.readouterr()
    assert run(["check", *names, "--baseline", "b.json"]) == 1
    assert last_lines(capsys)[0].startswith("decided by new: spikes.new of loss 1 > 0, spiky.jsonl:501")


def test_updating_refuses_when_an_input_is_unreadable(project: Path, capsys):
    make("calm", project)
    (project / "b.json").write_text("the old one")
    assert run(["check", "calm", "gone.jsonl", "--baseline", "b.json", "--update-baseline"]) == 2
    assert "--update-baseline: b.json is left as it was: gone.jsonl" in capsys.readouterr().err
    assert (project / "b.json").read_text() == "the old one"
    assert run(["check", "calm", "--update-baseline"]) == 2
    assert "which file? give --baseline FILE" in capsys.readouterr().err
    assert run(["check", "calm", "--baseline", "nowhere/b.json", "--update-baseline"]) == 2
    assert sorted(path.name for path in project.iterdir()) == ["b.json", "calm"]


def test_a_baseline_of_the_policy_stands_beside_it(project: Path, monkeypatch):
    policy(project, '[check]\nbaseline = "b.json"\n' + GATES.replace("max = 1000", "max_ratio = 1"))
    (project / "below").mkdir()
    monkeypatch.chdir(project / "below")
    make("calm", project / "below")
    assert run(["check", "calm", "--update-baseline"]) == 0
    assert (project / "b.json").exists()
    assert run(["check", "calm"]) == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not a JSON report"),
        ('{"command": "gain", "format_version": 9, "results": []}', "format version 9; expected format version 1"),
        (None, "No such file or directory; expected a baseline"),
    ],
)
def test_a_baseline_that_is_none_is_exit_2(project: Path, text: str | None, message: str, capsys):
    make("calm", project)
    if text is not None:
        (project / "b.json").write_text(text)
    assert run(["check", "calm", "--baseline", "b.json"]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_a_baseline_of_another_model_is_exit_2(project: Path, capsys):
    for name in ("calm", "exploded"):
        make(name, project)
    assert run(["check", "calm", "--baseline", "b.json", "--update-baseline"]) == 0
    assert run(["check", "exploded", "--baseline", "b.json"]) == 2
    assert "a baseline of another model: layout deepseek-v4, here captured" in capsys.readouterr().err


# Reports


@pytest.mark.parametrize("form", ["text", *FORMATS_HERE])
def test_the_same_input_gives_the_same_bytes(project: Path, form: str, monkeypatch, capsys):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000003")
    names = [make(name, project) for name in ("calm", "exploded", "nan.jsonl", "short.jsonl")]
    texts = []
    for _ in range(2):
        assert run(["check", *names, "gone.jsonl", "--format", form]) == 1
        texts.append(capsys.readouterr().out)
    assert texts[0] == texts[1]
    assert form != "json" or json.loads(texts[0])["created"] == "2023-11-14T22:13:23Z"


def test_a_file_holds_what_would_be_printed(project: Path, monkeypatch, capsys):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1")
    make("exploded", project)
    suffixes = {suffix: form for suffix, form in SUFFIXES.items() if form in FORMATS_HERE}
    assert run(["check", "exploded", "-q", *(word for one in suffixes for word in ("-o", f"r{one}"))]) == 1
    for suffix, form in suffixes.items():
        capsys.readouterr()
        assert run(["check", "exploded", "--format", form]) == 1
        assert (project / f"r{suffix}").read_bytes().decode() == capsys.readouterr().out


@pytest.mark.parametrize("epoch", ["yesterday", "1.5", "9" * 40])
def test_a_date_that_is_none_is_exit_2(project: Path, epoch: str, monkeypatch, capsys):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", epoch)
    assert run(["check", make("good.jsonl", project)]) == 2
    assert "expected seconds since 1970" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-o", "r.json", "-o", "json:./r.json"], "-o r.json: two reports would be written to this file"),
        (["-o", "r.md", "-o", "csv:below/../r.md"], "two reports would be written to this file"),
        (["-o", "nowhere/r.json"], "-o nowhere/r.json: cannot be written"),
        (["-o", "json:below"], "-o below: cannot be written"),
        (["-o", "json:/dev/null"], "-o /dev/null: cannot be written"),
        (["-o", "r.txt"], "-o r.txt: expected a name that ends in .json, "),
        (["-o", "xyz:r.json.gz"], "or FORMAT:FILE with one of json, "),
        (["-o", "csv:good.jsonl"], "-o good.jsonl: cannot be written; the check reads this file"),
        (["-o", "json:mhcdiag.toml"], "-o mhcdiag.toml: cannot be written; the check reads this file"),
        (["--baseline", "b.json", "-o", "b.json", "--update-baseline"], "the check reads this file"),
        (["--format", "yaml"], "--format yaml: there is no such format; there are text, json"),
        (["--jobs", "0"], "--jobs"),
        (["--nonsense"], "No such option: --nonsense"),
    ],
)
def test_bad_usage_is_one_line_and_exit_2_before_any_work(project: Path, arguments: list[str], message: str, capsys):
    policy(project)
    (project / "below").mkdir()
    before = (project / make("good.jsonl", project)).read_bytes()
    assert run(["check", "good.jsonl", *arguments]) == 2
    out = capsys.readouterr()
    assert message in out.err
    assert out.err.count("\n") == 1
    assert out.out == ""
    assert sorted(path.name for path in project.iterdir()) == ["below", "good.jsonl", "mhcdiag.toml"]
    assert (project / "good.jsonl").read_bytes() == before


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_an_interrupted_write_leaves_the_old_file(project: Path, error, monkeypatch, capsys):
    make("good.jsonl", project)
    (project / "r.json").write_text("the old one")
    real = Path.write_text

    def torn(path: Path, text: str, **keywords: object) -> None:
        real(path, text[:7])
        raise error

    monkeypatch.setattr(Path, "write_text", torn)
    assert run(["check", "good.jsonl", "-o", "r.json"]) == (130 if error is KeyboardInterrupt else 2)
    assert (project / "r.json").read_text() == "the old one"
    assert sorted(path.name for path in project.iterdir()) == ["good.jsonl", "r.json"]


def test_github_gets_its_summary_and_outputs_appended(project: Path, monkeypatch, capsys):
    make("nan.jsonl", project)
    for name in ("GITHUB_STEP_SUMMARY", "GITHUB_OUTPUT"):
        (project / name).write_text("before\n")
        monkeypatch.setenv(name, str(project / name))
    assert run(["check", "nan.jsonl"]) == 1
    assert (project / "GITHUB_OUTPUT").read_text() == "before\n"
    capsys.readouterr()
    assert run(["check", "nan.jsonl", "--format", "github"]) == 1
    assert "::error file=nan.jsonl,line=504,title=" in capsys.readouterr().out
    outputs = (project / "GITHUB_OUTPUT").read_text()
    assert outputs.startswith("before\nverdict=fail\nexit-code=1\n")
    assert "decided-by=no NaN\n" in outputs
    summary = (project / "GITHUB_STEP_SUMMARY").read_text()
    assert summary.startswith("before\n")
    assert "no NaN" in summary
    monkeypatch.setenv("GITHUB_OUTPUT", str(project / "nowhere" / "out"))
    assert run(["check", "nan.jsonl", "--format", "github"]) == 2
    assert "GITHUB_OUTPUT=" in capsys.readouterr().err


# The starter, and other processes


def test_init_writes_a_policy_once(project: Path, capsys):
    assert run(["check", "--init"]) == 0
    assert (project / "mhcdiag.toml").read_text() == STARTER
    (project / "mhcdiag.toml").write_text("# mine\n")
    assert run(["check", "--init"]) == 2
    assert (project / "mhcdiag.toml").read_text() == "# mine\n"
    assert "exists already; nothing was written" in capsys.readouterr().err


def test_the_starter_passes_on_healthy_inputs(project: Path, capsys):
    for folder, name in (("checkpoints", "calm"), ("logs", "good.jsonl")):
        (project / folder).mkdir()
        make(name, project / folder)
    assert run(["check", "--init"]) == 0
    assert run(["check"]) == 0
    make("nan.jsonl", project / "logs")
    assert run(["check"]) == 1
    assert last_lines(capsys)[0].startswith("decided by no NaN: ")


def started(arguments: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mhcdiag", "check", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        check=False,
    )


@pytest.mark.parametrize(("name", "code"), [("good.jsonl", 0), ("nan.jsonl", 1), ("short.jsonl", 2)])
def test_exit_codes_of_the_process(project: Path, name: str, code: int):
    done = started([make(name, project)])
    assert done.returncode == code
    assert done.stdout.rstrip().endswith(f"exit code {code}")
    assert done.stderr == ""


def test_logs_are_checked_where_torch_cannot_be_imported(project: Path):
    (project / "blocked").mkdir()
    blocking = (
        "import sys\n"
        "for name in ('torch', 'matplotlib', 'pandas', 'jaxtyping', 'safetensors'):\n"
        "    sys.modules[name] = None\n"
    )
    (project / "blocked" / "sitecustomize.py").write_text(blocking)
    path = os.pathsep.join([str(project / "blocked"), os.environ.get("PYTHONPATH", "")])
    policy(project)
    done = started([make("nan.jsonl", project), "-o", "r.json", "-o", "r.xml", "-o", "r.sarif"], PYTHONPATH=path)
    assert (done.returncode, done.stderr) == (1, "")
    assert "decided by finite loss: spikes.count.nan of loss 1 > 0" in done.stdout
    make("calm", project)
    done = started(["good.jsonl", "calm"], PYTHONPATH=path)
    assert done.returncode == 2
    assert done.stderr.startswith("mhcdiag: this needs the package '")

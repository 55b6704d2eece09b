"""`mhcdiag explain`: rules, metrics and the gates of the policy in words."""

from pathlib import Path

import pytest

from mhcdiag.cli.main import run
from mhcdiag.metrics import METRICS
from mhcdiag.policies.policy import BUILT_IN
from mhcdiag.runlogs import FORMATS

HEADINGS = ("Measures", "Source", "False alarms", "What to do")


def explained(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert run(["explain", *arguments]) == 0
    return capsys.readouterr().out


def test_the_list_names_rules_gates_and_every_metric(project: Path, capsys):
    text = explained(capsys)
    assert "olmo-core" in text
    for gate in BUILT_IN.gates:
        assert f"  {gate.name}" in text
    words = {word for line in text.splitlines() for word in line.replace("{", ".").replace("}", ".").replace(
        ",", ".").split(".")}  # fmt: skip
    for name in METRICS:
        assert set(name.split(".")) - {"gain", "spikes"} <= {word.strip() for word in words}


@pytest.mark.parametrize("gate", BUILT_IN.gates, ids=lambda gate: gate.name)
def test_every_gate_has_a_documented_meaning(project: Path, gate, capsys):
    text = explained(capsys, gate.name)
    assert text.startswith(f"Gate '{gate.name}' (error): {gate.metric}")
    assert f"<= {gate.max:g}" in text.splitlines()[0]
    assert all(f"\n{heading}\n" in text for heading in HEADINGS)


def test_every_metric_has_a_documented_meaning(project: Path, capsys):
    for name, metric in METRICS.items():
        text = explained(capsys, name)
        assert text.startswith(f"{name}: {metric.unit}, of {metric.family}s")
        assert all(f"\n{heading}\n" in text for heading in HEADINGS)
        assert max(map(len, text.splitlines())) <= 100


def test_how_logs_are_read(project: Path, capsys):
    text = explained(capsys, "formats")
    assert "  formats " in explained(capsys)
    titles = ("When", "Format", "Step", "Loss", "Gradient norm", "Records of one step", "NaN", "Nothing vanishes")
    assert all(f"\n{title}\n" in text for title in titles)
    assert "first 2,000 lines" in text
    assert max(map(len, text.splitlines())) <= 100
    for one in FORMATS:
        assert f"{one.name}: " in " ".join(text.split())


def test_gates_are_the_policys(project: Path, capsys):
    (project / "mhcdiag.toml").write_text(
        '[[gates]]\nname = "mine"\nmetric = "spikes.count.nan"\nmax_ratio = 1.5\nseries = "*"\npaths = "a*"\n'
        'severity = "warning"\nreason = "because"\n'
    )
    head = explained(capsys, "mine").split("\n\n")[0].splitlines()
    assert head == [
        "Gate 'mine' (warning): spikes.count.nan of every series <= 1.5 times the baseline",
        "Reason: because",
        "Applies to a*",
    ]
    assert run(["explain", "no NaN"]) == 2
    assert run(["explain", "no NaN", "--isolated"]) == 0


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("no nan", "did you mean no NaN"),
        ("gain.worst.backwards.norm", "did you mean gain.worst.backward.norm"),
        ("olmo-cor", "did you mean olmo-core"),
        ("xyzzy", "`mhcdiag explain` lists what there is"),
    ],
)
def test_a_wrong_name_gets_the_nearest(project: Path, name: str, hint: str, capsys):
    assert run(["explain", name]) == 2
    error = capsys.readouterr().err
    assert f"there is no rule, metric or gate '{name}'; {hint}" in error
    assert error.count("\n") == 1

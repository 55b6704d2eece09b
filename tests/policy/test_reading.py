"""A policy is read whole, or refused with one line that says what to mend."""

import re
from pathlib import Path

import pytest

from mhcdiag.errors import InputError
from mhcdiag.policy.reading import gate_series, read_policy
from mhcdiag.policy.record import BUILT_IN, Allow, Gate, Inputs, Policy
from mhcdiag.policy.starter import STARTER
from mhcdiag.results.check import Relation, Severity

GATE = '[[gates]]\nmetric = "gain.worst.backward.norm"\n'
SPIKES = '[[gates]]\nmetric = "spikes.count.spike"\n'
ALLOW = "[[allow]]\nsteps = [12000, 12050]\nreason = 'corrupt shard 17'\n"


def read(folder: Path, text: str, *, name: str = "mhcdiag.toml") -> Policy:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return read_policy(path)


def test_everything_a_policy_can_say(tmp_path: Path):
    text = (
        "[inputs]\ncheckpoints = ['step_*/']\nlogs = ['*.jsonl', '*.log']\n"
        f"{GATE}max = 30\nname = 'rising'\nseverity = 'warning'\nreason = 'why'\npaths = 'step_9*'\n"
        f"{SPIKES}max_ratio = 1.5\nseries = 'eval_loss'\n"
        f"{ALLOW}kind = 'spike'\nseries = 'loss'\npaths = 'a*.jsonl'\n"
        "[gain]\ntokens = 7\n[spikes]\nlog_format = 'jsonl'\n[check]\nstrict = true\n"
    )
    allowed = Allow(steps=(12000, 12050), reason="corrupt shard 17", kind="spike", series="loss", paths="a*.jsonl")
    expected = Policy(
        inputs=Inputs(checkpoints=("step_*/",), logs=("*.jsonl", "*.log")),
        gates=(
            Gate(
                metric="gain.worst.backward.norm",
                name="rising",
                max=30.0,
                severity=Severity.WARNING,
                reason="why",
                paths="step_9*",
            ),
            Gate(metric="spikes.count.spike", name="spikes.count.spike", max_ratio=1.5, series="eval_loss"),
        ),
        allow=(allowed,),
        gain={"tokens": 7},
        spikes={"log_format": "jsonl"},
        check={"strict": True},
    )
    assert read(tmp_path, text) == expected
    table = text.replace("[[", "[[tool.mhcdiag.").replace("\n[", "\n[tool.mhcdiag.").replace("[tool.mhcdiag.[", "[[")
    assert read(tmp_path, f"[project]\nname = 'x'\n[tool.mhcdiag.{table[1:]}", name="pyproject.toml") == expected
    assert read(tmp_path, "\ufeff" + text) == expected


def test_an_empty_policy_is_one(tmp_path: Path):
    assert read(tmp_path, "") == Policy()


def test_a_gate_without_a_name_is_called_after_its_metric(tmp_path: Path):
    (gate,) = read(tmp_path, f"{GATE}min = 1\n").gates
    assert (gate.name, gate.relation) == ("gain.worst.backward.norm", Relation.AT_LEAST)


def test_the_starter_and_the_built_in_policy_are_policies(tmp_path: Path):
    starter = read(tmp_path, STARTER)
    assert {gate.name for gate in BUILT_IN.gates} <= {gate.name for gate in starter.gates}
    errors = {(gate.metric, gate.max, gate.series) for gate in starter.gates if gate.severity is Severity.ERROR}
    assert errors == {(gate.metric, gate.max, gate.series) for gate in BUILT_IN.gates}
    assert starter.allow == ()


def test_the_commented_lines_of_the_starter_are_right_too(tmp_path: Path):
    lines = [re.sub(r"^# (?=\S+( =|\]\]))", "", line) for line in STARTER.splitlines()]
    policy = read(tmp_path, "\n".join(lines))
    assert policy.allow == (
        Allow(kind="spike", steps=(12000, 12050), paths="logs/base*.jsonl", reason="corrupt shard 17, skipped since"),
    )
    assert policy.spikes == {"log_format": "megatron"}
    assert policy.check == {"baseline": "mhcdiag-baseline.json", "strict": True}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gate = 1\n", r"unknown key 'gate'; expected inputs, gates, .*; did you mean 'gates'\?"),
        ("xyzzy = 1\n", r"unknown key 'xyzzy'; expected inputs, gates, allow, gain, spikes, check$"),
        ("[input]\nlogs = []\n", r"unknown key 'input'; .*did you mean 'inputs'\?"),
        ("[inputs]\nlog = []\n", r"unknown key 'log' in \[inputs\]; expected checkpoints, logs; did you mean 'logs'\?"),
        (f"{GATE}maximum = 3\n", r"unknown key 'maximum' in \[\[gates\]\] number 1; .*did you mean 'max"),
        (f"{GATE}max = 1\nname='a'\n{GATE}maxratio = 3\n", r"\[\[gates\]\] number 2; .*did you mean 'max_ratio'\?"),
        (f"{ALLOW}step = 1\n", r"unknown key 'step' in \[\[allow\]\] number 1; .*did you mean 'steps'\?"),
        ("[inputs]\nlogs = 'a.jsonl'\n", r"inputs.logs: 'a.jsonl'; expected a valid tuple"),
        ("inputs = ['a']\n", r"inputs: \['a'\]; expected a"),
        ("gates = 3\n", r"gates: 3; expected a valid tuple"),
        ("gates = [3]\n", r"gates number 1: 3; expected a"),
        ("gain = 3\n", r"gain: 3; expected a valid dictionary"),
        (f"{GATE}max = 'low'\n", r"gates number 1.max: 'low'; expected a valid number"),
        (f"{GATE}max = [1]\n", r"gates number 1.max: \[1\]; expected a valid number"),
        (f"{GATE}max = 1\nseverity = 'warn'\n", r"gates number 1.severity: 'warn'; expected 'error' or 'warning'"),
        (f"{GATE}max = 1\nreason = 3\n", r"gates number 1.reason: 3; expected a valid string"),
        ("[[gates]]\nmax = 1\n", r"gates number 1.metric: .*; expected Field required"),
        (
            "[[gates]]\nmetric = 'gain.worst.backwards.norm'\nmax = 1\n",
            r"gate number 1: there is no metric 'gain.worst.backwards.norm'; did you mean gain.worst.backward.norm",
        ),
        ("[[gates]]\nmetric = 'xyzzy'\nmax = 1\n", r"there is no metric 'xyzzy'; names begin with gain.assumed"),
        ("[[gates]]\nmetric = ''\nmax = 1\n", r"there is no metric ''"),
        (GATE, "gate number 1: no limit: expected exactly one of max, min, max_ratio"),
        (f"{GATE}max = 3\nmin = 1\n", r"gate number 1: max and min: expected exactly one .*two limits are two gates"),
        (f"{GATE}max = nan\n", "max = nan: expected a finite number that is not negative"),
        (f"{GATE}max = inf\n", "max = inf: expected a finite number that is not negative"),
        (f"{GATE}max = -1\n", "max = -1.0: expected a finite number that is not negative"),
        (f"{GATE}min = -0.5\n", "min = -0.5: expected a finite number that is not negative"),
        (f"{GATE}max_ratio = 0\n", "max_ratio = 0.0: expected a finite number"),
        (
            "[[gates]]\nmetric = 'spikes.spike_score.olmo_core'\nmax = 5\n",
            "max = 5.0: spikes.spike_score.olmo_core is a fraction between 0 and 1",
        ),
        (
            "[[gates]]\nmetric = 'spikes.new'\nmax_ratio = 2\n",
            "spikes.new compares with the baseline already: use max",
        ),
        (f"{GATE}max = 1\nseries = 'loss'\n", "series = 'loss': gain.worst.backward.norm belongs to checkpoints"),
        (f"{GATE}max = 1\n{GATE}max = 3\n", "2 gates are called 'gain.worst.backward.norm'; give each its own name"),
        (f"{GATE}max = 1\nname = 'a'\n{SPIKES}max = 3\nname = 'a'\n", "2 gates are called 'a'"),
        (f"{GATE}name = 'mine'\nmax = -1\n", "gate number 1 'mine': max = -1.0"),
        ("[[allow]]\nsteps = [1, 2]\n", r"allow number 1.reason: .*; expected Field required"),
        ("[[allow]]\nsteps = [1, 2]\nreason = ' '\n", "allow number 1: expected a reason, which every report shows"),
        ("[[allow]]\nreason = 'a'\n", r"allow number 1.steps: .*; expected Field required"),
        ("[[allow]]\nsteps = [1]\nreason = 'a'\n", r"allow number 1.steps number 2: .*Field required"),
        ("[[allow]]\nsteps = [1, 2, 3]\nreason = 'a'\n", r"allow number 1.steps: \[1, 2, 3\]"),
        ("[[allow]]\nsteps = [5, 3]\nreason = 'a'\n", r"steps = \[5.0, 3.0\]: the first lies behind the last"),
        ("[[allow]]\nsteps = [nan, 3]\nreason = 'a'\n", r"the first lies behind the last"),
        (f"{ALLOW}kind = 'spikes'\n", "allow number 1: kind 'spikes' is none of blip, spike, .*"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line_that_names_the_key(tmp_path: Path, text: str, message: str):
    with pytest.raises(InputError, match=message) as raised:
        read(tmp_path, text)
    assert "\n" not in str(raised.value)
    assert str(raised.value).startswith(str(tmp_path / "mhcdiag.toml"))


def test_a_long_value_is_shortened(tmp_path: Path):
    with pytest.raises(InputError) as raised:
        read(tmp_path, f"{GATE}max = '{'x' * 5003}'\n")
    assert len(str(raised.value)) < 300 + len(str(tmp_path))


def test_limits_that_are_possible(tmp_path: Path):
    for limit in ("max = 0", "min = 0", "max = 1e300", "max_ratio = 0.5"):
        assert len(read(tmp_path, f"{GATE}{limit}\n").gates) == 1
    for limit in ("max = 1", "min = 0.001", "max_ratio = 5"):
        assert len(read(tmp_path, f"[[gates]]\nmetric = 'spikes.spike_score.olmo2'\n{limit}\n").gates) == 1


def test_series_that_a_log_must_be_asked_for():
    names = (None, "*", "loss", "grad_norm", "eval_loss", "lm_loss", "eval_loss")
    gates = [Gate(metric="spikes.count.nan", series=name, max=0.0) for name in names]
    assert gate_series(gates) == ("eval_loss", "lm_loss")

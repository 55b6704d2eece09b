"""A policy file that is wrong is told so in one line: key, what was found, what was expected."""

from pathlib import Path, PurePosixPath

import pytest

from mhcdiag.errors import InputError
from mhcdiag.policies.policy import BUILT_IN, Policy, PolicyGate
from mhcdiag.policies.policy_files import (
    STARTER,
    find_policy,
    gate_series,
    policy_tables,
    read_policy,
    setting_lines,
    toml_value,
)
from mhcdiag.results.check import GateSeverity
from mhcdiag.results.verdict import Relation

GATE = '[[gates]]\nmetric = "gain.worst.forward.norm"\nmax = 30\n'
ALLOW = '[[allow]]\nsteps = [1, 2]\nreason = "known"\n'


def read(tmp_path: Path, text: str) -> Policy:
    path = tmp_path / "mhcdiag.toml"
    path.write_text(text, encoding="utf-8")
    return read_policy(path)


def test_a_policy_is_read_with_its_defaults(tmp_path):
    policy = read(tmp_path, GATE + ALLOW + "[gain]\ntokens = 16\n")
    (gate,) = policy.gates
    assert (gate.name, gate.max, gate.severity, gate.paths) == (gate.metric, 30.0, GateSeverity.ERROR, "*")
    assert policy.allow[0].steps == (1.0, 2.0)
    assert policy.gain == {"tokens": 16}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[inputs\n", r"not TOML: .*line 1, column 8.*--init"),
        ("[gian]\n", r"unknown key 'gian'; expected inputs.*did you mean 'gain'\?"),
        (GATE + "mx = 3\n", r"unknown key 'mx' in \[\[gates\]\] number 1.*did you mean 'max'\?"),
        ("[inputs]\ncheckpoint = []\n", r"unknown key 'checkpoint' in \[inputs\].*did you mean 'checkpoints'\?"),
        (GATE.replace("30", '"x"'), r"gates number 1.max: 'x'; expected a valid number"),
        (GATE.replace("worst", "wurst"), r"no metric 'gain.wurst.forward.norm'; did you mean gain.worst.forward.norm"),
        (GATE.replace("max = 30", ""), r"gate number 1: no limit: expected exactly one of max, min, max_ratio"),
        (GATE + "min = 1\n", r"max and min: expected exactly one"),
        (GATE.replace("30", "nan"), r"max = nan: expected a finite number"),
        (GATE.replace("30", "inf"), r"max = inf: expected a finite number"),
        (GATE.replace("30", "-1"), r"max = -1.0: expected a finite number that is not negative"),
        (GATE.replace("max = 30", "max_ratio = 0"), r"max_ratio = 0.0: expected"),
        (GATE + GATE, r"2 gates are called 'gain.worst.forward.norm'"),
        (GATE + 'severity = "fatal"\n', r"gates number 1.severity: 'fatal'; expected 'error' or 'warning'"),
        (GATE + 'series = "loss"\n', r"belongs to checkpoints, which have no series"),
        ('[[gates]]\nmetric = "spikes.spike_score.olmo_core"\nmax = 5\n', r"is a fraction between 0 and 1"),
        ('[[gates]]\nmetric = "spikes.new"\nmax_ratio = 2\n', r"compares with the baseline already: use max"),
        (ALLOW.replace('"known"', '" "'), r"allow number 1: expected a reason"),
        (ALLOW.replace("[1, 2]", "[2, 1]"), r"the first lies behind the last"),
        (ALLOW + 'kind = "hump"\n', r"kind 'hump' is none of blip, spike"),
        (ALLOW.replace("[1, 2]", "[1]"), r"allow number 1.steps"),
        ('[inputs]\nlogs = "a"\n', r"inputs.logs: 'a'; expected a valid tuple"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, text, message):
    with pytest.raises(InputError, match=rf"mhcdiag.toml: .*{message}") as raised:
        read(tmp_path, text)
    assert "\n" not in str(raised.value)


FRACTION, FACTOR = "spikes.spike_score.olmo_core", "gain.worst.forward.norm"


@pytest.mark.parametrize(
    ("metric", "limit", "value"),
    [
        (FRACTION, "max", "1"),
        (FRACTION, "max", "1.0"),
        (FRACTION, "min", "1"),
        (FRACTION, "max", "0"),
        (FRACTION, "max_ratio", "1.5"),
        (FACTOR, "max", "0"),
        (FACTOR, "min", "0"),
        (FACTOR, "max", "1.5"),
        (FACTOR, "max", "1.7976931348623157e308"),
        (FACTOR, "max_ratio", "5e-324"),
        ("spikes.new", "max", "0"),
        ("spikes.new", "min", "3"),
    ],
)
def test_a_limit_at_the_end_of_what_is_allowed_is_read(tmp_path, metric: str, limit: str, value: str):
    (gate,) = read(tmp_path, f'[[gates]]\nmetric = "{metric}"\n{limit} = {value}\n').gates
    found = {name: getattr(gate, name) for name in ("max", "min", "max_ratio")}
    assert found == {"max": None, "min": None, "max_ratio": None, limit: float(value)}


@pytest.mark.parametrize(
    ("metric", "limit", "value", "message"),
    [
        (FRACTION, "max", "1.0000000000000002", ".* is a fraction between 0 and 1"),
        (FRACTION, "min", "1.0000000000000002", ".* is a fraction between 0 and 1"),
        (FRACTION, "max", "-5e-324", "max = -5e-324: expected a finite number that is not negative"),
        (FACTOR, "max", "-5e-324", "max = -5e-324: expected a finite number that is not negative"),
        (FACTOR, "min", "-1", "min = -1.0: expected a finite number that is not negative"),
        (FACTOR, "min", "nan", "min = nan: expected a finite number"),
        (FACTOR, "min", "inf", "min = inf: expected a finite number"),
        (FACTOR, "max", "-inf", "max = -inf: expected a finite number"),
        (FACTOR, "max_ratio", "nan", "max_ratio = nan: expected a finite number"),
        (FACTOR, "max_ratio", "inf", "max_ratio = inf: expected a finite number"),
        (FACTOR, "max_ratio", "-1", "max_ratio = -1.0: expected a finite number"),
        (FACTOR, "max_ratio", "0", "max_ratio = 0.0: expected a finite number"),
    ],
)
def test_a_limit_just_beyond_what_is_allowed_is_refused(tmp_path, metric: str, limit: str, value: str, message: str):
    with pytest.raises(InputError, match=f"gate number 1: {message}"):
        read(tmp_path, f'[[gates]]\nmetric = "{metric}"\n{limit} = {value}\n')


@pytest.mark.parametrize(
    ("limits", "found"),
    [
        ({"max": 1, "min": 0}, "max and min"),
        ({"min": 1, "max_ratio": 2}, "min and max_ratio"),
        ({"max_ratio": 2, "max": 1, "min": 0}, "max and min and max_ratio"),
        ({"max": 0, "min": 0}, "max and min"),
    ],
)
def test_two_limits_are_refused_though_they_be_zero(tmp_path, limits: dict[str, int], found: str):
    text = "".join(f"{name} = {value}\n" for name, value in limits.items())
    with pytest.raises(InputError, match=f"gate number 1: {found}: expected exactly one of max, min, max_ratio"):
        read(tmp_path, f'[[gates]]\nmetric = "{FACTOR}"\n{text}')


@pytest.mark.parametrize("steps", ["[2, 2]", "[0, inf]", "[-inf, inf]", "[1.5, 1.5000000000000002]"])
def test_steps_may_be_one_or_without_end(tmp_path, steps: str):
    (allowed,) = read(tmp_path, ALLOW.replace("[1, 2]", steps)).allow
    assert list(allowed.steps) == [float(step) for step in steps.strip("[]").split(",")]


@pytest.mark.parametrize("steps", ["[2.0000000000000004, 2]", "[nan, 2]", "[2, nan]", "[nan, nan]"])
def test_steps_in_no_order_are_refused(tmp_path, steps: str):
    with pytest.raises(InputError, match=r"allow number 1: steps = .*: the first lies behind the last"):
        read(tmp_path, ALLOW.replace("[1, 2]", steps))


def test_the_gate_and_the_entry_that_are_wrong_are_numbered_and_named(tmp_path):
    named = GATE + 'name = "mine"\n'
    with pytest.raises(InputError, match=r"gate number 2 'mine': max = -1\.0"):
        read(tmp_path, GATE + named.replace("30", "-1"))
    with pytest.raises(InputError, match=r"allow number 2: expected a reason, which every report shows"):
        read(tmp_path, ALLOW + ALLOW.replace('"known"', '""'))
    with pytest.raises(InputError, match=r"3 gates are called 'mine'; give each its own name"):
        read(tmp_path, named * 3)
    assert [gate.name for gate in read(tmp_path, GATE + named).gates] == ["gain.worst.forward.norm", "mine"]


@pytest.mark.parametrize("kind", ["*", "blip", "spike", "shift", "divergence", "nan", "gradspike", "loss_scale"])
def test_every_kind_of_event_can_be_allowed(tmp_path, kind: str):
    assert read(tmp_path, ALLOW + f'kind = "{kind}"\n').allow[0].kind == kind


@pytest.mark.parametrize(("letters", "shown"), [(57, "'{}'"), (58, "'{:.56}..."), (200, "'{:.56}...")])
def test_a_long_value_is_cut_in_the_message(tmp_path, letters: int, shown: str):
    text = "abcdefghij" * 20
    with pytest.raises(InputError) as raised:
        read(tmp_path, GATE.replace("30", f'"{text[:letters]}"'))
    assert f"gates number 1.max: {shown.format(text[:letters])}; expected a valid number" in str(raised.value)


def test_a_file_that_is_not_utf8_is_told_where(tmp_path):
    (tmp_path / "mhcdiag.toml").write_bytes(b"a = '\xff'")
    with pytest.raises(InputError, match="not UTF-8 at byte 5"):
        read_policy(tmp_path / "mhcdiag.toml")


def test_a_byte_order_mark_is_no_error(tmp_path):
    (tmp_path / "mhcdiag.toml").write_bytes(b"\xef\xbb\xbf" + GATE.encode())
    assert len(read_policy(tmp_path / "mhcdiag.toml").gates) == 1


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(InputError, match="No such file or directory; expected a policy"):
        read_policy(tmp_path / "none.toml")


def test_a_project_file_counts_only_with_our_table(tmp_path):
    project = tmp_path / "pyproject.toml"
    project.write_text("[project]\nname = 'x'\n", encoding="utf-8")
    assert find_policy(tmp_path) is None
    with pytest.raises(InputError, match=r"no table \[tool.mhcdiag\]"):
        read_policy(project)
    project.write_text("[tool.mhcdiag.gain]\ntokens = 3\n", encoding="utf-8")
    assert find_policy(tmp_path) == project
    assert read_policy(project).gain == {"tokens": 3}


def test_the_nearest_file_above_wins_and_our_own_beats_the_project(tmp_path):
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    (tmp_path / "mhcdiag.toml").write_text("", encoding="utf-8")
    assert find_policy(deep) == tmp_path / "mhcdiag.toml"
    (tmp_path / "a" / "pyproject.toml").write_text("[tool.mhcdiag]\n", encoding="utf-8")
    assert find_policy(deep) == tmp_path / "a" / "pyproject.toml"
    (tmp_path / "a" / "mhcdiag.toml").write_text("", encoding="utf-8")
    assert find_policy(deep) == tmp_path / "a" / "mhcdiag.toml"


def test_a_broken_project_file_of_somebody_else_is_left_alone(tmp_path):
    (tmp_path / "pyproject.toml").write_text("tool.mhcdiag = [", encoding="utf-8")
    assert find_policy(tmp_path) is None


def test_the_starter_is_a_policy_with_the_built_in_gates(tmp_path):
    gates = {gate.name: gate for gate in read(tmp_path, STARTER).gates}
    for built_in in BUILT_IN.gates:
        assert (gates[built_in.name].metric, gates[built_in.name].max) == (built_in.metric, built_in.max)


@pytest.mark.parametrize("text", [STARTER, GATE + ALLOW, 'inputs.logs = ["a b", "c\\"d"]\n' + GATE])
def test_what_config_prints_is_the_policy_again(tmp_path, text):
    policy = read(tmp_path, text)
    again = read(tmp_path, policy_tables(policy, gates=policy.gates))
    assert (again.inputs, again.gates, again.allow) == (policy.inputs, policy.gates, policy.allow)


def test_settings_that_nobody_made_are_comments():
    lines = list(setting_lines([("tokens", 16, "a.toml"), ("seed", 0, "default"), ("key", None, "default")]))
    assert lines == ["tokens = 16  # a.toml", "# seed = 0  # default", "# key is not set"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "true"),
        (False, "false"),
        (1.0, "1"),
        (-3.0, "-3"),
        (0.5, "0.5"),
        (999999999999999.0, "999999999999999"),
        (-999999999999999.0, "-999999999999999"),
        (1e15, "1000000000000000.0"),
        (1e16, "1e+16"),
        (float("inf"), "inf"),
        (float("nan"), "nan"),
        (10**15, "1000000000000000"),
        (PurePosixPath("a/b"), '"a/b"'),
        ((1.0, "é\x7f"), '[1, "é\\u007f"]'),
        ('a"b\n', '"a\\"b\\n"'),
        (["a", 1], '["a", 1]'),
        (GateSeverity.ERROR, '"error"'),
    ],
)
def test_values_are_written_as_toml(value, text):
    assert toml_value(value) == text


def test_series_that_gates_name_are_asked_for(tmp_path):
    text = '[[gates]]\nmetric = "spikes.count.nan"\nmax = 0\nseries = "G_raw"\n'
    assert gate_series(read(tmp_path, text).gates) == ("G_raw",)
    assert gate_series(BUILT_IN.gates) == ()


def test_series_are_asked_for_once_in_alphabetical_order_and_not_those_that_are_read_anyway():
    named = ["z", "a", "*", None, "z", "loss", "grad_norm", "loss_scale"]
    gates = [PolicyGate(metric="spikes.count.nan", max=0, series=series) for series in named]
    assert gate_series(gates) == ("a", "z")


def test_what_is_judged_without_a_policy():
    assert [(gate.name, gate.metric, gate.max, gate.series, gate.severity) for gate in BUILT_IN.gates] == [
        ("finite mappings", "gain.nonfinite", 0, None, GateSeverity.ERROR),
        ("forward gain", "gain.worst.forward.norm", 1000, None, GateSeverity.ERROR),
        ("backward gain", "gain.worst.backward.norm", 1000, None, GateSeverity.ERROR),
        ("no NaN", "spikes.count.nan", 0, "*", GateSeverity.ERROR),
        ("no divergence", "spikes.count.divergence", 0, "*", GateSeverity.ERROR),
        ("loss scale", "spikes.count.loss_scale", 0, None, GateSeverity.ERROR),
    ]


@pytest.mark.parametrize(
    ("limits", "relation"),
    [
        ({"max": 0.0}, Relation.AT_MOST),
        ({"min": 0.0}, Relation.AT_LEAST),
        ({"min": 1.0}, Relation.AT_LEAST),
        ({"max_ratio": 1.0}, Relation.AT_MOST),
    ],
)
def test_a_lower_limit_passes_above_it_also_at_zero(limits: dict[str, float], relation: Relation):
    assert PolicyGate(metric=FACTOR, **limits).relation is relation

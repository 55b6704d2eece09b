"""A policy file that is wrong is told so in one line: key, what was found, what was expected."""

from pathlib import Path

import pytest

from mhcdiag.errors import InputError
from mhcdiag.policy.finding import find_policy
from mhcdiag.policy.reading import gate_series, read_policy
from mhcdiag.policy.record import BUILT_IN, Policy
from mhcdiag.policy.starter import STARTER
from mhcdiag.policy.writing import policy_tables, setting_lines, toml_value
from mhcdiag.results.check import Severity

GATE = '[[gates]]\nmetric = "gain.worst.forward.norm"\nmax = 30\n'
ALLOW = '[[allow]]\nsteps = [1, 2]\nreason = "known"\n'


def read(tmp_path: Path, text: str) -> Policy:
    path = tmp_path / "mhcdiag.toml"
    path.write_text(text, encoding="utf-8")
    return read_policy(path)


def test_a_policy_is_read_with_its_defaults(tmp_path):
    policy = read(tmp_path, GATE + ALLOW + "[gain]\ntokens = 16\n")
    (gate,) = policy.gates
    assert (gate.name, gate.max, gate.severity, gate.paths) == (gate.metric, 30.0, Severity.ERROR, "*")
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
        (1.0, "1"),
        (0.5, "0.5"),
        ('a"b\n', '"a\\"b\\n"'),
        (["a", 1], '["a", 1]'),
        (Severity.ERROR, '"error"'),
    ],
)
def test_values_are_written_as_toml(value, text):
    assert toml_value(value) == text


def test_series_that_gates_name_are_asked_for(tmp_path):
    text = '[[gates]]\nmetric = "spikes.count.nan"\nmax = 0\nseries = "G_raw"\n'
    assert gate_series(read(tmp_path, text).gates) == ("G_raw",)
    assert gate_series(BUILT_IN.gates) == ()

"""What is written as TOML reads back as what it was."""

import tomllib
from dataclasses import replace
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from mhcdiag.metrics import METRICS
from mhcdiag.policies.policy import BUILT_IN, Allow, Inputs, Policy, PolicyGate
from mhcdiag.policies.policy_files import STARTER, policy_tables, read_policy, setting_lines, toml_value
from mhcdiag.results.check import Family, GateSeverity
from mhcdiag.results.spikes import EventKind

texts = st.text(st.characters(blacklist_categories=["Cs"]), max_size=23)
scalars = st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | texts


@given(value=scalars | st.lists(scalars, max_size=3))
def test_every_value_reads_back(value: object):
    assert tomllib.loads(f"key = {toml_value(value)}")["key"] == value


def test_other_values_that_options_have():
    assert toml_value(GateSeverity.WARNING) == '"warning"'
    assert toml_value(Path("a") / "b.json") == '"a/b.json"'
    assert toml_value(("a", 1.0)) == '["a", 1]'
    assert toml_value(1e-6) == "1e-06"
    assert tomllib.loads(f"key = {toml_value(float('nan'))}")["key"] != 0


limits = st.floats(1e-300, 1.0, exclude_min=False)
metrics = st.sampled_from(sorted(METRICS))


@st.composite
def gates(draw: st.DrawFn) -> PolicyGate:
    metric = METRICS[draw(metrics)]
    side = "max" if metric.needs_baseline else draw(st.sampled_from(["max", "min", "max_ratio"]))
    series = draw(st.none() | texts.filter(bool)) if metric.family is Family.LOG else None
    return PolicyGate(
        metric=metric.name,
        severity=draw(st.sampled_from(GateSeverity)),
        reason=draw(texts),
        paths=draw(texts),
        series=series,
        **{side: draw(limits)},
    )


allowed = st.builds(
    Allow,
    steps=st.tuples(st.integers(0, 10**6), st.just(10**6) | st.just(float("inf"))),
    reason=texts.filter(str.strip),
    kind=st.sampled_from([*map(str, EventKind), "*"]),
    series=texts,
    paths=texts,
)
patterns = st.lists(texts, max_size=3).map(tuple)


@given(
    inputs=st.builds(Inputs, checkpoints=patterns, logs=patterns),
    found=st.lists(gates(), max_size=5),
    known=st.lists(allowed, max_size=3),
)
def test_every_policy_reads_back(tmp_path_factory, inputs: Inputs, found: list[PolicyGate], known: list[Allow]):
    named = tuple(replace(gate, name=f"gate {index}") for index, gate in enumerate(found))
    policy = Policy(inputs=inputs, gates=named, allow=tuple(known))
    path = tmp_path_factory.getbasetemp() / "round.toml"
    path.write_text(policy_tables(policy, gates=policy.gates), encoding="utf-8", newline="")
    assert read_policy(path) == policy


def test_the_starter_and_the_built_in_policy_read_back(tmp_path: Path):
    path = tmp_path / "mhcdiag.toml"
    path.write_text(STARTER)
    starter = read_policy(path)
    path.write_text(policy_tables(starter, gates=starter.gates))
    assert read_policy(path) == replace(starter, gain={}, check={}, spikes={})
    path.write_text(policy_tables(None, gates=BUILT_IN.gates))
    assert read_policy(path) == BUILT_IN


def test_settings_say_where_they_come_from():
    settings = [("tokens", 7, "mhcdiag.toml"), ("seed", 0, "default"), ("layout", None, "default")]
    lines = list(setting_lines([*settings, ("tanh", True, "MHCDIAG_GAIN_TANH")]))
    assert lines == [
        "tokens = 7  # mhcdiag.toml",
        "# seed = 0  # default",
        "# layout is not set",
        "tanh = true  # MHCDIAG_GAIN_TANH",
    ]
    assert tomllib.loads("\n".join(lines)) == {"tokens": 7, "tanh": True}

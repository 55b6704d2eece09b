"""Every metric is in a group, every group in `GROUPS`, and users can read of each: a new file cannot be forgotten."""

import pkgutil
from importlib import import_module

import pytest

import mhcdiag.metrics
from mhcdiag.metrics import GROUPS, METRICS, Group, Metric
from mhcdiag.policies.policy import BUILT_IN
from mhcdiag.reports.explaining import metric_words, overview, rule_words
from mhcdiag.results.check import Family
from mhcdiag.results.documents import schema

NO_PLUGINS = ("interface",)
FILES = [module.name for module in pkgutil.iter_modules(mhcdiag.metrics.__path__) if module.name not in NO_PLUGINS]
UNITS = {"factor", "fraction", "count", "events", "points", "lines"}


@pytest.mark.parametrize("name", FILES)
def test_every_file_holds_a_group_that_is_listed(name: str) -> None:
    module = import_module(f"mhcdiag.metrics.{name}")
    own = [one for one in vars(module).values() if isinstance(one, Group)]
    assert len(own) == 1, f"mhcdiag/metrics/{name}.py: a file holds one group, this one {len(own)}"
    assert own[0] in GROUPS, f"mhcdiag/metrics/{name}.py: its group is not in GROUPS of mhcdiag/metrics/__init__.py"
    assert own[0].name == name, f"mhcdiag/metrics/{name}.py: its group is called {own[0].name}"


def test_no_group_or_metric_is_listed_twice() -> None:
    assert sorted(group.name for group in GROUPS) == sorted(FILES)
    assert len(METRICS) == sum(len(group.metrics) for group in GROUPS)


def of_every_group() -> list[tuple[Group, Metric]]:
    return [(group, metric) for group in GROUPS for metric in group.metrics]


@pytest.mark.parametrize(("group", "metric"), of_every_group(), ids=lambda one: one.name)
def test_every_metric_is_documented_and_explained(group: Group, metric: Metric) -> None:
    where = f"mhcdiag/metrics/{group.name}.py: {metric.name}"
    words = metric.explanation
    assert all((words.measures, words.source, words.false_alarms, words.action)), f"{where} lacks words"
    assert metric.unit in UNITS, f"{where} has the unit {metric.unit}, which no report knows"
    assert metric.name.startswith(f"{group.name}."), f"{where} is not called after its group"
    explained = " ".join(metric_words(metric).split())
    for text in (words.measures, words.source, words.false_alarms, words.action):
        assert " ".join(text.split()) in explained, f"{where}: `mhcdiag explain` leaves out: {text}"


@pytest.mark.parametrize("group", GROUPS, ids=lambda one: one.name)
def test_every_group_is_of_one_family_whose_outcomes_are_told_by_its_name(group: Group) -> None:
    (family,) = {metric.family for metric in group.metrics}
    assert (family is Family.LOG) is (group.name == "spikes"), f"{group.name}: GateOutcome.family goes by this name"


@pytest.mark.parametrize("group", GROUPS, ids=lambda one: one.name)
def test_every_group_is_in_the_list_of_explain_and_in_the_report_of_check(group: Group) -> None:
    listed = [line.strip() for line in overview(rule_words(), BUILT_IN.gates).splitlines()]
    assert any(line.startswith(f"{group.name}.") for line in listed), f"`mhcdiag explain` does not list {group.name}"
    parts = schema("check")["properties"]["results"]["items"]["properties"]
    assert group.name in parts, f"the report of a check has no part {group.name}, which a baseline is read from"

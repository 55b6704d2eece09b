"""Every published rule is listed, and explained with its source where users ask."""

import importlib
import pkgutil
import re
from types import ModuleType

import pytest

from mhcdiag import detectors
from mhcdiag.detectors import OURS, RULES
from mhcdiag.detectors.interface import PublishedRule
from mhcdiag.reports.explaining import rule_words

MODULES = [
    importlib.import_module(f"{detectors.__name__}.{info.name}") for info in pkgutil.iter_modules(detectors.__path__)
]
NAMES = [one.name for one in RULES]


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__.rpartition(".")[2])
def test_every_rule_is_in_the_tuple(module: ModuleType) -> None:
    found = {name: value for name, value in vars(module).items() if isinstance(value, PublishedRule)}
    missing = [name for name, value in found.items() if not any(value is one for one in RULES)]
    assert not missing, f"{module.__file__}: {', '.join(missing)} is not in RULES"


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__.rpartition(".")[2])
def test_every_flagger_belongs_to_a_rule(module: ModuleType) -> None:
    found = [value for name, value in vars(module).items() if name.endswith("Flagger") and name.startswith("_")]
    idle = [one.__name__ for one in found if all(rule.start is not one for rule in RULES)]
    assert not idle, f"{module.__file__}: no rule in RULES starts {', '.join(idle)}"


def test_names_are_different() -> None:
    assert len({OURS, *NAMES}) == len(NAMES) + 1


@pytest.mark.parametrize("rule", RULES, ids=NAMES)
def test_a_rule_says_what_it_flags_and_where_it_is_published(rule: PublishedRule) -> None:
    assert rule.title
    words, _, source = rule.explanation.partition("\nSource: ")
    assert len(words) > 100
    assert re.search(r"arXiv \d{4}\.\d{5}|\w+/\w+", source), f"{rule.name}: no paper and no repository behind Source:"


@pytest.mark.parametrize("rule", RULES, ids=NAMES)
def test_a_rule_is_explained_by_the_command(rule: PublishedRule) -> None:
    assert rule_words()[rule.name] == (rule.title, rule.explanation)

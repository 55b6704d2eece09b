"""Every file of `health_checks/families/` is a check that is made, documented and open to gates."""

import pkgutil
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from mhcdiag.health_checks import CHECKS, families
from mhcdiag.health_checks.interface import HealthCheck
from mhcdiag.metrics import METRICS
from mhcdiag.metrics.health import NUMBERS
from mhcdiag.results.health import Basis

ROOT = Path(__file__).parents[2]
FILES = [f"mhcdiag/health_checks/families/{module.name}.py" for module in pkgutil.iter_modules(families.__path__)]
every_file = pytest.mark.parametrize("file", FILES)


def declared(file: str) -> list[HealthCheck]:
    """The checks that a file holds."""
    module = import_module(file.removesuffix(".py").replace("/", "."))
    return [value for value in vars(module).values() if isinstance(value, HealthCheck)]


def documented() -> Iterator[str]:
    """Names in the table of checks of docs/health.md."""
    text = (ROOT / "docs" / "health.md").read_text(encoding="utf-8")
    for line in text.partition("| check | finds |")[2].splitlines()[2:]:
        if not line.startswith("|"):
            return
        yield line.split("`")[1]


@every_file
def test_it_holds_one_check_that_is_made(file: str):
    checks = declared(file)
    assert len(checks) == 1, f"{file} holds {len(checks)} checks"
    assert any(check is checks[0] for check in CHECKS), f"{file}: not in CHECKS (mhcdiag/health_checks/__init__.py)"


@every_file
def test_it_says_what_it_computes_and_by_which_limits(file: str):
    [check] = declared(file)
    for part in (check.name, check.formula, check.source, check.thresholds):
        assert part, f"{file}: a part of its declaration is empty"
    assert isinstance(check.basis, Basis), file


@every_file
def test_every_threshold_says_where_its_number_comes_from(file: str):
    """By a comment above it, or above the group that it ends."""
    [check] = declared(file)
    lines = [line.strip() for line in (ROOT / file).read_text(encoding="utf-8").splitlines()]
    begins = lines.index("thresholds={")
    first = {name: next(i for i, line in enumerate(lines) if line.startswith(f'"{name}": ') and i > begins)
             for name in check.thresholds}  # fmt: skip
    for name, at in first.items():
        above = at - 1
        while lines[above].startswith('"'):
            above -= 1
        assert lines[above].startswith("#"), f"{file}: no comment says where {name} comes from"


@every_file
def test_users_find_it(file: str):
    [check] = declared(file)
    assert check.name in set(documented()), f"{file}: no line in the table of checks of docs/health.md"
    assert check.name in NUMBERS, f"{file}: no entry in NUMBERS (mhcdiag/metrics/health.py)"
    assert any(name.startswith(f"health.{check.name}.") for name in METRICS), f"{file}: no metric for gates"


def test_nothing_is_listed_that_is_not_there():
    names = [check.name for check in CHECKS]
    assert len(set(names)) == len(names) == len(FILES)
    assert sorted(documented()) == sorted(names)
    assert NUMBERS.keys() == set(names)

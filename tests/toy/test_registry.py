"""A topology is found in all places where users look for it, or the test names its file."""

import pkgutil
import re
from importlib import import_module

import pytest

from mhcdiag.cli.main import run
from mhcdiag.toy import topologies
from mhcdiag.toy.topologies import TOPOLOGIES, Topology

FILES = sorted(found.name for found in pkgutil.iter_modules(topologies.__path__) if found.name != "interface")


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_topologies_holds_some_and_all_are_listed(name: str) -> None:
    module = import_module(f"{topologies.__name__}.{name}")
    own = [each for each in vars(module).values() if isinstance(each, Topology) and not isinstance(each, type)]
    assert own, f"topologies/{name}.py holds no topology"
    for each in own:
        assert each in TOPOLOGIES, f"topologies/{name}.py: {each.name} is missing in TOPOLOGIES"
        assert module.__doc__, f"topologies/{name}.py does not say where {each.name} was published"


@pytest.mark.parametrize("topology", TOPOLOGIES, ids=lambda topology: topology.name)
def test_a_topology_stands_in_the_help(topology: Topology, capsys, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert run(["toy", "train", "--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    words = re.split(r"[ ,.]+", next(line for line in lines if line.startswith("│ ") and " --topology " in line))
    assert topology.name in words, f"{topology.name}: not in toy train --help"


def test_names_are_unique() -> None:
    names = [topology.name for topology in TOPOLOGIES]
    assert len(set(names)) == len(names)

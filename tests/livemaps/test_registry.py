"""Every family of running models is listed, and named where users look for it."""

import importlib
import pkgutil
from pathlib import Path
from types import ModuleType

import pytest

from mhcdiag import livemaps
from mhcdiag.livemaps import READERS
from mhcdiag.livemaps.interface import LiveReader

PAGE = Path(__file__).parents[2] / "docs" / "live.md"
MODULES = [
    importlib.import_module(f"{livemaps.__name__}.{info.name}")
    for info in pkgutil.iter_modules(livemaps.__path__)
    if info.name != "interface"
]
NAMES = [one.name for one in READERS]


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__.rpartition(".")[2])
def test_every_file_holds_readers_and_all_of_them_are_in_the_tuple(module: ModuleType):
    found = {name: value for name, value in vars(module).items() if isinstance(value, LiveReader)}
    assert found, f"{module.__file__} holds no reader: `livemaps/` is for readers alone"
    missing = [name for name, value in found.items() if not any(value is one for one in READERS)]
    assert not missing, f"{module.__file__}: {', '.join(missing)} is not in READERS"


def test_names_are_different():
    assert len(set(NAMES)) == len(NAMES)


@pytest.mark.parametrize("reader", READERS, ids=NAMES)
def test_a_family_is_named_in_the_documents(reader: LiveReader):
    assert reader.name in PAGE.read_text(encoding="utf-8").lower(), f"{reader.name} is not in docs/live.md"

"""The package keeps its shape: `python benchmarks/structure.py -v` shows the numbers and what they count."""

import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def structure(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    import structure

    yield structure
    del sys.modules["structure"]


def test_no_bar_is_missed(structure) -> None:
    missed = [f"{bar.title}: {bar.value}, at most {bar.most}" for bar in structure.bars() if not bar.is_met]
    assert not missed


def test_a_gain_runs_through_few_files(structure) -> None:
    assert 20 < structure.files_of_gain() <= structure.GAIN_FILES


def test_circles_and_chains_are_found(structure, tmp_path, monkeypatch) -> None:
    package = tmp_path / "mhcdiag"
    package.mkdir()
    texts = {
        "__init__": '"""Package."""\n',
        "a": "from mhcdiag.b import one\n\n\ndef two():\n    from mhcdiag.d import three\n",
        "b": "from mhcdiag import c\n\none = 1\n",
        "c": "from typing import TYPE_CHECKING\n\nif TYPE_CHECKING:\n    from mhcdiag.a import two\n",
        "d": "def three():\n    import mhcdiag.a\n",
    }
    for name, text in texts.items():
        (package / f"{name}.py").write_text(text)
    monkeypatch.setattr(structure, "PACKAGE", package)
    structure.modules.cache_clear()
    try:
        assert structure.longest_chain(late=False) == ["mhcdiag.a", "mhcdiag.b", "mhcdiag.c"]
        assert structure.circles() == []
        assert structure.circles(late=True) == [["mhcdiag.a", "mhcdiag.d"]]
        assert structure.bodies()[0] == (1, "mhcdiag.d:1 three")
        assert [module.lines for module in structure.modules().values()] == [1, 5, 3, 4, 2]
    finally:
        structure.modules.cache_clear()

"""Every file of `layouts/families/` holds layouts that are listed, documented and shown, and need no other layout."""

from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

import pytest
import torch
from layouts.formulas import CASES
from stacks import write

from mhcdiag.layouts import LAYOUTS, Layout, _pattern_of, families, find_mixers, recognise
from mhcdiag.layouts.interface import MixerNames
from mhcdiag.results.inspection import Evidence
from mhcdiag.tensorfiles import open_checkpoint
from mhcdiag.usecases.inspect import catalogue

FILES = sorted(found.name for found in iter_modules(families.__path__))
LAYOUTS_PAGE = Path(__file__).parents[2] / "docs" / "layouts.md"


def layouts_of(file: str) -> list[Layout]:
    """The layouts that a file makes."""
    held = vars(import_module(f"{families.__name__}.{file}")).values()
    return [value for value in held if isinstance(value, Layout) and not isinstance(value, type)]


@pytest.mark.parametrize("file", FILES)
def test_every_file_has_layouts_and_all_of_them_are_listed(file: str):
    found = layouts_of(file)
    place = f"mhcdiag/layouts/families/{file}.py"
    assert found, f"{place} makes no layout: families/ holds layouts alone, what they share stands one folder above"
    missing = [each.name for each in found if not any(each is listed for listed in LAYOUTS)]
    assert not missing, f"{place}: {', '.join(missing)} is not in LAYOUTS (mhcdiag/layouts/families/__init__.py)"


@pytest.mark.parametrize("file", FILES)
def test_every_layout_is_documented(file: str):
    place = f"mhcdiag/layouts/families/{file}.py"
    for layout in layouts_of(file):
        for field in ("name", "source", "tensors", "mixing"):
            assert getattr(layout, field).strip(), f"{place}: {layout.name} has no {field}"
        assert isinstance(layout.evidence, Evidence), f"{place}: {layout.name} does not say how sure it is"


@pytest.mark.parametrize("file", FILES)
def test_every_layout_is_shown_to_users(file: str):
    shown = {each.name for each in catalogue().layouts}
    rows = LAYOUTS_PAGE.read_text(encoding="utf-8").partition("<!-- layouts -->")[2].partition("<!-- /layouts -->")[0]
    for layout in layouts_of(file):
        place = f"mhcdiag/layouts/families/{file}.py: {layout.name}"
        assert layout.name in shown, f"{place} is missing in `mhcdiag layouts`"
        assert f"| `{layout.name}` |" in rows, f"{place} is missing in docs/layouts.md"


def test_names_are_unique():
    names = [layout.name for layout in LAYOUTS]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("case", CASES)
def test_a_layout_is_found_by_its_own_words(tmp_path, case: str):
    """Otherwise it would vanish together with the layout whose words it borrows."""
    model = CASES[case]()
    tensors = {name: torch.tensor(value, dtype=torch.float32).contiguous() for name, value in model.tensors.items()}
    checkpoint = open_checkpoint(write(tmp_path, tensors, config=model.config))
    layout, recognition = recognise(checkpoint)
    own = _pattern_of((layout,))
    mixers = find_mixers(checkpoint)
    names = tuple(name for name in checkpoint.tensors if own.search(name))
    found = layout.recognise(checkpoint, MixerNames(tensors=names, config_keys=mixers.config_keys))
    assert found == recognition

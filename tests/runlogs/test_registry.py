"""Every log format is listed, described, and named where users look for it."""

import importlib
import pkgutil
import re
from pathlib import Path
from types import ModuleType

import pytest
from document_blocks import DOCS, formats_table

from mhcdiag.runlogs import FORMATS, formats
from mhcdiag.runlogs.interface import FileFormat

PAGE = Path(__file__).parents[2] / "docs" / "logs.md"
MODULES = [
    importlib.import_module(f"{formats.__name__}.{info.name}") for info in pkgutil.iter_modules(formats.__path__)
]
NAMES = [one.name for one in FORMATS]


def is_format(value: object) -> bool:
    """Whether a value of a module is a plug-in, by what all formats have in common."""
    return not isinstance(value, type) and all(
        hasattr(value, name) for name in ("name", "title", "preferred", "nan_family")
    )


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__.rpartition(".")[2])
def test_every_file_holds_formats_and_all_of_them_are_in_the_tuple(module: ModuleType):
    found = {name: value for name, value in vars(module).items() if is_format(value)}
    assert found, f"{module.__file__} holds no format: `formats/` is for formats alone"
    missing = [name for name, value in found.items() if not any(value is one for one in FORMATS)]
    assert not missing, f"{module.__file__}: {', '.join(missing)} is in neither FILE_FORMATS nor TEXT_FORMATS"


def test_names_are_different():
    assert len(set(NAMES)) == len(NAMES)


@pytest.mark.parametrize("one", FORMATS, ids=NAMES)
def test_a_format_can_read_and_says_what_it_is(one):
    assert (callable(one.fits) and callable(one.read)) if isinstance(one, FileFormat) else callable(one.parser)
    assert re.fullmatch(r"[a-z][a-z_]*", one.name)
    assert one.title
    assert set(one.preferred) <= {"loss", "eval_loss", "grad_norm", "learning_rate", "skipped", "time", "loss_scale"}


@pytest.mark.parametrize("one", FORMATS, ids=NAMES)
def test_a_format_is_named_in_the_readme(one):
    text = PAGE.read_text(encoding="utf-8")
    listed = text[text.index("<!-- formats -->") : text.index("<!-- /formats -->")]
    assert f"`{one.name}`" in listed, (
        f"{one.name} is missing in docs/logs.md: python tests/document_blocks.py writes the list"
    )


def test_the_document_on_formats_has_a_row_for_each():
    text = (DOCS / "logs-formats.md").read_text(encoding="utf-8")
    assert f"<!-- log_formats -->\n{formats_table()}<!-- /log_formats -->" in text, (
        "python tests/document_blocks.py writes the table"
    )
    assert text.count("\n| `") == len(FORMATS)


@pytest.mark.parametrize("one", FORMATS, ids=NAMES)
def test_a_format_has_a_test_of_its_own(one):
    asserted = re.compile(rf'["\']{one.name}["\']')
    files = [*Path(__file__).parent.rglob("test_*.py")]
    assert any(asserted.search(file.read_text(encoding="utf-8")) for file in files if file != Path(__file__)), one.name

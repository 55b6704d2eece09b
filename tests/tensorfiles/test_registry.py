"""Every file in `containers/` and `stores/` is known to the package, says what it is, and is listed for users."""

from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from types import ModuleType

import pytest

from mhcdiag.reports.inspection_text import catalogue_text, containers_table
from mhcdiag.tensorfiles import CONTAINERS, STORES, containers, stores
from mhcdiag.tensorfiles.containers.remote import REMOTE
from mhcdiag.tensorfiles.interface import Container
from mhcdiag.tensorfiles.stores.interface import Store
from mhcdiag.usecases.inspect import catalogue

PAGE = Path(__file__).parents[2] / "docs" / "layouts.md"
REGISTRIES = [(containers, Container, CONTAINERS), (stores, Store, STORES)]
Known = tuple[Container | Store, ...]


def plug_ins(package: ModuleType, kind: type, known: Known) -> list[tuple[str, Known, Known]]:
    """File, what of this kind it makes, and the tuple that should list it; `interface.py` makes none."""
    files = [module.name for module in iter_modules(package.__path__) if module.name != "interface"]
    modules = {name: import_module(f"{package.__name__}.{name}") for name in files}
    folder = package.__name__.rpartition(".")[2]
    return [
        (f"{folder}/{name}.py", tuple(value for value in vars(module).values() if isinstance(value, kind)), known)
        for name, module in modules.items()
    ]


FILES = [case for registry in REGISTRIES for case in plug_ins(*registry)]
of_each_file = pytest.mark.parametrize(("file", "found", "known"), FILES, ids=[file for file, _, _ in FILES])


@of_each_file
def test_what_a_file_makes_is_in_the_tuple(file: str, found: Known, known: Known):
    assert found, f"{file} makes no container or store: a helper belongs beside the folder"
    missing = [each for each in found if not any(each is one for one in known)]
    assert not missing, f"{file} makes what no tuple lists: add it in {file.partition('/')[0]}/__init__.py"


@of_each_file
def test_what_a_file_makes_says_what_it_is(file: str, found: Known, known: Known):
    for each in found:
        name = each.title if isinstance(each, Container) else each.name
        assert name.strip(), f"{file} makes one without a name"
        assert each.looks.strip(), f"{file} does not say what its {name} looks like"


@of_each_file
def test_what_a_file_makes_is_listed_for_users(file: str, found: Known, known: Known):
    table, page = containers_table(catalogue()), PAGE.read_text(encoding="utf-8")
    printed = " ".join(catalogue_text(catalogue(), width=100).split())
    for each in found:
        if isinstance(each, Container):
            row = f"| {each.title} | {each.looks} |"
        elif each.find is not None:
            row = f"| {REMOTE.title} | {REMOTE.looks} |"
            assert each.looks in row, f"{file}: `mhcdiag layouts` does not show its addresses, {each.looks}"
        else:
            continue  # this machine, whose paths need no line
        assert row in table, f"{file} is missing in the table of containers"
        assert row in page, f"{file} is missing in docs/layouts.md: run `python tests/document_blocks.py`"
        assert each.looks.replace("`", "") in printed, f"{file} is missing in what `mhcdiag layouts` prints"


@of_each_file
def test_a_file_says_in_its_first_line_what_it_is(file: str, found: Known, known: Known):
    package, _, name = file.removesuffix(".py").partition("/")
    documentation = import_module(f"mhcdiag.tensorfiles.{package}.{name}").__doc__ or ""
    assert documentation.startswith(("Container: ", "Containers: ", "Store: ")), f"{file} begins with {documentation!r}"


def test_no_entry_is_listed_twice():
    for known, names in (
        (CONTAINERS, [each.title for each in CONTAINERS]),
        (STORES, [each.name for each in STORES]),
        ((), [scheme for store in STORES for scheme in store.schemes]),
        ((), [suffix for container in CONTAINERS for suffix in container.suffixes]),
    ):
        assert len(set(names)) == len(names), names
        assert len({id(each) for each in known}) == len(known)


def test_an_address_belongs_to_one_store_and_every_path_to_some():
    for store in STORES[:-1]:
        for scheme in store.schemes:
            holders = [one.name for one in STORES if one.recognises(f"{scheme}somewhere")]
            assert holders == [store.name, STORES[-1].name], f"{scheme} is one of {holders}"
    assert STORES[-1].find is None
    assert all(STORES[-1].recognises(path) for path in ("a", "/a/b", ".", ""))

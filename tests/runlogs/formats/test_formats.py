import importlib
import pkgutil

from mhcdiag.runlogs import FORMATS, formats
from mhcdiag.runlogs.interface import FileFormat


def test_every_file_is_in_the_tuple():
    modules = [
        importlib.import_module(f"{formats.__name__}.{info.name}") for info in pkgutil.iter_modules(formats.__path__)
    ]
    assert len(modules) == len(FORMATS)
    for module in modules:
        assert any(one in FORMATS for one in vars(module).values() if hasattr(one, "nan_family")), module.__name__


def test_names_are_different_and_every_format_can_read():
    assert len({one.name for one in FORMATS}) == len(FORMATS)
    for one in FORMATS:
        assert isinstance(one, FileFormat) or callable(one.parser)
        assert one.title

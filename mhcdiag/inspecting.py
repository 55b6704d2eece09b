"""Where `mhcdiag.inspect` was, and the catalogue; the names work here for one more release, with a warning."""

from typing import TYPE_CHECKING

from mhcdiag import _moved

if TYPE_CHECKING:
    from mhcdiag.usecases.inspect import catalogue, inspect

__all__ = ["catalogue", "inspect"]

__getattr__ = _moved(__name__, {"inspect": "mhcdiag.usecases.inspect", "catalogue": "mhcdiag.usecases.inspect"})

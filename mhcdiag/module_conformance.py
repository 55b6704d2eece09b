"""Where `mhcdiag.conformance` was; the name works here for one more release, with a warning."""

from typing import TYPE_CHECKING

from mhcdiag import _moved

if TYPE_CHECKING:
    from mhcdiag.usecases.conformance import conformance

__all__ = ["conformance"]

__getattr__ = _moved(__name__, {"conformance": "mhcdiag.usecases.conformance"})

"""Where `mhcdiag.gain` was; the name works here for one more release, with a warning."""

from typing import TYPE_CHECKING

from mhcdiag import _moved

if TYPE_CHECKING:
    from mhcdiag.usecases.gain import gain

__all__ = ["gain"]

__getattr__ = _moved(__name__, {"gain": "mhcdiag.usecases.gain"})

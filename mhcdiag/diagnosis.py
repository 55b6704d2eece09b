"""Where `mhcdiag.health` was; the name works here for one more release, with a warning."""

from typing import TYPE_CHECKING

from mhcdiag import _moved

if TYPE_CHECKING:
    from mhcdiag.usecases.health import health

__all__ = ["health"]

__getattr__ = _moved(__name__, {"health": "mhcdiag.usecases.health"})

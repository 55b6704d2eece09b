"""Stability diagnostics for training large models.

`mhcdiag.gain(path)` measures how strongly the residual streams of a checkpoint amplify signals and gradients. Names are
resolved on first use, so that `import mhcdiag` (and `mhcdiag --help`) does not import torch.
"""

from typing import TYPE_CHECKING

from mhcdiag.version import __version__

if TYPE_CHECKING:
    from mhcdiag.errors import MhcdiagError
    from mhcdiag.monitor import Monitor
    from mhcdiag.results.gain import GainResult
    from mhcdiag.results.health import HealthResult
    from mhcdiag.results.inspection import Inspection
    from mhcdiag.usecases.conformance import conformance
    from mhcdiag.usecases.gain import gain
    from mhcdiag.usecases.health import health
    from mhcdiag.usecases.inspect import inspect

__all__ = [
    "GainResult",
    "HealthResult",
    "Inspection",
    "MhcdiagError",
    "Monitor",
    "__version__",
    "conformance",
    "gain",
    "health",
    "inspect",
]

_HOME = {
    "gain": "mhcdiag.usecases.gain",
    "conformance": "mhcdiag.usecases.conformance",
    "health": "mhcdiag.usecases.health",
    "inspect": "mhcdiag.usecases.inspect",
    "HealthResult": "mhcdiag.results.health",
    "GainResult": "mhcdiag.results.gain",
    "Inspection": "mhcdiag.results.inspection",
    "MhcdiagError": "mhcdiag.errors",
    "Monitor": "mhcdiag.monitor",
}


def __getattr__(name: str) -> object:
    """Import the module behind a public name when the name is first used."""
    if name not in _HOME:
        raise AttributeError(f"module 'mhcdiag' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value

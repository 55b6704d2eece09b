"""Stability diagnostics for training large models.

Each command is a function: `mhcdiag.gain(path)` measures how strongly the residual streams of a checkpoint amplify
signals and gradients, `mhcdiag.spikes(path)` finds what went wrong in a log. They return frozen records, take the
command's options as keywords and raise `MhcdiagError`. Names are resolved on first use, so that `import mhcdiag` (and
`mhcdiag --help`) does not import torch.
"""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING

from mhcdiag.version import __version__

if TYPE_CHECKING:
    from mhcdiag.errors import MhcdiagError
    from mhcdiag.monitor import Monitor
    from mhcdiag.results.check import CheckReport
    from mhcdiag.results.cost import CostResult
    from mhcdiag.results.gain import GainResult
    from mhcdiag.results.health import CheckResult, HealthResult
    from mhcdiag.results.inspection import Inspection
    from mhcdiag.results.spikes import LogResult
    from mhcdiag.results.trend import TrendResult
    from mhcdiag.results.weights import WeightsResult
    from mhcdiag.usecases.capture import Captured, capture
    from mhcdiag.usecases.check import check
    from mhcdiag.usecases.conformance import conformance
    from mhcdiag.usecases.cost import cost
    from mhcdiag.usecases.follow import Following, follow
    from mhcdiag.usecases.gain import gain
    from mhcdiag.usecases.health import health
    from mhcdiag.usecases.inspect import inspect
    from mhcdiag.usecases.live_log import Change
    from mhcdiag.usecases.spikes import spikes
    from mhcdiag.usecases.trend import trend
    from mhcdiag.usecases.weights import weights

__all__ = [
    "Captured",
    "Change",
    "CheckReport",
    "CheckResult",
    "CostResult",
    "Following",
    "GainResult",
    "HealthResult",
    "Inspection",
    "LogResult",
    "MhcdiagError",
    "Monitor",
    "TrendResult",
    "WeightsResult",
    "__version__",
    "capture",
    "check",
    "conformance",
    "cost",
    "follow",
    "gain",
    "health",
    "inspect",
    "spikes",
    "trend",
    "weights",
]

_HOME = {
    "gain": "mhcdiag.usecases.gain",
    "health": "mhcdiag.usecases.health",
    "weights": "mhcdiag.usecases.weights",
    "inspect": "mhcdiag.usecases.inspect",
    "conformance": "mhcdiag.usecases.conformance",
    "capture": "mhcdiag.usecases.capture",
    "spikes": "mhcdiag.usecases.spikes",
    "follow": "mhcdiag.usecases.follow",
    "trend": "mhcdiag.usecases.trend",
    "check": "mhcdiag.usecases.check",
    "cost": "mhcdiag.usecases.cost",
    "Monitor": "mhcdiag.monitor",
    "MhcdiagError": "mhcdiag.errors",
    "GainResult": "mhcdiag.results.gain",
    "HealthResult": "mhcdiag.results.health",
    "CheckResult": "mhcdiag.results.health",
    "Inspection": "mhcdiag.results.inspection",
    "Captured": "mhcdiag.usecases.capture",
    "LogResult": "mhcdiag.results.spikes",
    "Change": "mhcdiag.usecases.live_log",
    "Following": "mhcdiag.usecases.follow",
    "TrendResult": "mhcdiag.results.trend",
    "CheckReport": "mhcdiag.results.check",
    "CostResult": "mhcdiag.results.cost",
    "WeightsResult": "mhcdiag.results.weights",
}
"""Public names, and the module of each."""


def __getattr__(name: str) -> object:
    """Import the module behind a public name when the name is first used."""
    if name not in _HOME:
        raise AttributeError(f"module 'mhcdiag' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Return the public names, whether used already or not."""
    return sorted(__all__)


def _moved(module: str, names: Mapping[str, str]) -> Callable[[str], object]:
    """Return the `__getattr__` of a module from which public functions moved: they still work there, and warn.

    Parameters
    ----------
    module
        Where they were.
    names
        The functions, and the modules where they are now.
    """

    def found(name: str) -> object:
        if name not in names:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        from warnings import warn

        public = name if name in _HOME else f"{names[name].removeprefix('mhcdiag.')}.{name}"
        warn(
            f"{module}.{name} has moved and goes with the next release: use mhcdiag.{public}",
            DeprecationWarning,
            stacklevel=2,
        )
        value: object = getattr(import_module(names[name]), name)
        return value

    return found

"""From options to the function that a command runs on each input; `check` runs what `gain` and `spikes` run."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mhcdiag.results.gain import GainResult
    from mhcdiag.results.health import HealthResult
    from mhcdiag.usecases.spikes import LogOptions

MEASURE = (
    "inputs",
    "tokens",
    "seed",
    "key",
    "layout",
    "orientation",
    "sinkhorn_iters",
    "sinkhorn_eps",
    "tanh",
    "device",
    "dtype",
)
"""Options of `mhcdiag gain` that `mhcdiag.gain` takes as they are."""

EXAMINE = ("inputs", "seed", "key", "layout", "orientation", "sinkhorn_iters")
"""Options of `mhcdiag gain` that `mhcdiag.health` takes as they are."""

READ = ("rule", "log_format", "loss_key", "step_key", "regex")
"""Options of `mhcdiag spikes` that `LogOptions` takes as they are."""


def measurement(options: Mapping[str, Any]) -> Callable[..., "GainResult"]:
    """Return what measures a checkpoint.

    Arguments: options: of `mhcdiag gain`, by the names of its parameters.
    """
    import gc

    from mhcdiag.cli.options import parse_sites
    from mhcdiag.usecases import gain as api

    gc.freeze()  # torch brings 300,000 objects; looking through them again and again costs more than reading headers
    sites = options["sites"]
    return partial(
        api.gain,
        sites=None if sites is None else parse_sites(sites),
        **{name: options[name] for name in MEASURE},
    )


def examination(options: Mapping[str, Any]) -> Callable[[str], "HealthResult"]:
    """Return what examines a checkpoint as `mhcdiag gain` would measure it, with the default thresholds of `health`.

    Arguments: options: of `mhcdiag gain`, by the names of its parameters.
    """
    from mhcdiag.usecases import health as diagnosis

    given = {name: options[name] for name in EXAMINE}
    given["inputs"] = given["inputs"] if given["inputs"] in ("static", "random") else None
    return partial(diagnosis.health, **given)


def log_options(options: Mapping[str, Any]) -> "LogOptions":
    """Return how logs are read and judged.

    Arguments: options: of `mhcdiag spikes`, by the names of its parameters.
    """
    from mhcdiag.cli.spikes_choices import parse_steps
    from mhcdiag.detectors import adjusted
    from mhcdiag.usecases.spikes import LogOptions

    first_step, last_step = parse_steps(options["steps"])
    return LogOptions(
        settings=adjusted(**{name: options[name] for name in ("z", "min_rise", "window", "warmup")}),
        series=tuple(options["series"] or ()),
        first_step=first_step,
        last_step=last_step,
        **{name: options[name] for name in READ},
    )

"""Whether a live module mixes its streams as a layout says: `mhcdiag.conformance`."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mhcdiag.errors import SettingError
from mhcdiag.health_checks import examine
from mhcdiag.health_checks.interface import Subject
from mhcdiag.layouts import LAYOUTS, recognise
from mhcdiag.layouts.interface import Overrides, Projecting
from mhcdiag.layouts.readings import ParametricReading
from mhcdiag.livemaps.lucidrains import LUCIDRAINS, apply_wrapper
from mhcdiag.mappings.interface import Orientation
from mhcdiag.namedtensors import TensorInfo
from mhcdiag.results.health import CheckResult
from mhcdiag.tensorfiles.element_types import spelling_of
from mhcdiag.usecases.options import refuse_unusable
from mhcdiag.weight_readers.alternatives import given_maps, predictions
from mhcdiag.weight_readers.records import SiteActivations

if TYPE_CHECKING:
    from torch.nn import Module

TOKENS = 8
"""Tokens of the random streams: n*C numbers each, enough to distinguish any two mappings."""


class _StateDict:
    """A `NamedTensors` over the parameters of a module."""

    path = "module"
    config: Mapping[str, Any] | None = None
    metadata: Mapping[str, str] = {}
    bytes_total = 0
    bytes_read = 0

    def __init__(self, state: Mapping[str, Tensor], config: Mapping[str, Any] | None) -> None:
        self._state = {name: value.detach().cpu() for name, value in state.items()}
        self.config = config

    @property
    def tensors(self) -> Mapping[str, TensorInfo]:
        """All parameters and buffers."""
        return {name: TensorInfo(name, spelling_of(t.dtype), tuple(t.shape)) for name, t in self._state.items()}

    def read(self, name: str, *, rows: slice | None = None) -> Tensor:
        """A copy."""
        return (self._state[name] if rows is None else self._state[name][rows]).clone()


def conformance(
    module: "Module",
    layout: str,
    *,
    apply: Callable[[Tensor], Tensor] | None = None,
    config: Mapping[str, Any] | None = None,
    orientation: str | None = None,
    sinkhorn_iters: int | None = None,
    seed: int = 0,
) -> CheckResult:
    """Push distinct random streams through a module whose branch is silent, and compare with H x, H^T x and x.

    Parameters
    ----------
    module
        One site with its own parameters. Its branch must return zeros, so that mixing alone is seen; that of a
        wrapper of the package `hyper-connections` is silenced here.
    layout
        Name of the layout that it should follow; see `mhcdiag layouts`.
    apply
        From streams [token, n, C] to streams [token, n, C]; None calls the module.
    config
        What the layout would read from config.json, such as `hc_sinkhorn_iters`.
    orientation, sinkhorn_iters
        What to believe over the layout and the configuration.
    seed
        Seed of the streams.

    Returns
    -------
    CheckResult
        Of the check `conformance`; any finding is a failure.

    Raises
    ------
    mhcdiag.MhcdiagError
        The module's parameters are not those of the layout.
    """
    refuse_unusable(orientation=orientation, sinkhorn_iters=sinkhorn_iters, seed=seed)
    overrides = Overrides(
        orientation=None if orientation is None else Orientation(orientation), sinkhorn_iters=sinkhorn_iters
    )
    checkpoint = _StateDict(_placed(module, layout), config)
    found, whole = recognise(checkpoint, layout=layout)
    recognition = replace(whole, sites=whole.sites[:1])
    reading = found.read(checkpoint, recognition, overrides, dynamic=False)
    if not (
        isinstance(reading, ParametricReading) and reading.parameters.input_dependent and isinstance(found, Projecting)
    ):
        raise SettingError(f"layout {layout} has no projection to compare a live module with")
    parameters = reading.parameters
    streams = parameters.stack.streams
    projection = found.projection_of(checkpoint, recognition.sites[0], streams)
    width = projection.shape[0] // (1 if parameters.recipe.norm.per_stream else streams)
    x = torch.randn(TOKENS, streams, width, generator=torch.Generator().manual_seed(seed))
    parameter = next(iter(module.parameters()), x)
    with torch.no_grad():
        after = (apply or _applying(module))(x.to(parameter)).float().cpu()
    if after.shape != x.shape:
        raise SettingError(f"the module returned {list(after.shape)} for streams {list(x.shape)}; give apply=")
    site = SiteActivations(h_res=given_maps(parameters, projection, x), x_in=x, x_out=after)
    subject = Subject(
        sites=parameters.stack.sites,
        maps=site.h_res.double().permute(1, 2, 0)[None],
        parameters=None,
        temperature=1.0,
        gates=None,
        activations=(site,),
        exact=frozenset(),
        earlier=None,
        predict=partial(predictions, found, checkpoint, recognition, overrides, (site,)),
    )
    (result,) = examine(subject, only=("conformance",))
    return result


def _placed(module: "Module", layout: str) -> dict[str, Tensor]:
    state = module.state_dict()
    # A name that no layout has is refused by `recognise`, in its words.
    paths = next((each.module_paths for each in LAYOUTS if each.name == layout), ("",))
    return {f"{path}{name}": value for path in paths for name, value in state.items()}


def _applying(module: "Module") -> Callable[[Tensor], Tensor]:
    """How to push streams through a module: its family's way, else by calling it."""
    return partial(apply_wrapper, module) if LUCIDRAINS.knows(module) else module

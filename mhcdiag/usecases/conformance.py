"""Whether a live module or model mixes its streams as a layout says: `mhcdiag.conformance`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from mhcdiag.errors import MhcdiagError, SettingError
from mhcdiag.health_checks import examine
from mhcdiag.health_checks.interface import Subject
from mhcdiag.layouts import LAYOUTS, recognise
from mhcdiag.layouts.interface import Overrides, Projecting, Recognition
from mhcdiag.layouts.readings import ParametricReading
from mhcdiag.livemaps import READERS, live_sites
from mhcdiag.livemaps.lucidrains import LUCIDRAINS, apply_wrapper
from mhcdiag.mappings.interface import Orientation
from mhcdiag.namedtensors import TensorInfo
from mhcdiag.results.health import CheckResult
from mhcdiag.tensorfiles.element_types import spelling_of
from mhcdiag.tokenruns.probing import probe_model
from mhcdiag.usecases.options import refuse_unusable
from mhcdiag.weight_readers.alternatives import given_maps, predictions
from mhcdiag.weight_readers.records import Prediction, SiteActivations

if TYPE_CHECKING:
    from torch.nn import Module

TOKENS = 8
"""Tokens of the random streams: n*C numbers each, enough to distinguish any two mappings."""


class _StateDict:
    """A `NamedTensors` over the parameters of a module."""

    metadata: Mapping[str, str] = {}
    bytes_total = 0
    bytes_read = 0

    def __init__(self, path: str, state: Mapping[str, Tensor], config: Mapping[str, Any] | None) -> None:
        self.path = path
        self._state = {name: value.detach().cpu() for name, value in state.items()}
        self.config = config

    @property
    def tensors(self) -> Mapping[str, TensorInfo]:
        """All parameters and buffers."""
        return {name: TensorInfo(name, spelling_of(t.dtype), tuple(t.shape)) for name, t in self._state.items()}

    def read(self, name: str, *, rows: slice | None = None) -> Tensor:
        """A copy."""
        return (self._state[name] if rows is None else self._state[name][rows]).clone()


@dataclass(frozen=True, kw_only=True, slots=True)
class _Reading:
    """What the layout says of one site's own parameters."""

    layout: Projecting
    checkpoint: _StateDict
    recognition: Recognition
    reading: ParametricReading
    overrides: Overrides
    projection: Tensor

    @property
    def streams(self) -> int:
        """Number of residual streams."""
        return self.reading.stack.streams

    @property
    def width(self) -> int:
        """Features of a stream."""
        per_stream = self.reading.parameters.recipe.norm.per_stream
        return self.projection.shape[0] // (1 if per_stream else self.streams)

    def maps(self, x: Tensor) -> Tensor:
        """H_res [token, n, n] of given streams."""
        if x.shape[1:] != (self.streams, self.width):
            raise SettingError(
                f"{self.checkpoint.path}: streams of shape {list(x.shape[1:])}; layout {self._name} has "
                f"{[self.streams, self.width]}"
            )
        return given_maps(self.reading.parameters, self.projection, x)

    @property
    def _name(self) -> str:
        return str(getattr(self.layout, "name", ""))

    def predictions(self, site: SiteActivations) -> dict[str, Prediction]:
        """What this and other readings of the parameters say of what the site did."""
        layout: Any = self.layout
        return predictions(layout, self.checkpoint, self.recognition, self.overrides, (site,))


def conformance(
    module: "Module",
    layout: str,
    *,
    apply: Callable[[Tensor], Tensor] | None = None,
    config: Mapping[str, Any] | None = None,
    orientation: str | None = None,
    sinkhorn_iters: int | None = None,
    seed: int = 0,
    run: Callable[[], object] | None = None,
) -> CheckResult:
    """Push distinct random streams through a module or a model, and compare with H x, H^T x and x, site by site.

    Parameters
    ----------
    module
        One site with its own parameters, or a whole model. The branch of a single site must return zeros, so that
        mixing alone is seen; that of a wrapper of the package `hyper-connections` is silenced here. A whole model runs
        as it is, with random streams in place of those that enter its blocks, in as many stacks as it has.
    layout
        Name of the layout that it should follow; see `mhcdiag layouts`.
    apply
        Of a single site: from streams [token, n, C] to streams [token, n, C]; None calls the module.
    config
        What the layout would read from config.json, such as `hc_sinkhorn_iters`; None takes `module.config`.
    orientation, sinkhorn_iters
        What to believe over the layout and the configuration.
    seed
        Seed of the streams.
    run
        Of a whole model: what runs one forward pass; None calls it with random token ids.

    Returns
    -------
    CheckResult
        Of the check `conformance`; any finding is a failure. `thresholds["error"]` (0.02, for bf16 streams) would hide
        a mapping that is 1 % too large; `thresholds["scale"]` finds it.

    Raises
    ------
    mhcdiag.MhcdiagError
        The module's parameters are not those of the layout, or it cannot be run.
    """
    refuse_unusable(orientation=orientation, sinkhorn_iters=sinkhorn_iters, seed=seed)
    if not isinstance(module, nn.Module):
        raise SettingError(f"conformance looks at modules of torch; this is {type(module).__name__}")
    overrides = Overrides(
        orientation=None if orientation is None else Orientation(orientation), sinkhorn_iters=sinkhorn_iters
    )
    read = partial(_read, layout=layout, config=_config(module, config), overrides=overrides)
    if apply is not None or any(_knows(reader.knows, module) for reader in READERS) or not live_sites(module).sites:
        reading = read("module", module)
        sites = {reading.reading.stack.sites[0]: (reading, _pushed(module, reading, apply, seed))}
    else:
        seen = probe_model(module, run, tokens=TOKENS, seed=seed)
        readings = {site: read(site, module.get_submodule(site.partition("@")[0])) for site in seen}
        sites = {
            site: (readings[site], replace(found, h_res=readings[site].maps(found.x_in)))
            for site, found in seen.items()
        }
    subject = Subject(
        sites=tuple(sites),
        maps=torch.stack([found.h_res.double().permute(1, 2, 0) for _, found in sites.values()]),
        parameters=None,
        temperature=1.0,
        gates=None,
        activations=tuple(found for _, found in sites.values()),
        exact=frozenset(),
        earlier=None,
        predict=lambda: _joined([reading.predictions(found) for reading, found in sites.values()]),
    )
    (result,) = examine(subject, only=("conformance",))
    return result


def _knows(knows: Callable[[nn.Module], bool], module: nn.Module) -> bool:
    try:
        return knows(module)
    except Exception:  # noqa: BLE001 - attributes of other people's modules may raise anything
        return False


def _config(module: nn.Module, given: object) -> dict[str, Any] | None:
    """The configuration of one site: that of the model, which is said to have one block."""
    found = given if given is not None else getattr(module, "config", None)
    to_dict = getattr(found, "to_dict", None)
    if callable(to_dict):
        found = to_dict()
    if found is None:
        return None
    if not isinstance(found, Mapping):
        raise SettingError(f"config is {type(found).__name__}; expected a mapping, as config.json holds it")
    return _of_one_block(dict(found))


def _of_one_block(config: dict[Any, Any]) -> dict[str, Any]:
    # Labels have numbers for keys, which JSON turns into text.
    named = {str(key): value for key, value in config.items()}
    changed = {key: _of_one_block(dict(value)) for key, value in named.items() if isinstance(value, Mapping)}
    one = {"num_hidden_layers": 1} if "num_hidden_layers" in named else {}
    return named | changed | one


def _read(
    path: str, module: nn.Module, *, layout: str, config: Mapping[str, Any] | None, overrides: Overrides
) -> _Reading:
    """The layout's reading of one site's own parameters."""
    checkpoint = _StateDict(path, _placed(module, layout), config)
    found, whole = recognise(checkpoint, layout=layout)
    recognition = replace(whole, sites=whole.sites[:1])
    reading = found.read(checkpoint, recognition, overrides, dynamic=False)
    if not (
        isinstance(reading, ParametricReading) and reading.parameters.input_dependent and isinstance(found, Projecting)
    ):
        raise SettingError(f"layout {layout} has no projection to compare a live module with")
    return _Reading(
        layout=found,
        checkpoint=checkpoint,
        recognition=recognition,
        reading=reading,
        overrides=overrides,
        projection=found.projection_of(checkpoint, recognition.sites[0], reading.stack.streams),
    )


def _placed(module: nn.Module, layout: str) -> dict[str, Tensor]:
    try:
        state = module.state_dict()
    except Exception as error:  # modules may write their state in any way
        raise SettingError(f"{type(module).__name__} gives no state_dict: {error}") from error
    state = {name: value for name, value in state.items() if isinstance(value, Tensor) and not value.is_meta}
    # A name that no layout has is refused by `recognise`, in its words.
    paths = next((each.module_paths for each in LAYOUTS if each.name == layout), ("",))
    return {f"{path}{name}": value for path in paths for name, value in state.items()}


def _pushed(
    module: nn.Module, reading: _Reading, apply: Callable[[Tensor], Tensor] | None, seed: int
) -> SiteActivations:
    """What a single site makes of random streams."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(TOKENS, reading.streams, reading.width, generator=generator)
    parameter = next(iter(module.parameters()), x)
    try:
        with torch.no_grad():
            after = (apply or _applying(module))(x.to(parameter))
    except MhcdiagError:
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {error}".partition("\n")[0]
        raise SettingError(f"the module raised {reason} for streams {list(x.shape)}; give apply=") from error
    if not isinstance(after, Tensor) or after.shape != x.shape or after.is_meta or after.dtype.is_complex:
        found = list(after.shape) if isinstance(after, Tensor) else type(after).__name__
        raise SettingError(f"the module returned {found} for streams {list(x.shape)}; give apply=")
    return SiteActivations(h_res=reading.maps(x), x_in=x, x_out=after.float().cpu())


def _applying(module: nn.Module) -> Callable[[Tensor], Tensor]:
    """How to push streams through a module: its family's way, else by calling it."""
    return partial(apply_wrapper, module) if _knows(LUCIDRAINS.knows, module) else module


def _joined(of_sites: list[dict[str, Prediction]]) -> dict[str, Prediction]:
    """Predictions of all sites, of the readings that all have."""
    names = [name for name in of_sites[0] if all(name in each for each in of_sites)]
    return {
        name: Prediction(
            h_res=tuple(maps for each in of_sites for maps in each[name].h_res),
            post=tuple(post for each in of_sites for post in each[name].post),
        )
        for name in names
    }

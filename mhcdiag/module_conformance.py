"""Whether a live module mixes its streams as a layout says: `mhcdiag.conformance`."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mhcdiag.checkups import examine
from mhcdiag.checkups.interface import Subject
from mhcdiag.errors import SettingError
from mhcdiag.layouts import recognise
from mhcdiag.layouts.first_site import Projecting
from mhcdiag.layouts.interface import Settings
from mhcdiag.mappings.inputs import project
from mhcdiag.mappings.interface import Orientation
from mhcdiag.mappings.observed import SiteActivations
from mhcdiag.mappings.parametric import ParametricStack, finish
from mhcdiag.namedtensors import TensorInfo
from mhcdiag.results.health import CheckResult
from mhcdiag.tensorfiles.element_types import spelling_of

if TYPE_CHECKING:
    from torch.nn import Module

TOKENS = 8
_SITES = {
    "deepseek-v4": ("layers.0.attn_hc.", "layers.0.ffn_hc."),
    "glm5-next": ("model.language_model.layers.0.attn_hc.", "model.language_model.layers.0.ffn_hc."),
    "openpangu": ("layers.0.attn_mhc_module.", "layers.0.mlp_mhc_module."),
    "motif-3": ("layers.0.mhc_attn.", "layers.0.mhc_ffn."),
    "telechat": ("layers.0.attn_hc.", "layers.0.ffn_hc."),
    "megatron": ("layers.0.self_attention_hyper_connection.", "layers.0.mlp_hyper_connection."),
    "megatron-bridge": ("layers.0.hc_attn.", "layers.0.hc_ffn."),
}
"""Where the parameters of one site stand in layouts that name layer and kind."""


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
        One site with its own parameters. Its branch must return zeros, so that mixing alone is seen.
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
    settings = Settings(
        orientation=None if orientation is None else Orientation(orientation), sinkhorn_iters=sinkhorn_iters
    )
    checkpoint = _StateDict(_placed(module, layout), config)
    found, recognition = recognise(checkpoint, layout=layout)
    if not isinstance(found, Projecting):
        raise SettingError(f"layout {layout} cannot be compared with a live module yet")
    parameters = found.read(checkpoint, recognition, settings, dynamic=False).parameters
    assert parameters is not None
    streams = parameters.stack.streams
    projection = found.projection_of(checkpoint, recognition.sites[0], streams)
    x = torch.randn(TOKENS, streams, projection.shape[0] // streams, generator=torch.Generator().manual_seed(seed))
    parameter = next(iter(module.parameters()), x)
    with torch.no_grad():
        after = (apply or module)(x.to(parameter)).float().cpu()
    if after.shape != x.shape:
        raise SettingError(f"the module returned {list(after.shape)} for streams {list(x.shape)}; give apply=")
    site = SiteActivations(h_res=_mapping(parameters, projection, x), x_in=x, x_out=after)
    subject = Subject(
        sites=parameters.stack.sites[:1],
        maps=site.h_res.double().permute(1, 2, 0)[None],
        parameters=None,
        temperature=1.0,
        gates=None,
        activations=(site,),
        exact=frozenset(),
        earlier=None,
    )
    (result,) = examine(subject, only=("conformance",))
    return result


def _placed(module: "Module", layout: str) -> dict[str, Tensor]:
    state = module.state_dict()
    return {f"{place}{name}": value for place in _SITES.get(layout, ("",)) for name, value in state.items()}


def _mapping(parameters: ParametricStack, projection: Tensor, x: Tensor) -> Tensor:
    """H_res [token, n, n] of the first site for these streams."""
    projected = project(x.flatten(1), projection.float(), parameters.recipe.norm)
    rows, columns = parameters.base.shape[-2:]
    logits = parameters.scale[0] * projected.T.reshape(rows, columns, -1) + parameters.base[0].unsqueeze(-1)
    return finish(logits[None, None], parameters, slice(0, 1))[0].permute(2, 0, 1).float()

"""The mHC of mhc-lite's repository, and TBP-mHC, whose checkpoints have the same names and shapes.

`delta_logit` or the configuration's `hyper_conn_type` tells them apart; where neither is there, both fit and the user
has to choose. Columns are interleaved: entry (s, t) of the n x (v + n) logits is column s(v + n) + t of the projection.
"""

from collections.abc import Mapping, Sequence

from torch import Tensor

from mhcdiag.layouts import chosen
from mhcdiag.layouts.flat_alpha import configured_type, flat_recipe, modules_of, recognise_flat
from mhcdiag.layouts.interface import Recognition, Settings, Site
from mhcdiag.layouts.parametric_layout import ANY, INPUTS, ParametricLayout, ResidualPart
from mhcdiag.mappings.birkhoff import TransportPolytope
from mhcdiag.mappings.constraints import COLUMNS, LogSinkhorn
from mhcdiag.mappings.parametric import BlendTarget, Recipe
from mhcdiag.namedtensors import NamedTensors
from mhcdiag.results.catalogue import Evidence


def _find(checkpoint: NamedTensors, mixers: Sequence[str], *, transport: bool) -> Recognition | None:
    modules = modules_of(checkpoint, mixers, rank=2)
    if not modules:
        return None
    known = configured_type(checkpoint)
    has_delta = any("delta_logit" in roles for roles in modules.values())
    told = has_delta or bool(known)
    if told and (has_delta or "tbp" in known) is not transport:
        return None
    return recognise_flat(checkpoint, modules, model="TBP-mHC" if transport else "mHC")


def _find_mhc(checkpoint: NamedTensors, mixers: Sequence[str]) -> Recognition | None:
    return _find(checkpoint, mixers, transport=False)


def _find_tbp(checkpoint: NamedTensors, mixers: Sequence[str]) -> Recognition | None:
    return _find(checkpoint, mixers, transport=True)


def _streams(checkpoint: NamedTensors, site: Site) -> int:
    static = checkpoint.tensors[site.tensors["static_alpha"]].shape
    columns = checkpoint.tensors[site.tensors["dynamic_alpha_fn"]].shape[-1]
    return static[0] if len(static) == 2 and static[1] > static[0] and columns == static[0] * static[1] else 0


def _shapes(streams: int) -> Mapping[str, tuple[int, ...]]:
    return {
        "static_alpha": (streams, ANY),
        "residual_scale": (1,),
        "dynamic_alpha_fn": (INPUTS, ANY),
        "norm.gamma": (INPUTS,),
        "delta_logit": (),
    }


def _mhc_recipe(checkpoint: NamedTensors, _: Recognition, settings: Settings, assumed: list[str]) -> Recipe:
    iterations = chosen.iterations(checkpoint, settings, assumed, "sinkhorn_iters")
    return flat_recipe(LogSinkhorn(iterations=iterations, first=COLUMNS), settings)


def _tbp_recipe(checkpoint: NamedTensors, _: Recognition, settings: Settings, assumed: list[str]) -> Recipe:
    del checkpoint, assumed
    return flat_recipe(TransportPolytope(), settings)


def _residual(values: Mapping[str, Tensor], streams: int) -> ResidualPart:
    static = values["static_alpha"]
    projection = None
    if "dynamic_alpha_fn" in values:
        columns = values["dynamic_alpha_fn"].view(-1, *static.shape)[..., -streams:].flatten(1)
        projection = columns * (values["norm.gamma"] + 1)[:, None]
    delta = values["delta_logit"].sigmoid() if "delta_logit" in values else None
    return ResidualPart(base=static[:, -streams:], scale=values["residual_scale"], projection=projection, blend=delta)


ROLES = ("static_alpha", "residual_scale", "delta_logit")
DYNAMIC_ROLES = ("dynamic_alpha_fn", "norm.gamma")
MHC_LITE_MHC = ParametricLayout(
    name="mhc-lite-mhc",
    source="FFTYYY/mhc-lite, mhc.py; wz1119/KromHC, hyper_conn/mhc.py",
    tensors="`*.static_alpha` [n, v + n], `*.dynamic_alpha_fn` [nC, n(v + n)], `*.residual_scale`",
    mixing="log-domain Sinkhorn, columns then rows; applied transposed",
    evidence=Evidence.SOURCE,
    find=_find_mhc,
    streams=_streams,
    shapes=_shapes,
    recipe=_mhc_recipe,
    residual=_residual,
    roles=ROLES,
    dynamic_roles=DYNAMIC_ROLES,
    refused=("tanh", "sinkhorn_eps"),
)
TBP_MHC = ParametricLayout(
    name="tbp-mhc",
    source="alyubinin/tbp-mHC, hyper_conn/tbp_mhc.py; arXiv 2605.21724",
    tensors="as `mhc-lite-mhc`; told by `*.delta_logit` or `hyper_conn_type`, else `--layout`",
    mixing="transportation polytope, blended with 1/n by `delta_logit`; exact; applied transposed",
    evidence=Evidence.SOURCE,
    find=_find_tbp,
    streams=_streams,
    shapes=_shapes,
    recipe=_tbp_recipe,
    residual=_residual,
    roles=ROLES,
    dynamic_roles=DYNAMIC_ROLES,
    refused=("tanh", "sinkhorn_iters", "sinkhorn_eps"),
    blend_target=BlendTarget.UNIFORM,
)

"""mHC-lite and KromHC: one row of coefficients per site instead of a matrix of logits."""

from collections.abc import Callable, Mapping, Sequence

from torch import Tensor

from mhcdiag.layouts import checks as chosen
from mhcdiag.layouts.fused import (
    configured_type,
    flat_recipe,
    modules_of,
    recognise_flat,
    streams_of_beta,
    streams_of_site,
)
from mhcdiag.layouts.interface import Recognition, Settings, Site
from mhcdiag.layouts.parametric_layout import ANY, INPUTS, ParametricLayout, ResidualPart
from mhcdiag.mappings.birkhoff import KroneckerPairs, PermutationMixture, TransportPolytope, coefficients_of
from mhcdiag.mappings.constraints import COLUMNS, LogSinkhorn
from mhcdiag.mappings.parametric import BlendTarget, Recipe
from mhcdiag.namedtensors import NamedTensors
from mhcdiag.results.catalogue import Evidence

Kind = type[PermutationMixture] | type[KroneckerPairs]


def _find_kind(checkpoint: NamedTensors, mixers: Sequence[str], kind: Kind, model: str) -> Recognition | None:
    modules = modules_of(checkpoint, mixers, rank=1)
    first = next(iter(modules.values()), {})
    streams = streams_of_beta(checkpoint, first)
    if not modules or _kind(checkpoint.tensors[first["static_alpha"]].shape[0], streams) is not kind:
        return None
    return recognise_flat(checkpoint, modules, model=model)


def _kind(length: int, streams: int) -> Kind | None:
    """Which of the two has n*v + (n! or 2 log2 n) coefficients with the fewest views v; None where neither fits.

    With two streams they have the same coefficients and the same mathematics: mHC-lite has the word.
    """
    fits: list[tuple[int, int, Kind]] = []
    for order, kind in enumerate((PermutationMixture, KroneckerPairs)):
        if kind is KroneckerPairs and streams & (streams - 1):
            continue
        left = length - coefficients_of(kind, streams)
        if streams > 1 and left > 0 and left % streams == 0:
            fits.append((left // streams, order, kind))
    return min(fits)[2] if fits else None


def _streams(checkpoint: NamedTensors, site: Site) -> int:
    static, dynamic = (checkpoint.tensors[site.tensors[role]].shape for role in ("static_alpha", "dynamic_alpha_fn"))
    return streams_of_site(checkpoint, site) if static[-1:] == dynamic[-1:] else 0


def _find_lite(checkpoint: NamedTensors, mixers: Sequence[str]) -> Recognition | None:
    return _find_kind(checkpoint, mixers, PermutationMixture, "mHC-lite")


def _find_krom(checkpoint: NamedTensors, mixers: Sequence[str]) -> Recognition | None:
    return _find_kind(checkpoint, mixers, KroneckerPairs, "KromHC")


def _lite_recipe(checkpoint: NamedTensors, recognition: Recognition, settings: Settings, assumed: list[str]) -> Recipe:
    del assumed
    return flat_recipe(PermutationMixture(streams=streams_of_site(checkpoint, recognition.sites[0])), settings)


def _krom_recipe(checkpoint: NamedTensors, recognition: Recognition, settings: Settings, assumed: list[str]) -> Recipe:
    del checkpoint, recognition, assumed
    return flat_recipe(KroneckerPairs(), settings)


def _cut(kind: Kind) -> Callable[[Mapping[str, Tensor], int], ResidualPart]:
    def residual(values: Mapping[str, Tensor], streams: int) -> ResidualPart:
        count = coefficients_of(kind, streams)
        projection = None
        if "dynamic_alpha_fn" in values:
            projection = values["dynamic_alpha_fn"][:, -count:] * (values["norm.gamma"] + 1)[:, None]
        return ResidualPart(
            base=values["static_alpha"][None, -count:], scale=values["residual_scale"], projection=projection
        )

    return residual


def _shapes(streams: int) -> Mapping[str, tuple[int, ...]]:
    del streams
    return {"static_alpha": (ANY,), "residual_scale": (1,), "dynamic_alpha_fn": (INPUTS, ANY), "norm.gamma": (INPUTS,)}


ROLES = ("static_alpha", "residual_scale")
DYNAMIC_ROLES = ("dynamic_alpha_fn", "norm.gamma")
REFUSED = ("tanh", "sinkhorn_iters", "sinkhorn_eps")
MHC_LITE = ParametricLayout(
    name="mhc-lite",
    source="FFTYYY/mhc-lite, mhc_lite.py; arXiv 2601.05732",
    tensors="`*.static_alpha` [n*v + n!] beside `*.residual_scale`, `*.static_beta`",
    mixing="softmax over all permutation matrices; exact; applied transposed",
    evidence=Evidence.SOURCE,
    find=_find_lite,
    streams=_streams,
    shapes=_shapes,
    recipe=_lite_recipe,
    residual=_cut(PermutationMixture),
    roles=ROLES,
    dynamic_roles=DYNAMIC_ROLES,
    refused=REFUSED,
)
KROM_HC = ParametricLayout(
    name="kromhc",
    source="wz1119/KromHC, hyper_conn/Kromhc.py; arXiv 2601.21579",
    tensors="`*.static_alpha` [n*v + 2 log2 n] beside `*.residual_scale`, `*.static_beta`",
    mixing="Kronecker product of 2 x 2 matrices; exact and symmetric",
    evidence=Evidence.SOURCE,
    find=_find_krom,
    streams=_streams,
    shapes=_shapes,
    recipe=_krom_recipe,
    residual=_cut(KroneckerPairs),
    roles=ROLES,
    dynamic_roles=DYNAMIC_ROLES,
    refused=REFUSED,
)


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


def _sinkhorn_streams(checkpoint: NamedTensors, site: Site) -> int:
    static = checkpoint.tensors[site.tensors["static_alpha"]].shape
    columns = checkpoint.tensors[site.tensors["dynamic_alpha_fn"]].shape[-1]
    return static[0] if len(static) == 2 and static[1] > static[0] and columns == static[0] * static[1] else 0


def _sinkhorn_shapes(streams: int) -> Mapping[str, tuple[int, ...]]:
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


SINKHORN_ROLES = ("static_alpha", "residual_scale", "delta_logit")
MHC_LITE_MHC = ParametricLayout(
    name="mhc-lite-mhc",
    source="FFTYYY/mhc-lite, mhc.py; wz1119/KromHC, hyper_conn/mhc.py",
    tensors="`*.static_alpha` [n, v + n], `*.dynamic_alpha_fn` [nC, n(v + n)], `*.residual_scale`",
    mixing="log-domain Sinkhorn, columns then rows; applied transposed",
    evidence=Evidence.SOURCE,
    find=_find_mhc,
    streams=_sinkhorn_streams,
    shapes=_sinkhorn_shapes,
    recipe=_mhc_recipe,
    residual=_residual,
    roles=SINKHORN_ROLES,
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
    streams=_sinkhorn_streams,
    shapes=_sinkhorn_shapes,
    recipe=_tbp_recipe,
    residual=_residual,
    roles=SINKHORN_ROLES,
    dynamic_roles=DYNAMIC_ROLES,
    refused=("tanh", "sinkhorn_iters", "sinkhorn_eps"),
    blend_target=BlendTarget.UNIFORM,
)

"""The package `hyper-connections` (lucidrains): hyper-connections, and manifold-constrained ones (mHC, mHCv2).

Per site x_s is RMS-normalised stream by stream with weight gamma + 1, and alpha[s, :] = dynamic part of stream s +
`static_alpha`[s, :]. The first v columns feed the branch's v views, the last n mix: x_new[t] = sum_s alpha[s, v + t]
x_s, so rows are source streams. mHC constrains those n columns by exp and Sinkhorn, rows last: the columns of H_res
are exact. What is not stored (tanh, iterations) is assumed, and the report says so.
"""

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from mhcdiag.errors import LayoutError
from mhcdiag.layouts import checks
from mhcdiag.layouts.checks import describe_nonfinite, read_float, refuse_overrides, require_shape
from mhcdiag.layouts.interface import MixerNames, Overrides, Recognition, Site, StoredGates
from mhcdiag.layouts.readings import ParametricReading
from mhcdiag.layouts.spellings import Modules, find_modules, recognise_modules
from mhcdiag.layouts.stored_parts import AlphaGates
from mhcdiag.mappings.constraints import ExpSinkhorn
from mhcdiag.mappings.inputs import InputNorm, LogitFactor, logit_factor
from mhcdiag.mappings.interface import Orientation, Stack
from mhcdiag.mappings.parametric import Activation, ParametricStack, Recipe
from mhcdiag.namedtensors import NamedTensors, prefetch
from mhcdiag.results.inspection import Evidence

ROLES = (
    "static_alpha", "dynamic_alpha_fn", "dynamic_alpha_scale", "pre_branch_scale", "residual_scale", "norm.gamma",
    "static_beta", "dynamic_beta_fn", "dynamic_beta_scale", "h_post_scale",
)  # fmt: skip
WORDS = ("static_alpha", "dynamic_alpha", "static_beta", "dynamic_beta", "residual_scale")
NORM = InputNorm(per_stream=True, eps=1e-12, clamped=True)
SOURCE = "package hyper-connections 0.4.11"
FOREIGN = {"layer_norm.weight", "H_res_logits", "norm.weight"}
"""What other families (ByteDance, tokenbender, x-transformers) have beside parameters of the same names."""


def _sites(checkpoint: NamedTensors, mixers: MixerNames) -> Modules:
    """The modules that hold any of a site's own tensors; none where they belong to another family."""
    modules = find_modules(checkpoint, mixers, probes=ROLES, roles=(*ROLES, *FOREIGN))
    # Zaya and x-transformers scale their stream by a `residual_scale`, and have nothing else of these.
    alone = all(set(roles) <= {"residual_scale", *FOREIGN} for roles in modules.values())
    return {} if alone or any(FOREIGN & set(roles) for roles in modules.values()) else modules


def _streams(checkpoint: NamedTensors, site: Site) -> int:
    """Number of streams, from `static_alpha` [n, v + n]; fractions are refused, since they reorder its columns."""
    beta = site.tensors.get("dynamic_beta_fn")
    shape = checkpoint.tensors[beta].shape if beta is not None else ()
    static_beta = site.tensors.get("static_beta")
    v2_shape = checkpoint.tensors[static_beta].shape if static_beta is not None else ()
    # mHCv2 keeps an axis of fractions in `static_beta` [n, f, 1]; the others have it in `dynamic_beta_fn` [d, f] alone.
    fractions = v2_shape[1] if len(v2_shape) == 3 else shape[1] if len(shape) == 2 else 1
    if fractions != 1:
        raise LayoutError(
            checkpoint.path,
            found=f"site {site.name} splits its features into {fractions} fractions (num_fracs)",
            expected="num_fracs = 1",
            hint="fractional hyper-connections are not supported",
        )
    name = site.tensors["static_alpha"]
    alpha = checkpoint.tensors[name].shape
    if len(alpha) != 2 or alpha[1] <= alpha[0] or alpha[0] < 1:
        raise LayoutError(
            checkpoint.path,
            found=f"tensor {name} has shape {list(alpha)}",
            expected="[n, v + n] for n streams and v >= 1 views",
        )
    return alpha[0]


def _stack(recognition: Recognition, streams: int) -> Stack:
    return Stack(
        sites=tuple(site.name for site in recognition.sites),
        tensors=tuple(site.tensors["static_alpha"] for site in recognition.sites),
        streams=streams,
    )


def _assemble(
    checkpoint: NamedTensors, recognition: Recognition, recipe: Recipe, *, scale_role: str, dynamic: bool
) -> ParametricReading:
    """Read all sites: `static_alpha` and one scale, and for the input-dependent part the projection and gamma."""
    streams = _streams(checkpoint, recognition.sites[0])
    base: list[Tensor] = []
    scales: list[Tensor] = []
    factors: list[LogitFactor] = []
    nonfinite = []
    roles = ("static_alpha", scale_role, "dynamic_alpha_fn", "norm.gamma") if dynamic else ("static_alpha", scale_role)
    prefetch(checkpoint, [site.tensors[role] for site in recognition.sites for role in roles])
    for site in recognition.sites:
        _check_shapes(checkpoint, site, streams, recipe.proposals, scale_role)
        values = {role: read_float(checkpoint, site.tensors[role]) for role in roles}
        broken = describe_nonfinite(site, {site.tensors[role]: value for role, value in values.items()})
        nonfinite += [] if broken is None else [broken]
        base.append(values["static_alpha"][:, -streams:])
        scales.append(values[scale_role].reshape(()))
        if dynamic:
            columns = _residual_columns(values["dynamic_alpha_fn"], values["norm.gamma"], streams)
            factors.append(logit_factor(columns, keep=recipe.unconstrained))
    parameters = ParametricStack(
        stack=_stack(recognition, streams),
        depths=tuple(site.depth for site in recognition.sites),
        recipe=recipe,
        base=torch.stack(base),
        scale=torch.stack(scales),
        factors=tuple(factors) if dynamic else None,
    )
    return ParametricReading(parameters=parameters, nonfinite=tuple(nonfinite))


def _projection(checkpoint: NamedTensors, site: Site, streams: int) -> Tensor:
    alpha, gamma = (read_float(checkpoint, site.tensors[role]) for role in ("dynamic_alpha_fn", "norm.gamma"))
    return _residual_columns(alpha, gamma, streams)


def _residual_columns(alpha: Tensor, gamma: Tensor, streams: int) -> Tensor:
    """The last n columns, of one proposal after the other."""
    # The package's norm multiplies by gamma + 1, so that gamma starts at 0.
    projection = alpha[..., -streams:] * (gamma + 1)[:, None]
    return torch.cat(list(projection), dim=-1) if projection.ndim == 3 else projection


def _check_shapes(checkpoint: NamedTensors, site: Site, streams: int, proposals: int, scale_role: str) -> None:
    tensors = site.tensors
    columns = checkpoint.tensors[tensors["static_alpha"]].shape[-1]
    require_shape(checkpoint, tensors["static_alpha"], (streams, columns), meaning="n streams, v views + n streams")
    width = checkpoint.tensors[tensors["norm.gamma"]].shape[0]
    leading = (proposals,) if scale_role == "residual_scale" else ()
    require_shape(
        checkpoint,
        tensors["dynamic_alpha_fn"],
        (*leading, width, columns),
        meaning="proposals, width, v + n" if leading else "width, v + n",
    )
    if _streams(checkpoint, site) != streams:
        raise LayoutError(
            checkpoint.path,
            found=f"site {site.name} has {_streams(checkpoint, site)} streams",
            expected=f"{streams}, as the first site has",
        )
    scale = checkpoint.tensors[tensors[scale_role]].shape
    if scale not in ((), (1,)):
        require_shape(checkpoint, tensors[scale_role], (1,), meaning="one factor")


@dataclass(frozen=True, slots=True)
class HyperConnections:
    """Unconstrained hyper-connections: H_res = (scale * tanh(x W) + static)^T."""

    name: ClassVar[str] = "hyper-connections"
    source: ClassVar[str] = f"{SOURCE}, hyper_connections.py; arXiv 2409.19606, algorithm 2"
    tensors: ClassVar[str] = "lucidrains' package 0.4: `*.static_alpha`, `*.dynamic_alpha_{fn,scale}`, `*.norm.gamma`"
    mixing: ClassVar[str] = "unconstrained (HC), tanh or not; applied transposed"
    evidence: ClassVar[Evidence] = Evidence.PACKAGE
    starts_equal: ClassVar[bool] = False
    predicts: ClassVar[bool] = True
    words: ClassVar[tuple[str, ...]] = WORDS
    gates: ClassVar[tuple[StoredGates, ...]] = (AlphaGates(),)
    module_paths: ClassVar[tuple[str, ...]] = ("layers.0.",)

    def recognise(self, checkpoint: NamedTensors, mixers: MixerNames) -> Recognition | None:
        """See `Layout`; unlike mHC it has `dynamic_alpha_scale` and a two-dimensional `dynamic_alpha_fn`."""
        sites = _sites(checkpoint, mixers)
        if not any("dynamic_alpha_scale" in roles for roles in sites.values()):
            return None
        if any("residual_scale" in roles for roles in sites.values()):
            return None
        needed = ("static_alpha", "dynamic_alpha_fn", "dynamic_alpha_scale", "norm.gamma")
        return recognise_modules(checkpoint, sites, needed=needed, model="HC")

    def projection_of(self, checkpoint: NamedTensors, site: Site, streams: int) -> Tensor:
        """The residual projection [C, logit] of one site, shared by its streams, norm weight folded in."""
        return _projection(checkpoint, site, streams)

    def read(
        self, checkpoint: NamedTensors, recognition: Recognition, overrides: Overrides, *, dynamic: bool
    ) -> ParametricReading:
        """See `Layout`."""
        refuse_overrides(overrides, self.name, "sinkhorn_iters", "sinkhorn_eps")
        tanh = True if overrides.tanh is None else overrides.tanh
        recipe = Recipe(
            norm=NORM,
            activation=Activation.TANH if tanh else Activation.NONE,
            constraint=None,
            orientation=overrides.orientation or Orientation.SOURCE_ROWS,
        )
        reading = _assemble(checkpoint, recognition, recipe, scale_role="dynamic_alpha_scale", dynamic=dynamic)
        assumed = ("tanh on the input-dependent part (not stored; --tanh/--no-tanh)",) if overrides.tanh is None else ()
        return replace(reading, assumed=assumed)


@dataclass(frozen=True, slots=True)
class ManifoldHyperConnections:
    """mHC and mHCv2: H_res = Sinkhorn(scale * x W + static)^T, averaged over proposals."""

    name: ClassVar[str] = "hyper-connections-mhc"
    source: ClassVar[str] = f"{SOURCE}, manifold_constrained_hyper_connections.py and mHCv2.py"
    tensors: ClassVar[str] = "the same package, with `*.residual_scale`: mHC and mHCv2"
    mixing: ClassVar[str] = "exp Sinkhorn, columns then rows, averaged over proposals; applied transposed"
    evidence: ClassVar[Evidence] = Evidence.PACKAGE
    starts_equal: ClassVar[bool] = False
    predicts: ClassVar[bool] = True
    words: ClassVar[tuple[str, ...]] = WORDS
    gates: ClassVar[tuple[StoredGates, ...]] = (AlphaGates(),)
    module_paths: ClassVar[tuple[str, ...]] = ("layers.0.",)

    def recognise(self, checkpoint: NamedTensors, mixers: MixerNames) -> Recognition | None:
        """See `Layout`; unlike HC it has `residual_scale` and a three-dimensional `dynamic_alpha_fn`."""
        sites = _sites(checkpoint, mixers)
        with_scale = [roles for roles in sites.values() if "residual_scale" in roles]
        ranks = {
            len(checkpoint.tensors[roles["dynamic_alpha_fn"]].shape)
            for roles in with_scale
            if "dynamic_alpha_fn" in roles
        }
        if not with_scale or ranks - {3}:
            return None
        beta = with_scale[0].get("static_beta")
        second = beta is not None and len(checkpoint.tensors[beta].shape) == 3
        needed = ("static_alpha", "dynamic_alpha_fn", "residual_scale", "norm.gamma")
        return recognise_modules(checkpoint, sites, needed=needed, model="mHCv2" if second else "mHC")

    def projection_of(self, checkpoint: NamedTensors, site: Site, streams: int) -> Tensor:
        """The residual projection [C, logit] of one site, shared by its streams, norm weight folded in."""
        return _projection(checkpoint, site, streams)

    def read(
        self, checkpoint: NamedTensors, recognition: Recognition, overrides: Overrides, *, dynamic: bool
    ) -> ParametricReading:
        """See `Layout`."""
        refuse_overrides(overrides, self.name, "tanh")
        assumed = []
        iterations = overrides.sinkhorn_iters
        if iterations is None:
            config = checks.section(checkpoint)
            iterations = checks.integer(checkpoint, config, "sinkhorn_iters", "mhc_sinkhorn_iters")
        if iterations is None:
            iterations = ExpSinkhorn().iterations
            assumed.append(f"Sinkhorn iterations: {iterations} (not stored; --sinkhorn-iters)")
        eps = ExpSinkhorn().eps if overrides.sinkhorn_eps is None else overrides.sinkhorn_eps
        recipe = Recipe(
            norm=NORM,
            activation=Activation.NONE,
            constraint=ExpSinkhorn(iterations=iterations, eps=eps),
            orientation=overrides.orientation or Orientation.SOURCE_ROWS,
            proposals=checkpoint.tensors[recognition.sites[0].tensors["dynamic_alpha_fn"]].shape[0],
        )
        reading = _assemble(checkpoint, recognition, recipe, scale_role="residual_scale", dynamic=dynamic)
        return replace(reading, assumed=tuple(assumed))


HYPER_CONNECTIONS = HyperConnections()
MANIFOLD_HYPER_CONNECTIONS = ManifoldHyperConnections()

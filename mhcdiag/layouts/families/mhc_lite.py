"""mHC-lite and its kin (KromHC, TBP-mHC, and the mHC in their repositories): names of `hyper-connections`, flat norm.

The names are those of the package `hyper-connections`, but the input is normalised flattened, so that
`dynamic_alpha_fn` has two axes [n*C, columns] where the package's mHC has three. mHC-lite and KromHC keep one row of
coefficients per site instead of a matrix of logits: `static_alpha` then has one axis.
"""

from collections.abc import Callable, Mapping

from torch import Tensor

from mhcdiag.layouts import checks
from mhcdiag.layouts.checks import read_float
from mhcdiag.layouts.interface import MixerNames, Overrides, Recognition, Site
from mhcdiag.layouts.parametric_layout import ANY, INPUTS, ParametricLayout, ResidualPart
from mhcdiag.layouts.spellings import Modules, find_modules, recognise_modules
from mhcdiag.layouts.stored_parts import AlphaGates
from mhcdiag.mappings.birkhoff import KroneckerPairs, PermutationMixture, TransportPolytope, coefficients_of
from mhcdiag.mappings.constraints import COLUMNS, LogSinkhorn
from mhcdiag.mappings.inputs import InputNorm
from mhcdiag.mappings.interface import Constraint, Orientation
from mhcdiag.mappings.parametric import Activation, BlendTarget, Recipe
from mhcdiag.namedtensors import NamedTensors, prefetch
from mhcdiag.results.inspection import Evidence

CoefficientConstraint = type[PermutationMixture] | type[KroneckerPairs]

WORDS = ("static_alpha", "dynamic_alpha", "static_beta", "dynamic_beta", "residual_scale")
STORED = (
    "static_alpha", "dynamic_alpha_fn", "residual_scale", "norm.gamma", "static_beta", "delta_logit",
    "pre_branch_scale", "dynamic_beta_fn", "h_post_scale",
)  # fmt: skip
REQUIRED = ("static_alpha", "dynamic_alpha_fn", "residual_scale", "norm.gamma")
NORM = InputNorm(per_stream=False, eps=1e-12, clamped=True)
TYPE_KEY = "hyper_conn_type"
"""Configuration key of these repositories (mhc-lite, KromHC, tbp-mHC) for the variant."""


def _modules_of(checkpoint: NamedTensors, mixers: MixerNames, *, rank: int) -> Modules:
    """The modules of this family whose `static_alpha` has `rank` axes; none where any differs."""
    modules = find_modules(checkpoint, mixers, probes=("static_alpha", "residual_scale"), roles=STORED)
    with_scale = [roles for roles in modules.values() if "residual_scale" in roles]
    ranks = {len(_shape_of(checkpoint, roles, "static_alpha")) for roles in with_scale if "static_alpha" in roles}
    flat = {
        len(_shape_of(checkpoint, roles, "dynamic_alpha_fn")) for roles in with_scale if "dynamic_alpha_fn" in roles
    }
    return modules if ranks == {rank} and flat <= {2} else {}


def _recognise(checkpoint: NamedTensors, modules: Modules, *, model: str) -> Recognition:
    """The modules as sites in depth order."""
    return recognise_modules(checkpoint, modules, needed=REQUIRED, model=model)


def _streams_of_beta(checkpoint: NamedTensors, roles: Mapping[str, str]) -> int:
    """Number of streams from `static_beta` [n]; 0 where it is not there."""
    shape = _shape_of(checkpoint, roles, "static_beta") if "static_beta" in roles else ()
    return shape[0] if len(shape) == 1 else 0


def _streams_of_site(checkpoint: NamedTensors, site: Site) -> int:
    """The same for a recognised site."""
    return _streams_of_beta(checkpoint, site.tensors)


def _configured_type(checkpoint: NamedTensors) -> str:
    """`hyper_conn_type` in lower case; "" where the configuration has none."""
    return str((checkpoint.config or {}).get(TYPE_KEY, "")).lower()


def _recipe_with(constraint: Constraint, overrides: Overrides) -> Recipe:
    """The recipe of this family around one constraint."""
    return Recipe(
        norm=NORM,
        activation=Activation.NONE,
        constraint=constraint,
        orientation=overrides.orientation or Orientation.SOURCE_ROWS,
    )


def _shape_of(checkpoint: NamedTensors, roles: Mapping[str, str], role: str) -> tuple[int, ...]:
    return checkpoint.tensors[roles[role]].shape


def _find_kind(
    checkpoint: NamedTensors, mixers: MixerNames, kind: CoefficientConstraint, model: str
) -> Recognition | None:
    modules = _modules_of(checkpoint, mixers, rank=1)
    first = next(iter(modules.values()), {})
    streams = _streams_of_beta(checkpoint, first)
    if not modules or _kind(checkpoint.tensors[first["static_alpha"]].shape[0], streams) is not kind:
        return None
    return _recognise(checkpoint, modules, model=model)


def _kind(length: int, streams: int) -> CoefficientConstraint | None:
    """Which of the two has n*v + (n! or 2 log2 n) coefficients with the fewest views v; None where neither fits.

    With two streams they have the same coefficients and the same mathematics: mHC-lite has the word.
    """
    fits: list[tuple[int, int, CoefficientConstraint]] = []
    for order, kind in enumerate((PermutationMixture, KroneckerPairs)):
        if kind is KroneckerPairs and streams & (streams - 1):
            continue
        left = length - coefficients_of(kind, streams)
        if streams > 1 and left > 0 and left % streams == 0:
            fits.append((left // streams, order, kind))
    return min(fits)[2] if fits else None


def _streams(checkpoint: NamedTensors, site: Site) -> int:
    static, dynamic = (checkpoint.tensors[site.tensors[role]].shape for role in ("static_alpha", "dynamic_alpha_fn"))
    return _streams_of_site(checkpoint, site) if static[-1:] == dynamic[-1:] else 0


def _find_lite(checkpoint: NamedTensors, mixers: MixerNames) -> Recognition | None:
    return _find_kind(checkpoint, mixers, PermutationMixture, "mHC-lite")


def _find_krom(checkpoint: NamedTensors, mixers: MixerNames) -> Recognition | None:
    return _find_kind(checkpoint, mixers, KroneckerPairs, "KromHC")


def _lite_recipe(
    checkpoint: NamedTensors, recognition: Recognition, overrides: Overrides, assumed: list[str]
) -> Recipe:
    del assumed
    return _recipe_with(PermutationMixture(streams=_streams_of_site(checkpoint, recognition.sites[0])), overrides)


def _krom_recipe(
    checkpoint: NamedTensors, recognition: Recognition, overrides: Overrides, assumed: list[str]
) -> Recipe:
    del checkpoint, recognition, assumed
    return _recipe_with(KroneckerPairs(), overrides)


def _cut(kind: CoefficientConstraint) -> Callable[[Mapping[str, Tensor], int], ResidualPart]:
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
    words=WORDS,
    gates=(AlphaGates(),),
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
    words=WORDS,
    gates=(AlphaGates(),),
)


def _find(checkpoint: NamedTensors, mixers: MixerNames, *, transport: bool) -> Recognition | None:
    modules = _modules_of(checkpoint, mixers, rank=2)
    if not modules:
        return None
    known = _configured_type(checkpoint)
    has_delta = any("delta_logit" in roles for roles in modules.values())
    # TBP-mHC has the same shapes and writes `delta_logit` by default; without it the configuration decides, then the
    # values. Where all of them are silent both layouts fit, so that the user is asked.
    said = (has_delta or "tbp" in known) if has_delta or known else None
    recognition = _recognise(checkpoint, modules, model="TBP-mHC" if transport else "mHC")
    if said is None:
        said = _shown_transport(checkpoint, recognition)
    return None if said is not None and said is not transport else recognition


def _shown_transport(checkpoint: NamedTensors, recognition: Recognition) -> bool | None:
    """Whether the logits are those of a transportation polytope; None where they show nothing.

    TBP (arXiv 2605.21724) uses the logits [:n-1, :n-1] only. Its last row and column start at exactly zero and get no
    gradient, so that one non-zero value there belongs to mHC, and zeros beside trained logits belong to TBP. The static
    logits come first: mHC starts its off-diagonal ones at -8.
    """
    for role in ("static_alpha", "dynamic_alpha_fn"):
        names = [site.tensors[role] for site in recognition.sites if role in site.tensors]
        prefetch(checkpoint, names)
        is_used = False
        for site in recognition.sites:
            streams = _sinkhorn_streams(checkpoint, site)
            if not streams:
                return None  # reading it will say what is wrong with the shapes
            views = checkpoint.tensors[site.tensors["static_alpha"]].shape[1]
            logits = read_float(checkpoint, site.tensors[role]).reshape(-1, streams, views)[..., -streams:]
            if bool(logits[:, -1].any() | logits[:, :, -1].any()):
                return False
            is_used = is_used or bool(logits.any())
        if is_used:
            return True
    return None


def _find_mhc(checkpoint: NamedTensors, mixers: MixerNames) -> Recognition | None:
    return _find(checkpoint, mixers, transport=False)


def _find_tbp(checkpoint: NamedTensors, mixers: MixerNames) -> Recognition | None:
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


def _mhc_recipe(checkpoint: NamedTensors, _: Recognition, overrides: Overrides, assumed: list[str]) -> Recipe:
    iterations = checks.iterations(checkpoint, overrides, assumed, "sinkhorn_iters")
    return _recipe_with(LogSinkhorn(iterations=iterations, first=COLUMNS), overrides)


def _tbp_recipe(checkpoint: NamedTensors, _: Recognition, overrides: Overrides, assumed: list[str]) -> Recipe:
    del checkpoint, assumed
    return _recipe_with(TransportPolytope(), overrides)


def _residual(values: Mapping[str, Tensor], streams: int) -> ResidualPart:
    static = values["static_alpha"]
    projection = None
    if "dynamic_alpha_fn" in values:
        # Column s (v + n) + t holds entry (s, t): pre columns stand between the residual ones, unlike DeepSeek-V4's.
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
    words=WORDS,
    gates=(AlphaGates(),),
)
TBP_MHC = ParametricLayout(
    name="tbp-mhc",
    source="alyubinin/tbp-mHC, hyper_conn/tbp_mhc.py; arXiv 2605.21724",
    tensors="as `mhc-lite-mhc`; by `*.delta_logit`, `hyper_conn_type`, or zeros in the last row and column of logits",
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
    words=WORDS,
    gates=(AlphaGates(),),
    blend_target=BlendTarget.UNIFORM,
)

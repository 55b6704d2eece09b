"""What mhc-lite's repository and those that grew from it share: `static_alpha`, and the flattened streams as input.

The streams are RMS-normalised as one vector with weight gamma + 1. `mhc`, `mhc-lite`, KromHC and TBP have the same
parameter names; the shape of `static_alpha` tells the first from the next two, and `delta_logit` or the configuration
(`hyper_conn_type`) tells TBP. All are applied transposed: x_new[t] = sum_s A[s, t] x_s.
"""

from collections.abc import Mapping, Sequence

from mhcdiag.layouts.interface import Recognition, Settings, Site
from mhcdiag.layouts.module_sites import Modules, find_modules, recognise_modules
from mhcdiag.mappings.constraints import Constraint
from mhcdiag.mappings.inputs import InputNorm
from mhcdiag.mappings.interface import Orientation
from mhcdiag.mappings.parametric import Activation, Recipe
from mhcdiag.namedtensors import NamedTensors

ROLES = (
    "static_alpha", "dynamic_alpha_fn", "residual_scale", "norm.gamma", "static_beta", "delta_logit",
    "pre_branch_scale", "dynamic_beta_fn", "h_post_scale",
)  # fmt: skip
NEEDED = ("static_alpha", "dynamic_alpha_fn", "residual_scale", "norm.gamma")
NORM = InputNorm(per_stream=False, eps=1e-12, clamped=True)
TYPE_KEY = "hyper_conn_type"


def modules_of(checkpoint: NamedTensors, mixers: Sequence[str], *, rank: int) -> Modules:
    """The modules of this family whose `static_alpha` has `rank` axes; none where any differs."""
    modules = find_modules(checkpoint, mixers, probes=("static_alpha", "residual_scale"), roles=ROLES)
    with_scale = [roles for roles in modules.values() if "residual_scale" in roles]
    ranks = {len(_shape(checkpoint, roles, "static_alpha")) for roles in with_scale if "static_alpha" in roles}
    flat = {len(_shape(checkpoint, roles, "dynamic_alpha_fn")) for roles in with_scale if "dynamic_alpha_fn" in roles}
    return modules if ranks == {rank} and flat <= {2} else {}


def recognise_flat(checkpoint: NamedTensors, modules: Modules, *, model: str) -> Recognition:
    """The modules as sites in depth order."""
    return recognise_modules(checkpoint, modules, needed=NEEDED, model=model)


def streams_of_beta(checkpoint: NamedTensors, roles: Mapping[str, str]) -> int:
    """Number of streams from `static_beta` [n]; 0 where it is not there."""
    shape = _shape(checkpoint, roles, "static_beta") if "static_beta" in roles else ()
    return shape[0] if len(shape) == 1 else 0


def streams_of_site(checkpoint: NamedTensors, site: Site) -> int:
    """The same for a recognised site."""
    return streams_of_beta(checkpoint, site.tensors)


def configured_type(checkpoint: NamedTensors) -> str:
    """`hyper_conn_type` in lower case; "" where the configuration has none."""
    return str((checkpoint.config or {}).get(TYPE_KEY, "")).lower()


def flat_recipe(constraint: Constraint, settings: Settings) -> Recipe:
    """The recipe of this family around one constraint."""
    return Recipe(
        norm=NORM,
        activation=Activation.NONE,
        constraint=constraint,
        orientation=settings.orientation or Orientation.SOURCE_ROWS,
    )


def _shape(checkpoint: NamedTensors, roles: Mapping[str, str], role: str) -> tuple[int, ...]:
    return checkpoint.tensors[roles[role]].shape

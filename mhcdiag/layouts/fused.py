"""Parameters fused over pre, post and residual entries: n + n + n*n in this order, the last row by row."""

from collections.abc import Mapping, Sequence
from math import isqrt

from torch import Tensor

from mhcdiag.layouts.block_sites import Modules, find_modules, recognise_modules
from mhcdiag.layouts.interface import Recognition, Settings, Site
from mhcdiag.mappings.constraints import Constraint
from mhcdiag.mappings.inputs import InputNorm
from mhcdiag.mappings.interface import Orientation
from mhcdiag.mappings.parametric import Activation, Recipe
from mhcdiag.namedtensors import NamedTensors


def streams_of_rows(rows: int) -> int:
    """The n of n*n + 2n rows; 0 where there is no such n.

    >>> streams_of_rows(24), streams_of_rows(25)
    (4, 0)
    """
    streams = isqrt(rows + 1) - 1
    return streams if streams * (streams + 2) == rows else 0


def streams_of_fused(checkpoint: NamedTensors, site: Site, role: str, *, axis: int = 0) -> int:
    """Number of streams from the fused axis of one tensor."""
    shape = checkpoint.tensors[site.tensors[role]].shape
    return streams_of_rows(shape[axis]) if len(shape) > axis else 0


def streams_of_square(checkpoint: NamedTensors, site: Site, role: str) -> int:
    """Number of streams from a residual matrix [n, n] (or flattened, n*n)."""
    shape = checkpoint.tensors[site.tensors[role]].shape
    if len(shape) == 1:
        return isqrt(shape[0]) if isqrt(shape[0]) ** 2 == shape[0] else 0
    return shape[0] if len(shape) == 2 and shape[0] == shape[1] else 0


def residual_block(fused: Tensor, streams: int) -> Tensor:
    """The residual entries [n, n] of a fused vector."""
    return fused[2 * streams :].view(streams, streams)


def residual_columns(
    values: Mapping[str, Tensor], role: str, streams: int, *, input_major: bool = False, weight: Tensor | None = None
) -> Tensor | None:
    """The residual columns [n*C, n*n] of a fused projection, a norm's weight folded in; None where it was not read."""
    if role not in values:
        return None
    projection = values[role] if input_major else values[role].T
    columns = projection[:, 2 * streams :]
    return columns if weight is None else columns * weight[:, None]


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

"""tokenbender's mHC: one static matrix of logits per site, a log-domain Sinkhorn at a low temperature.

With the initial logits (0 on the diagonal, -8 off it) and the default temperature 0.05 the off-diagonal logits are
-160: H_res is the identity and its gradient zero.
"""

from collections.abc import Mapping

from torch import Tensor

from mhcdiag.errors import LayoutError
from mhcdiag.layouts import checks, stored_parts
from mhcdiag.layouts.interface import Overrides, Recognition, Site
from mhcdiag.layouts.parametric_layout import ParametricLayout, ResidualPart
from mhcdiag.layouts.spellings import ModuleSpelling
from mhcdiag.layouts.stored_parts import SeparateGates
from mhcdiag.mappings.birkhoff import Orthostochastic
from mhcdiag.mappings.constraints import ROWS, LogSinkhorn
from mhcdiag.mappings.inputs import InputNorm
from mhcdiag.mappings.interface import Constraint, GateActivation, Orientation
from mhcdiag.mappings.parametric import Activation, BlendTarget, Recipe
from mhcdiag.namedtensors import NamedTensors
from mhcdiag.results.inspection import Evidence

PROJECTIONS = ("sinkhorn", "orthostochastic")
DEFAULT_TEMPERATURE = 0.05
"""Of its code; neither temperature nor iterations are stored with the tensors."""


# Checkpoints of its hyper_connections.py with mhc=True also hold static_alpha and dynamic_*, which nothing uses then.
_ROLES = ("H_res_logits", "H_res_alpha_logit")
_SPELLING = ModuleSpelling(probes=_ROLES, roles=_ROLES, needed=_ROLES[:1], model="tokenbender")


def _streams(checkpoint: NamedTensors, site: Site) -> int:
    return stored_parts.streams_of_square(checkpoint, site, "H_res_logits")


def _shapes(streams: int) -> Mapping[str, tuple[int, ...]]:
    return {"H_res_logits": (streams, streams), "H_res_alpha_logit": ()}


def _recipe(checkpoint: NamedTensors, _: Recognition, overrides: Overrides, assumed: list[str]) -> Recipe:
    return Recipe(
        norm=InputNorm(per_stream=True, eps=1e-12, clamped=True),
        activation=Activation.NONE,
        constraint=_constraint(checkpoint, overrides, assumed),
        orientation=overrides.orientation or Orientation.SOURCE_ROWS,
    )


def _constraint(checkpoint: NamedTensors, overrides: Overrides, assumed: list[str]) -> Constraint:
    config = checkpoint.config or {}
    projection = config.get("mhc_h_res_proj")
    if projection is None:
        projection = PROJECTIONS[0]
        assumed.append("projection: sinkhorn (mhc_h_res_proj is not in the checkpoint's config)")
    if projection not in PROJECTIONS:
        raise LayoutError(
            checkpoint.path, found=f"config says mhc_h_res_proj = {projection!r}", expected=" or ".join(PROJECTIONS)
        )
    if projection == "orthostochastic":
        return Orthostochastic()
    temperature = checks.positive(checkpoint, config, "sinkhorn_tau", "mhc_tau")
    if not temperature:
        temperature = DEFAULT_TEMPERATURE
        assumed.append(f"temperature of the logits: {temperature:g} (sinkhorn_tau is not in the checkpoint's config)")
    iterations = checks.iterations(checkpoint, overrides, assumed, "sinkhorn_iters", "mhc_num_iters", default=10)
    return LogSinkhorn(iterations=iterations, first=ROWS, temperature=temperature)


def _residual(values: Mapping[str, Tensor], streams: int) -> ResidualPart:
    del streams
    blend = values["H_res_alpha_logit"].sigmoid() if "H_res_alpha_logit" in values else None
    return ResidualPart(base=values["H_res_logits"], blend=None if blend is None else 1 - blend)


def _notes(checkpoint: NamedTensors) -> tuple[str, ...]:
    if not (checkpoint.config or {}).get("mhc_bypass_stream"):
        return ()
    return ("the bypass stream of this model (mhc_bypass_stream) is not mixed and not part of these mappings",)


TOKENBENDER = ParametricLayout(
    name="tokenbender",
    source="tokenbender/mHC-manifold-constrained-hyper-connections, hyper_connections.py and hyper_connections_mhc.py",
    tensors="`*.H_res_logits`",
    mixing="static; log-domain Sinkhorn of logits / tau, or orthostochastic, by its config; applied transposed",
    evidence=Evidence.SOURCE,
    find=_SPELLING.find,
    streams=_streams,
    shapes=_shapes,
    recipe=_recipe,
    residual=_residual,
    roles=("H_res_logits", "H_res_alpha_logit"),
    refused=("tanh", "sinkhorn_eps"),
    blend_target=BlendTarget.IDENTITY,
    notes=_notes,
    gates=(SeparateGates("H_res_logits", gate=GateActivation.SOFTMAX),),  # its weights add up to 1
)

"""mhc-pytorch: streams are made and collapsed inside every layer, so that no composite mapping exists.

Each layer repeats one vector n times, mixes the equal copies and averages them. Mixing equal copies by a matrix of row
sums 1 changes nothing, and no stream lives from one layer to the next: products of these H_res are formal numbers.
"""

from collections.abc import Mapping

from torch import Tensor

from mhcdiag.layouts import checks, stored_parts
from mhcdiag.layouts.interface import Overrides, Recognition, Site
from mhcdiag.layouts.parametric_layout import INPUTS, ParametricLayout, ResidualPart
from mhcdiag.layouts.spellings import ModuleSpelling
from mhcdiag.layouts.stored_parts import SeparateGates
from mhcdiag.mappings.constraints import ROWS, ExpSinkhorn, Guard
from mhcdiag.mappings.inputs import InputNorm
from mhcdiag.mappings.interface import Orientation
from mhcdiag.mappings.parametric import Activation, Recipe
from mhcdiag.namedtensors import NamedTensors
from mhcdiag.results.inspection import Evidence

NOTE = (
    "mhc-pytorch makes its streams inside every layer and collapses them at its end: no stream reaches the next layer, "
    "so these composites are formal numbers and no gate judges them (composes: false)"
)


_ROLES = ("phi_res.weight", "phi_res.bias", "b_res", "alpha_res")
_SPELLING = ModuleSpelling(probes=_ROLES[:2], roles=_ROLES, needed=_ROLES, model="mhc-pytorch")


def _streams(checkpoint: NamedTensors, site: Site) -> int:
    return stored_parts.streams_of_square(checkpoint, site, "b_res")


def _shapes(streams: int) -> Mapping[str, tuple[int, ...]]:
    entries = streams * streams
    return {
        "b_res": (streams, streams),
        "alpha_res": (1,),
        "phi_res.bias": (entries,),
        "phi_res.weight": (entries, INPUTS),
    }


def _recipe(checkpoint: NamedTensors, _: Recognition, overrides: Overrides, assumed: list[str]) -> Recipe:
    return Recipe(
        norm=InputNorm(per_stream=False, eps=1.1920929e-07),  # torch's default for float32
        activation=Activation.NONE,
        constraint=ExpSinkhorn(
            iterations=checks.iterations(checkpoint, overrides, assumed),
            eps=checks.sinkhorn_eps(checkpoint, overrides, assumed, default=0.0),
            first=ROWS,
            guard=Guard.ADDED,
            shift=(),
        ),
        orientation=overrides.orientation or Orientation.TARGET_ROWS,
    )


def _residual(values: Mapping[str, Tensor], streams: int) -> ResidualPart:
    bias = values["alpha_res"] * values["phi_res.bias"]
    return ResidualPart(
        base=bias.view(streams, streams) + values["b_res"],
        scale=values["alpha_res"],
        projection=values["phi_res.weight"].T if "phi_res.weight" in values else None,
    )


MHC_PYTORCH = ParametricLayout(
    name="mhc-pytorch",
    source="package mhc-pytorch 0.2.3, hyper_connection.py",
    tensors="`*.{phi_res.weight,phi_res.bias,b_res,alpha_res}`",
    mixing="exp Sinkhorn, rows then columns; streams end within each layer, so nothing is judged",
    evidence=Evidence.SOURCE,
    find=_SPELLING.find,
    streams=_streams,
    shapes=_shapes,
    recipe=_recipe,
    residual=_residual,
    roles=("b_res", "alpha_res", "phi_res.bias"),
    dynamic_roles=("phi_res.weight",),
    notes=lambda _: (NOTE,),
    composes=False,
    words=("phi_res", "phi_pre", "phi_post", "b_res", "alpha_res"),
    gates=(SeparateGates("b_res"),),
)

"""mhc-pytorch: streams are made and collapsed inside every layer, so that no composite mapping exists.

Each layer repeats one vector n times, mixes the equal copies and averages them. Mixing equal copies by a matrix of row
sums 1 changes nothing, and no stream lives from one layer to the next: products of these H_res are formal numbers.
"""

from collections.abc import Mapping, Sequence

from torch import Tensor

from mhcdiag.layouts import checks as chosen
from mhcdiag.layouts import fused
from mhcdiag.layouts.block_sites import find_modules, recognise_modules
from mhcdiag.layouts.interface import Recognition, Settings, Site
from mhcdiag.layouts.parametric_layout import INPUTS, ParametricLayout, ResidualPart
from mhcdiag.mappings.constraints import ROWS, ExpSinkhorn, Guard
from mhcdiag.mappings.inputs import InputNorm
from mhcdiag.mappings.interface import Orientation
from mhcdiag.mappings.parametric import Activation, Recipe
from mhcdiag.namedtensors import NamedTensors
from mhcdiag.results.catalogue import Evidence

NOTE = (
    "mhc-pytorch makes its streams inside every layer and collapses them at its end: no stream reaches the next layer, "
    "so these composites are formal numbers and no gate judges them (composes: false)"
)


def _find(checkpoint: NamedTensors, mixers: Sequence[str]) -> Recognition | None:
    roles = ("phi_res.weight", "phi_res.bias", "b_res", "alpha_res")
    modules = find_modules(checkpoint, mixers, probes=roles[:2], roles=roles)
    return recognise_modules(checkpoint, modules, needed=roles, model="mhc-pytorch") if modules else None


def _streams(checkpoint: NamedTensors, site: Site) -> int:
    return fused.streams_of_square(checkpoint, site, "b_res")


def _shapes(streams: int) -> Mapping[str, tuple[int, ...]]:
    entries = streams * streams
    return {
        "b_res": (streams, streams),
        "alpha_res": (1,),
        "phi_res.bias": (entries,),
        "phi_res.weight": (entries, INPUTS),
    }


def _recipe(checkpoint: NamedTensors, _: Recognition, settings: Settings, assumed: list[str]) -> Recipe:
    return Recipe(
        norm=InputNorm(per_stream=False, eps=1.1920929e-07),  # torch's default for float32
        activation=Activation.NONE,
        constraint=ExpSinkhorn(
            iterations=chosen.iterations(checkpoint, settings, assumed),
            eps=chosen.sinkhorn_eps(checkpoint, settings, assumed, default=0.0),
            first=ROWS,
            guard=Guard.ADDED,
            shift=(),
        ),
        orientation=settings.orientation or Orientation.TARGET_ROWS,
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
    find=_find,
    streams=_streams,
    shapes=_shapes,
    recipe=_recipe,
    residual=_residual,
    roles=("b_res", "alpha_res", "phi_res.bias"),
    dynamic_roles=("phi_res.weight",),
    notes=lambda _: (NOTE,),
    composes=False,
)

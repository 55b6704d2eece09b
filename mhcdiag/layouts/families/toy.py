"""Checkpoints of `mhcdiag toy`: our own layout, documented here and in the README.

Per site `blocks.{b}.{attn|ffn}.hc.*`. Hyper-connections: `theta_res` [n, C], `alpha_res` [], `b_res` [n, n]; mHC:
`phi_res` [n n, n C], `alpha_res`, `b_res` [n, n], and mHC-lite with n! rows and entries instead; identity-hc has none
of them. Rows are target streams. The other roles (`*_pre`, `*_post`) do not enter the gain and may be missing. Topology
and Sinkhorn iterations stand in the file's metadata under `mhcdiag_toy`, and in config.json.
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from mhcdiag.errors import LayoutError
from mhcdiag.layouts import checks
from mhcdiag.layouts.checks import (
    TOY_METADATA,
    describe_nonfinite,
    read_float,
    refuse_overrides,
    require_layers,
    require_shape,
)
from mhcdiag.layouts.interface import MixerNames, Overrides, Recognition, Site, StoredGates
from mhcdiag.layouts.readings import ParametricReading, Reading, UnmixedReading
from mhcdiag.layouts.stored_parts import SeparateGates
from mhcdiag.mappings.birkhoff import PermutationMixture
from mhcdiag.mappings.constraints import SoftmaxSinkhorn
from mhcdiag.mappings.inputs import InputNorm, logit_factor
from mhcdiag.mappings.interface import Constraint, Orientation, Stack
from mhcdiag.mappings.parametric import Activation, ParametricStack, Recipe
from mhcdiag.namedtensors import NamedTensors
from mhcdiag.results.inspection import Evidence

RMS_EPS = 1e-6
_ROLE = re.compile(r"^blocks\.(?P<block>\d+)\.(?P<kind>attn|ffn)\.hc\.(?P<role>\w+)$")
PROJECTIONS = {"hc": "theta_res", "mhc": "phi_res", "mhc-lite": "phi_res"}
"""The projection behind H_res, by topology."""


@dataclass(frozen=True, slots=True)
class Toy:
    """All mixing topologies of the toy models, and identity-hc."""

    name: ClassVar[str] = "toy"
    source: ClassVar[str] = "mhcdiag README, section 'Toy models'"
    tensors: ClassVar[str] = "`blocks.N.{attn,ffn}.hc.*`, and a topology in metadata or config.json"
    mixing: ClassVar[str] = "by topology: unconstrained, softmax Sinkhorn, weighted permutations or none"
    evidence: ClassVar[Evidence] = Evidence.OWN
    words: ClassVar[tuple[str, ...]] = ("phi_res", "b_res", "alpha_res")
    gates: ClassVar[tuple[StoredGates, ...]] = (SeparateGates("b_res"),)
    module_paths: ClassVar[tuple[str, ...]] = ("",)

    def recognise(self, checkpoint: NamedTensors, mixers: MixerNames) -> Recognition | None:
        """See `Layout`; the names give it away, and the topology stands in metadata or config.json."""
        sites: dict[tuple[int, str], dict[str, str]] = {}
        for name in mixers.tensors:
            match = _ROLE.match(name)
            if match is not None:
                sites.setdefault((int(match["block"]), match["kind"]), {})[match["role"]] = name
        if not sites:
            return None
        config = _config(checkpoint)
        topology = config.get("topology")
        if topology not in (*PROJECTIONS, "identity-hc"):
            raise LayoutError(
                checkpoint.path,
                found=f"tensors of a toy model, and topology {topology!r}",
                expected=f"one of {', '.join((*PROJECTIONS, 'identity-hc'))} in the metadata or in config.json",
            )
        count = checks.integer(checkpoint, config, "num_hidden_layers")
        for kind in ("attn", "ffn"):
            require_layers(checkpoint, [b for b, k in sites if k == kind], count=count, what=f"{kind} connection")
        ordered = sorted(sites)
        return Recognition(
            model=str(topology),
            sites=tuple(
                Site(name=f"{block}.{kind}", tensors=sites[block, kind], depth=depth)
                for depth, (block, kind) in enumerate(ordered)
            ),
        )

    def read(
        self, checkpoint: NamedTensors, recognition: Recognition, overrides: Overrides, *, dynamic: bool
    ) -> Reading:
        """See `Layout`."""
        topology, config = recognition.model, _config(checkpoint)
        if topology != "mhc":
            refuse_overrides(overrides, f"{self.name} ({topology})", "sinkhorn_iters", "sinkhorn_eps")
        refuse_overrides(overrides, self.name, "orientation")
        if topology != "hc":
            refuse_overrides(overrides, f"{self.name} ({topology})", "tanh")
        streams = checks.integer(checkpoint, config, "streams")
        if streams is None:
            raise LayoutError(checkpoint.path, found="no number of streams", expected="'streams' in the metadata")
        if topology == "identity-hc":
            return _identity(recognition, streams)
        iterations = checks.integer(checkpoint, config, "sinkhorn_iters")
        recipe = _recipe(topology, streams, iterations, overrides)
        return _assemble(checkpoint, recognition, recipe, streams=streams, dynamic=dynamic)


def _config(checkpoint: NamedTensors) -> Mapping[str, Any]:
    """The metadata's word over that of a config.json, which may belong to another checkpoint of the folder."""
    text = checkpoint.metadata.get(TOY_METADATA)
    if text is None:
        return checks.section(checkpoint)
    try:
        found = json.loads(text)
    except ValueError as error:
        raise LayoutError(checkpoint.path, found=f"metadata key '{TOY_METADATA}' is not JSON") from error
    if not isinstance(found, dict):
        raise LayoutError(checkpoint.path, found=f"metadata key '{TOY_METADATA}' is no JSON object")
    return found


def _identity(recognition: Recognition, streams: int) -> Reading:
    stack = Stack(
        sites=tuple(site.name for site in recognition.sites),
        tensors=tuple(next(iter(site.tensors.values())) for site in recognition.sites),
        streams=streams,
    )
    note = "identity-hc never mixes its streams: every H_res is the identity, so the gain is 1 by construction"
    return UnmixedReading(stack=stack, notes=(note,))


def _recipe(topology: str, streams: int, iterations: int | None, overrides: Overrides) -> Recipe:
    """Stored rows are sources here, since DeepSeek-V4's iteration, which ours is, holds them so."""
    constraint: Constraint | None = None
    if topology == "mhc":
        default = SoftmaxSinkhorn()
        constraint = SoftmaxSinkhorn(
            iterations=overrides.sinkhorn_iters or iterations or default.iterations,
            eps=default.eps if overrides.sinkhorn_eps is None else overrides.sinkhorn_eps,
        )
    if topology == "mhc-lite":
        constraint = PermutationMixture(streams=streams)
    return Recipe(
        norm=InputNorm(per_stream=topology == "hc", eps=RMS_EPS),
        activation=Activation.TANH if topology == "hc" and overrides.tanh is not False else Activation.NONE,
        constraint=constraint,
        orientation=Orientation.TARGET_ROWS if topology == "mhc-lite" else Orientation.SOURCE_ROWS,
    )


def _assemble(
    checkpoint: NamedTensors, recognition: Recognition, recipe: Recipe, *, streams: int, dynamic: bool
) -> Reading:
    projection_role = PROJECTIONS[recognition.model]
    roles = ("b_res", "alpha_res", projection_role) if dynamic else ("b_res", "alpha_res")
    base, scales, factors, nonfinite = [], [], [], []
    for site in recognition.sites:
        _check(checkpoint, site, recognition.model, streams)
        values = {role: read_float(checkpoint, site.tensors[role]) for role in roles}
        broken = describe_nonfinite(site, {site.tensors[role]: value for role, value in values.items()})
        nonfinite += [] if broken is None else [broken]
        base.append(_stored_base(values["b_res"], recognition.model))
        scales.append(values["alpha_res"])
        if dynamic:
            columns = _columns(values[projection_role], recognition.model, streams)
            factors.append(logit_factor(columns, keep=recipe.unconstrained))
    stack = Stack(
        sites=tuple(site.name for site in recognition.sites),
        tensors=tuple(site.tensors["b_res"] for site in recognition.sites),
        streams=streams,
    )
    parameters = ParametricStack(
        stack=stack,
        depths=tuple(site.depth for site in recognition.sites),
        recipe=recipe,
        base=torch.stack(base),
        scale=torch.stack(scales),
        factors=tuple(factors) if dynamic else None,
    )
    return ParametricReading(parameters=parameters, nonfinite=tuple(nonfinite))


def _check(checkpoint: NamedTensors, site: Site, topology: str, streams: int) -> None:
    projection = PROJECTIONS[topology]
    missing = [role for role in ("b_res", "alpha_res", projection) if role not in site.tensors]
    if missing:
        raise LayoutError(
            checkpoint.path, found=f"site {site.name} has no {missing[0]}", expected=f"all that {topology} needs"
        )
    logits = math.factorial(streams) if topology == "mhc-lite" else streams * streams
    rows = streams if topology == "hc" else logits
    base = (logits,) if topology == "mhc-lite" else (streams, streams)
    require_shape(checkpoint, site.tensors["b_res"], base, meaning=f"{streams} streams")
    require_shape(checkpoint, site.tensors["alpha_res"], (), meaning="one factor")
    require_shape(checkpoint, site.tensors[projection], (rows, -1), meaning=f"{streams} streams")


def _stored_base(b_res: Tensor, topology: str) -> Tensor:
    return b_res.unsqueeze(0) if topology == "mhc-lite" else b_res.T


def _columns(projection: Tensor, topology: str, streams: int) -> Tensor:
    """The projection as [input, logit], logits in the order of the stored matrix, row by row."""
    if topology == "mhc":
        projection = projection.view(streams, streams, -1).transpose(0, 1).flatten(0, 1)
    return projection.T


TOY = Toy()

"""AltUp with LAuReL: Gemma 3n. Four streams, of which a layer reads one, mixed by a prediction and a correction.

Tensors of layer l: `altup.prediction_coefs.weight` [n n, n], row i n + j holding the weights of stream j in the
prediction of stream i; `altup.correction_coefs.weight` [n, n]; `altup.modality_router.weight` [n, C] behind
`altup.router_norm.weight` [C]. `altup_projections` and `altup_unembed_projections` make and join the streams.
"""

import re
from dataclasses import dataclass
from math import isqrt
from typing import ClassVar

from torch import Tensor

from mhcdiag.errors import LayoutError
from mhcdiag.layouts import checks
from mhcdiag.layouts.checks import (
    describe_nonfinite,
    model_type,
    read_float,
    refuse_overrides,
    require_layers,
    require_shape,
)
from mhcdiag.layouts.interface import MixerNames, Overrides, Recognition, Site, StoredGates
from mhcdiag.layouts.plain_names import WRAPPERS, grouped
from mhcdiag.layouts.plain_proof import unexplained_tensors
from mhcdiag.layouts.readings import Reading, SampledReading
from mhcdiag.layouts.spellings import LAYER_KEYS
from mhcdiag.mappings.altup import AltUpSite, AltUpStack
from mhcdiag.mappings.bounds import entrywise_bounds
from mhcdiag.mappings.inputs import logit_factor
from mhcdiag.mappings.interface import Stack
from mhcdiag.namedtensors import NamedTensors, prefetch
from mhcdiag.results.inspection import Evidence

ROLES = {
    "prediction_coefs.weight": "predict",
    "correction_coefs.weight": "correct",
    "modality_router.weight": "router",
    "router_norm.weight": "norm",
}
_ROLE = re.compile(r"^(?P<path>(?:.*\.)?layers)\.(?P<layer>\d+)\.altup\.(?P<role>.+)$")
_OWN = re.compile(r"(?:^|\.)(?:altup|laurel|altup_projections|altup_unembed_projections)\.")
BOUND = "norm of the product of the largest |entries| over all inputs, since |tanh| <= 1; loose for deep stacks"
NOTE = (
    "AltUp: H = (I + (1/sqrt 2 - 1)(1 + c) e_a^T)(I + R) with silent branches; LAuReL keeps 1/sqrt 2 of the active "
    "stream, so that H is not the identity even where all coefficients are zero"
)


@dataclass(frozen=True, slots=True)
class AltUp:
    """Gemma 3n."""

    name: ClassVar[str] = "altup"
    source: ClassVar[str] = "transformers gemma3n (Gemma3nTextAltUp, Gemma3nTextDecoderLayer)"
    tensors: ClassVar[str] = "`layers.N.altup.{prediction_coefs,correction_coefs,modality_router,router_norm}.weight`"
    mixing: ClassVar[str] = "unconstrained: prediction, 1/sqrt 2 by LAuReL, correction; tanh router"
    evidence: ClassVar[Evidence] = Evidence.PACKAGE
    words: ClassVar[tuple[str, ...]] = (
        "altup", "altup_projections", "altup_unembed_projections", "prediction_coefs", "correction_coefs", "laurel",
    )  # fmt: skip
    gates: ClassVar[tuple[StoredGates, ...]] = ()
    module_paths: ClassVar[tuple[str, ...]] = ("",)

    def recognise(self, checkpoint: NamedTensors, mixers: MixerNames) -> Recognition | None:
        """See `Layout`."""
        layers: dict[int, dict[str, str]] = {}
        stacks = set()
        for name in mixers.tensors:
            match = _ROLE.match(WRAPPERS.sub("", name))
            if match is not None:
                stacks.add(match["path"])
                layers.setdefault(int(match["layer"]), {})[ROLES.get(match["role"], match["role"])] = name
        if not layers:
            return None
        if len(stacks) > 1:
            found = f"AltUp on several stacks: {', '.join(sorted(stacks))}"
            raise LayoutError(checkpoint.path, found=found, expected="one stack of layers")
        config = checks.section(checkpoint, "text_config")
        count = checks.integer(checkpoint, config, *LAYER_KEYS)
        require_layers(checkpoint, sorted(layers), count=count, what="AltUp coefficients")
        for layer, tensors in layers.items():
            missing = [role for role in ROLES.values() if role not in tensors]
            if missing:
                raise LayoutError(
                    checkpoint.path,
                    found=f"layer {layer} has {next(iter(tensors.values()))} but no {missing[0]} beside it",
                    expected=f"{', '.join(ROLES)} for every layer",
                    hint="is a shard missing?",
                )
        return Recognition(
            model=model_type(checkpoint),
            sites=tuple(
                Site(name=f"{layer}.layer", tensors=layers[layer], depth=depth)
                for depth, layer in enumerate(sorted(layers))
            ),
            excluded=tuple(name for name in mixers.tensors if "altup_" in name.partition(".layers.")[0]),
            assumed=_beside(checkpoint, mixers),
        )

    def read(
        self, checkpoint: NamedTensors, recognition: Recognition, overrides: Overrides, *, dynamic: bool
    ) -> Reading:
        """See `Layout`."""
        del dynamic  # the router is small
        refuse_overrides(overrides, self.name, "orientation", "sinkhorn_iters", "sinkhorn_eps", "tanh")
        config = checks.section(checkpoint, "text_config")
        streams = _streams(checkpoint, recognition.sites[0])
        active = checks.integer(checkpoint, config, "altup_active_idx", at_least=0)
        assumed = [] if active is not None else ["active stream: 0 (altup_active_idx is not in config.json)"]
        if active is not None and active >= streams:
            found = f"config.json says altup_active_idx = {active}"
            raise LayoutError(checkpoint.path, found=found, expected=f"one of {streams} streams")
        eps = checks.positive(checkpoint, config, "rms_norm_eps")
        prefetch(checkpoint, [site.tensors[role] for site in recognition.sites for role in ROLES.values()])
        sites, nonfinite = [], []
        for site in recognition.sites:
            _check_shapes(checkpoint, site, streams)
            values = {role: read_float(checkpoint, site.tensors[role]) for role in ROLES.values()}
            broken = describe_nonfinite(site, {site.tensors[role]: value for role, value in values.items()})
            nonfinite += [] if broken is None else [broken]
            sites.append(_site(values, streams))
        stack = AltUpStack(
            stack=Stack(
                sites=tuple(site.name for site in recognition.sites),
                tensors=tuple(site.tensors["predict"] for site in recognition.sites),
                streams=streams,
            ),
            depths=tuple(site.depth for site in recognition.sites),
            sites=tuple(sites),
            active=active or 0,
            eps=1e-6 if eps is None else eps,
        )
        return SampledReading(
            static=stack.static(),
            draw=stack.random,
            limits=lambda: entrywise_bounds([site.largest(stack.active) for site in sites], why=BOUND),
            assumed=tuple(assumed),
            notes=(NOTE,),
            nonfinite=tuple(nonfinite),
        )


def _beside(checkpoint: NamedTensors, mixers: MixerNames) -> tuple[str, ...]:
    """Refuse what nothing explains beside AltUp, unless the user says that it leaves the streams alone."""
    unknown = [info for info in unexplained_tensors(checkpoint) if not _OWN.search(info.name)]
    if not unknown:
        return ()
    shown = ", ".join(name for name, _ in list(grouped(unknown))[:3])
    if mixers.assume_plain:
        return (f"{shown} leave the streams alone (--assume plain)",)
    raise LayoutError(
        checkpoint.path,
        found=f"AltUp, and beside it {shown}",
        expected="nothing else that may touch the streams",
        hint="if these leave them alone, say --assume plain",
    )


def _streams(checkpoint: NamedTensors, site: Site) -> int:
    shape = checkpoint.tensors[site.tensors["correct"]].shape
    return shape[0] if len(shape) == 2 else 0


def _check_shapes(checkpoint: NamedTensors, site: Site, streams: int) -> None:
    rows = checkpoint.tensors[site.tensors["predict"]].shape
    if streams < 1 or isqrt(rows[0] if rows else 0) != streams:
        found = f"tensor {site.tensors['predict']} has shape {list(rows)}"
        raise LayoutError(checkpoint.path, found=found, expected="[n n, n] for n streams, as at the first layer")
    require_shape(checkpoint, site.tensors["predict"], (streams * streams, streams), meaning=f"{streams} streams")
    require_shape(checkpoint, site.tensors["correct"], (streams, streams), meaning=f"{streams} streams")
    require_shape(checkpoint, site.tensors["router"], (streams, -1), meaning=f"{streams} streams")
    width = checkpoint.tensors[site.tensors["router"]].shape[1]
    require_shape(checkpoint, site.tensors["norm"], (width,), meaning="the width of the router")


def _site(values: dict[str, Tensor], streams: int) -> AltUpSite:
    width = values["router"].shape[1]
    return AltUpSite(
        predict=values["predict"].double().view(streams, streams, streams),
        correct=values["correct"].double(),
        router=logit_factor((values["router"] * values["norm"]).T / width),
    )


ALTUP = AltUp()

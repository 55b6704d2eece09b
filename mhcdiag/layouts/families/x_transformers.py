"""x-transformers' own hyper-connections: names of the original ones, and a Sinkhorn iteration that makes all ones.

From version 2.14.0 on `HyperConnection.prepare` views the residual logits of each source stream [n] as [1, n] before
it normalises them, once over the axis of length 1 (softmax, then the L1 norm that ends each iteration). Every entry of
H_res is therefore 1, whatever the parameters and the input: one site multiplies the sum of the streams by n, and the
gain of a stack is n^sites. Earlier versions write the same names and use the logits as they are.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import torch

from mhcdiag.errors import LayoutError
from mhcdiag.layouts.checks import describe_nonfinite, read_float, refuse_overrides
from mhcdiag.layouts.families.bytedance import BYTEDANCE
from mhcdiag.layouts.interface import MixerNames, Overrides, Recognition, Site, StoredGates
from mhcdiag.layouts.readings import ParametricReading, Reading
from mhcdiag.layouts.spellings import Modules, find_modules, recognise_modules
from mhcdiag.mappings.inputs import InputNorm
from mhcdiag.mappings.interface import Orientation, Stack
from mhcdiag.mappings.parametric import Activation, ParametricStack, Recipe
from mhcdiag.namedtensors import NamedTensors
from mhcdiag.results.inspection import Evidence

ROLES = (
    "static_alpha", "static_beta", "dynamic_alpha_fn", "dynamic_alpha_scale", "dynamic_beta_fn", "dynamic_beta_scale",
    "norm.weight", "norm.gamma", "layer_norm.weight",
)  # fmt: skip
NEEDED = ("static_alpha", "dynamic_alpha_fn", "dynamic_alpha_scale", "norm.weight")
_SUBLAYER = re.compile(r"^(?P<stack>(?:.*\.)?)layers\.(?P<index>\d+)\.2$")
ASSUMED = (
    "x-transformers 2.14.0 or later, whose H_res is all ones (earlier versions write the same names and mix by the "
    "logits themselves: --tanh, or --no-tanh)"
)
NOTE = (
    "x-transformers normalises each residual logit over a view of length 1, so that every entry of H_res is 1: each "
    "site multiplies the sum of the streams by {streams}, whatever the weights and the input. A defect of that "
    "package's HyperConnection, not of this checkpoint"
)


def _modules(checkpoint: NamedTensors, mixers: MixerNames) -> Modules:
    """Sites with the plain LayerNorm of this package; none where the norm is that of another family."""
    modules = find_modules(checkpoint, mixers, probes=("static_alpha", "dynamic_alpha_scale"), roles=ROLES)
    foreign = any({"norm.gamma", "layer_norm.weight"} & set(roles) for roles in modules.values())
    return modules if not foreign and any("norm.weight" in roles for roles in modules.values()) else {}


def _named(checkpoint: NamedTensors, site: Site) -> Site:
    """The site under the number of its sub-layer and what this is, e.g. "3.ffn"; as it was where its path says less."""
    path = site.tensors["static_alpha"].removesuffix(".static_alpha")
    match = _SUBLAYER.match(path)
    if match is None:
        return site
    branch = f"{match['stack']}layers.{match['index']}.1."
    kind = "attn" if f"{branch}to_q.weight" in checkpoint.tensors else "ffn"
    return replace(site, name=f"{match['index']}.{kind}")


def _streams(checkpoint: NamedTensors, site: Site) -> int:
    name = site.tensors["static_alpha"]
    shape = checkpoint.tensors[name].shape
    if len(shape) != 2 or not 1 < shape[0] < shape[1]:
        raise LayoutError(
            checkpoint.path,
            found=f"tensor {name} has shape {list(shape)}",
            expected="[n, v + n] for n > 1 streams and v >= 1 views",
        )
    return shape[0]


@dataclass(frozen=True, slots=True)
class XTransformers:
    """`HyperConnection` of x-transformers."""

    name: ClassVar[str] = "x-transformers"
    source: ClassVar[str] = "package x-transformers 2.31.10, HyperConnection.prepare; before 2.14.0: 2.12.2"
    tensors: ClassVar[str] = "`*.{static_alpha,dynamic_alpha_fn,dynamic_alpha_scale,norm.weight}`"
    mixing: ClassVar[str] = "all ones from 2.14.0 on, a defect: gain n per site; unconstrained (HC) before: `--tanh`"
    evidence: ClassVar[Evidence] = Evidence.PACKAGE
    words: ClassVar[tuple[str, ...]] = ("static_alpha", "static_beta", "dynamic_alpha", "dynamic_beta", "stream_emb")
    # The read and write weights go through other functions than those of the families whose names they bear.
    gates: ClassVar[tuple[StoredGates, ...]] = ()
    module_paths: ClassVar[tuple[str, ...]] = ("",)

    def recognise(self, checkpoint: NamedTensors, mixers: MixerNames) -> Recognition | None:
        """See `Layout`."""
        modules = _modules(checkpoint, mixers)
        if not modules:
            return None
        stacks = sorted({match["stack"] for path in modules if (match := _SUBLAYER.match(path.removesuffix(".")))})
        if len(stacks) > 1:
            raise LayoutError(
                checkpoint.path,
                found=f"several stacks of hyper-connections: {', '.join(stacks)}",
                expected="one stack of layers",
            )
        found = recognise_modules(checkpoint, modules, needed=NEEDED, model="x-transformers")
        sites = tuple(_named(checkpoint, site) for site in found.sites)
        order_is_known = all(site.name != before.name for site, before in zip(sites, found.sites, strict=True))
        return replace(found, sites=sites, assumed=() if order_is_known else found.assumed)

    def read(
        self, checkpoint: NamedTensors, recognition: Recognition, overrides: Overrides, *, dynamic: bool
    ) -> Reading:
        """See `Layout`; `overrides.tanh` says that the version is an early one, with tanh or without."""
        refuse_overrides(overrides, self.name, "orientation", "sinkhorn_iters", "sinkhorn_eps")
        if overrides.tanh is not None:
            sites = tuple(replace(site, tensors=_as_bytedance(site.tensors)) for site in recognition.sites)
            return BYTEDANCE.read(checkpoint, replace(recognition, sites=sites), overrides, dynamic=dynamic)
        streams = _streams(checkpoint, recognition.sites[0])
        names = tuple(site.tensors["static_alpha"] for site in recognition.sites)
        nonfinite = []
        for site in recognition.sites:
            if _streams(checkpoint, site) != streams:
                raise LayoutError(
                    checkpoint.path, found=f"site {site.name} has another number of streams than the first"
                )
            roles = ("static_alpha", "dynamic_alpha_scale")
            broken = describe_nonfinite(site, {site.tensors[r]: read_float(checkpoint, site.tensors[r]) for r in roles})
            nonfinite += [] if broken is None else [broken]
        parameters = ParametricStack(
            stack=Stack(sites=tuple(site.name for site in recognition.sites), tensors=names, streams=streams),
            depths=tuple(site.depth for site in recognition.sites),
            recipe=Recipe(
                norm=InputNorm(per_stream=True, eps=1e-5),
                activation=Activation.NONE,
                constraint=None,
                orientation=Orientation.SOURCE_ROWS,
            ),
            base=torch.ones(len(names), streams, streams),
            scale=torch.zeros(len(names)),
            factors=None,
            input_dependent=False,
        )
        return ParametricReading(
            parameters=parameters,
            assumed=(ASSUMED,),
            notes=(NOTE.format(streams=streams),),
            nonfinite=tuple(nonfinite),
        )


def _as_bytedance(tensors: Mapping[str, str]) -> dict[str, str]:
    """The roles of a site as the original hyper-connections name them."""
    return {"layer_norm.weight" if role == "norm.weight" else role: name for role, name in tensors.items()}


X_TRANSFORMERS = XTransformers()

"""Families with several residual streams that are never mixed: H_res = I, so the gain is 1 by construction.

Their sites read from and write to the streams, but nothing carries one stream into another.
"""

import re
from dataclasses import dataclass

from mhcdiag.errors import LayoutError
from mhcdiag.layouts import checks
from mhcdiag.layouts.checks import refuse_overrides, require_layers
from mhcdiag.layouts.interface import MixerNames, Overrides, Recognition, Site, StoredGates
from mhcdiag.layouts.readings import Reading, UnmixedReading
from mhcdiag.mappings.interface import Stack
from mhcdiag.namedtensors import NamedTensors
from mhcdiag.results.inspection import Evidence

KINDS = {"attn": "attn", "mlp": "ffn", "ffn": "ffn"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Identity:
    """One such family."""

    name: str
    source: str
    tensors: str
    model: str
    """As in `model_type`."""
    site: re.Pattern[str]
    """Matches the one tensor per site that proves the absence of mixing; groups `layer` and `kind`."""
    excluded: re.Pattern[str]
    """Matches output collapses and other mixers of this family that are no sites."""
    stream_keys: tuple[str, ...]
    """Configuration keys of the number of streams."""
    rank: int
    """Number of axes of the tensor that `site` matches."""
    rows_per_stream: int
    """Its rows per stream: 2 (pre, post) or 1 (injection). A residual block would add n more."""
    scales: int | None
    """Length of the tensor beside it whose name ends in "scale" instead of "base"; None where there is none."""
    mixing: str = "none: reported as `identity`, gain 1 by construction"
    evidence: Evidence = Evidence.PACKAGE
    words: tuple[str, ...] = ()
    gates: tuple[StoredGates, ...] = ()
    module_paths: tuple[str, ...] = ("",)

    def recognise(self, checkpoint: NamedTensors, mixers: MixerNames) -> Recognition | None:
        """See `Layout`."""
        found: dict[tuple[int, str], str] = {}
        for name in mixers.tensors:
            match = self.site.match(name)
            if match is not None and "mtp." not in name:
                found[int(match["layer"]), KINDS[match["kind"]]] = name
        if not found or not self._rows_fit(checkpoint, next(iter(found.values()))):
            return None
        config = checks.section(checkpoint, "text_config")
        layers = checks.integer(checkpoint, config, "num_hidden_layers")
        count = layers if layers is not None else max(layer for layer, _ in found) + 1
        excluded = [name for name in mixers.tensors if self.excluded.search(name)]
        excluded += [found.pop(place) for place in sorted(found) if place[0] >= count]
        for kind in ("attn", "ffn"):
            numbers = [layer for layer, of_kind in found if of_kind == kind]
            require_layers(checkpoint, numbers, count=count, what=f"{kind} hyper-connection")
        sites = tuple(
            Site(name=f"{layer}.{kind}", tensors={"base": found[layer, kind]}, depth=depth)
            for depth, (layer, kind) in enumerate(sorted(found))
        )
        return Recognition(model=self.model, sites=sites, excluded=tuple(sorted(excluded)))

    def read(
        self, checkpoint: NamedTensors, recognition: Recognition, overrides: Overrides, *, dynamic: bool
    ) -> Reading:
        """See `Layout`; reads no tensor, since there is no mapping to compute."""
        del dynamic
        refuse_overrides(overrides, self.name, "orientation", "sinkhorn_iters", "sinkhorn_eps", "tanh")
        names = tuple(site.tensors["base"] for site in recognition.sites)
        for name in names:
            if not self._rows_fit(checkpoint, name):
                raise LayoutError(
                    checkpoint.path,
                    found=f"tensor {name} has shape {list(checkpoint.tensors[name].shape)}",
                    expected="the same number of streams at every site",
                )
        rows = checkpoint.tensors[names[0]].shape[0]
        stack = Stack(
            sites=tuple(site.name for site in recognition.sites),
            tensors=names,
            streams=rows // self.rows_per_stream,
        )
        note = f"{self.model} never mixes its streams: every H_res is the identity, so the gain is 1 by construction"
        return UnmixedReading(stack=stack, notes=(note,))

    def _rows_fit(self, checkpoint: NamedTensors, name: str) -> bool:
        shape = checkpoint.tensors[name].shape
        config = checks.section(checkpoint, "text_config")
        streams = checks.integer(checkpoint, config, *self.stream_keys)
        if len(shape) != self.rank or shape[0] % self.rows_per_stream:
            return False
        scale = checkpoint.tensors.get(name.removesuffix("base") + "scale")
        if self.scales is not None and (scale is None or scale.shape != (self.scales,)):
            return False
        return streams is None or shape[0] == streams * self.rows_per_stream


HY_V4 = Identity(
    name="hy-v4",
    source="transformers hy_v4 (HYV4HyperConnection)",
    tensors="`layers.N.hc_attn_layer` with two scales",
    model="hy_v4",
    # n pre and n post entries and, unlike DeepSeek-V4, no residual block. For n = 4 that is as many as DeepSeek-V4
    # has for n = 2: the number of scales decides.
    # hc_pre.hc_attn_layer.hc_base (transformers), hc_attn_layer.hc_pre.hc_base (released) or attn_hc.base (the module).
    site=re.compile(
        r"^(?:.*\.)?layers\.(?P<layer>\d+)\."
        r"(?:hc_pre\.)?(?:hc_)?(?P<kind>attn|mlp|ffn)_(?:layer|hc)\.(?:hc_pre\.)?(?:hc_)?base$"
    ),
    excluded=re.compile(r"(?:^|\.)(?:hc_head|mtp)[._].*hc|(?:^|\.)hc_head[._]"),
    stream_keys=("hc_mult",),
    rank=1,
    rows_per_stream=2,
    scales=2,
)
QWEN4_EXP = Identity(
    name="qwen4-exp",
    source="transformers qwen4_exp (Qwen4ExpTextGatedResidual)",
    tensors="`layers.N.attn_hyper_connection.block_inject_weight`",
    model="qwen4_exp",
    site=re.compile(
        r"^(?:.*\.)?layers\.(?P<layer>\d+)\.(?P<kind>attn|mlp)_hyper_connection\.block_inject_weight(?:\.weight)?$"
    ),
    excluded=re.compile(r"(?:^|\.)hyper_connection_mixer\.|(?:^|\.)mtp\..*hyper_connection"),
    stream_keys=("hc_count",),
    rank=2,
    rows_per_stream=1,
    scales=None,
)

"""Sites that read more than the layer before them: no fixed mapping carries one site's stream to the next.

Attention Residuals read a softmax over earlier blocks, DenseFormer and MUDD a weighted sum over all earlier layers, and
U-net skips add a layer of the first half to one of the second. What such a model does to a signal depends on all of its
layers together (and, but for DenseFormer, on the input), so that nothing is reported as a gain.
"""

import re
from dataclasses import dataclass
from typing import ClassVar

from mhcdiag.layouts.checks import model_type, refuse_overrides
from mhcdiag.layouts.interface import MixerNames, Overrides, Recognition, Site, StoredGates
from mhcdiag.layouts.plain_names import TOWERS, numbered_blocks
from mhcdiag.layouts.readings import Reading, UncomposedReading
from mhcdiag.mappings.interface import Stack
from mhcdiag.namedtensors import NamedTensors
from mhcdiag.results.inspection import Evidence


@dataclass(frozen=True, kw_only=True, slots=True)
class Routing:
    """One way to read several layers."""

    title: str
    """As in messages."""
    what: str
    """What each site reads."""
    pattern: re.Pattern[str]
    """Matches one of its tensors, anywhere in the name."""


ROUTINGS = (
    Routing(
        title="Attention Residuals",
        what="each site reads a softmax mix over earlier blocks",
        # Kimi's names; inkling2 of transformers keeps one query per site.
        pattern=re.compile(
            r"(?:^|\.)(?:(?:self_attention|self_attn|attn|attention|mlp|ffn|output_attn)_res_(?:proj|norm|query)|"
            r"(?:attention|mlp|output)_input\.query)(?:\.|$)"
        ),
    ),
    Routing(
        title="MUDD",
        what="each site reads sums over all earlier layers, with weights that depend on the input",
        pattern=re.compile(r"(?:^|\.)(?:dynamic_dense\.\d+\.|dense_bs\.\d+$|mudd_(?:gate_)?(?:w|b)\d$)"),
    ),
    Routing(
        title="DenseFormer",
        what="each block is followed by a weighted sum over all earlier ones",
        pattern=re.compile(r"(?:^|\.)(?:dwa_modules\.|dwa\.|(?:alphas|weights)\.\d+(?:\.weight)?$)"),
    ),
    Routing(
        title="U-net skips",
        what="layers of the second half read layers of the first",
        pattern=re.compile(
            r"(?:^|\.)(?:skip_weights?|skip_lambdas?|skip_gates?(?:\.\d+)?|skip_proj|skip_linear|skip_combines?(?:\.\d+)?|"
            r"(?:up|down)_blocks\.\d+|(?:input|output)_blocks\.\d+|mid_block|middle_block)(?:\.|$)"
        ),
    ),
    Routing(
        title="skips from the embedding",
        what="each layer adds the embedding again",
        pattern=re.compile(r"(?:^|\.)x0_lambdas$"),
    ),
)


def crosses_layers(checkpoint: NamedTensors) -> bool:
    """Whether sites read earlier layers; skips from the embedding alone leave a product of factors as it is."""
    return _routing(checkpoint) not in (None, ROUTINGS[-1])


def _routing(checkpoint: NamedTensors) -> Routing | None:
    digits = str.maketrans("0123456789", "0" * 10)
    kinds = dict.fromkeys(name.translate(digits) for name in checkpoint.tensors)
    # A vocoder or an image tokeniser beside a language model may be a U-Net: no part of its trunk.
    kinds = {name: None for name in kinds if TOWERS.isdisjoint(name.split("."))}
    return next((each for each in ROUTINGS if any(each.pattern.search(name) for name in kinds)), None)


@dataclass(frozen=True, slots=True)
class CrossLayer:
    """All routings over earlier layers."""

    name: ClassVar[str] = "cross-layer"
    source: ClassVar[str] = (
        "Kimi's Attention Residuals, transformers inkling2, epfml/DenseFormer, Caiyun-AI/MUDDFormer, modded-nanogpt"
    )
    tensors: ClassVar[str] = (
        "`*_res_proj`, `attention_input.query`, `dwa_modules`, `dynamic_dense`, `skip_weights`, ..."
    )
    mixing: ClassVar[str] = "cross-layer: no fixed composite; unjudged (exit 2)"
    evidence: ClassVar[Evidence] = Evidence.SOURCE
    words: ClassVar[tuple[str, ...]] = (
        "self_attention_res_proj", "self_attn_res_proj", "attn_res_proj", "attention_res_proj", "mlp_res_proj",
        "ffn_res_proj", "output_attn_res_proj", "dwa_modules", "dynamic_dense",
        "dense_bs", "skip_weights", "skip_weight", "skip_lambdas", "skip_gates",
    )  # fmt: skip
    gates: ClassVar[tuple[StoredGates, ...]] = ()
    module_paths: ClassVar[tuple[str, ...]] = ("",)

    def recognise(self, checkpoint: NamedTensors, mixers: MixerNames) -> Recognition | None:
        """See `Layout`; one site per numbered block."""
        routing = _routing(checkpoint)
        if routing is None or (routing is ROUTINGS[-1] and has_stream_factors(mixers)):
            return None
        routed = [name for name in checkpoint.tensors if routing.pattern.search(name)]
        others = [name for name in checkpoint.tensors if not routing.pattern.search(name)]
        blocks = numbered_blocks(others) or numbered_blocks(routed)  # a U-Net is nothing but such blocks
        if not blocks:
            return None
        return Recognition(
            model=model_type(checkpoint) or routing.title,
            sites=tuple(Site(name=path, tensors={"first": name}, depth=i) for i, (path, name) in enumerate(blocks)),
            excluded=tuple(routed),
        )

    def read(
        self, checkpoint: NamedTensors, recognition: Recognition, overrides: Overrides, *, dynamic: bool
    ) -> Reading:
        """See `Layout`; there is nothing to compose."""
        del dynamic
        refuse_overrides(overrides, self.name, "orientation", "sinkhorn_iters", "sinkhorn_eps", "tanh")
        routing = _routing(checkpoint)
        assert routing is not None
        stack = Stack(
            sites=tuple(site.name for site in recognition.sites),
            tensors=tuple(site.tensors["first"] for site in recognition.sites),
            streams=1,
        )
        shown = ", ".join(recognition.excluded[:2])
        why = f"cross-layer: no fixed composite: {routing.what} ({routing.title}: {shown}, ...)"
        return UncomposedReading(path=checkpoint.path, stack=stack, why=why, blocks=stack.sites, notes=(why,))


def has_stream_factors(mixers: MixerNames) -> bool:
    """Whether the model also multiplies its stream, as nanochat does: its skips are then noted beside the product."""
    return any(re.search(r"(?:^|\.)(?:resid|residual)_lambdas$", name) for name in mixers.tensors)


CROSS_LAYER = CrossLayer()

"""Blocks that normalise the stream itself: x_new = norm(x + F(x)), as BERT, BART, OPT-350m and DeepNorm have it.

There is no fixed mapping from one site to the next: the norm divides by the size of what it is given. What is true of
such a model: every site leaves a stream of the size of its norm weights, whatever came before, so that nothing builds
up over depth in the forward pass; and gradients pass all of the norms, with factors 1 / size that depend on the input
(arXiv 2002.04745), so that they may shrink or grow over depth.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from mhcdiag.layouts import checks
from mhcdiag.layouts.checks import refuse_overrides
from mhcdiag.layouts.interface import MixerNames, Overrides, Recognition, Site, StoredGates
from mhcdiag.layouts.plain_families import POST_NORM, POST_NORM_FLAGS, POST_NORM_IGNORED, POST_NORM_PARTS
from mhcdiag.layouts.plain_names import blocks_of, explain
from mhcdiag.layouts.readings import Reading, UncomposedReading
from mhcdiag.layouts.spellings import model_type
from mhcdiag.mappings.interface import Stack
from mhcdiag.namedtensors import NamedTensors
from mhcdiag.results.inspection import Evidence

WHY = (
    "post-norm: no fixed composite: every site ends in a norm, x_new = norm(x + F(x)), which sets the size of the "
    "stream anew (nothing builds up forward) and passes gradients on divided by it ({by})"
)


def normalised_by(checkpoint: NamedTensors) -> str:
    """What says that the stream is normalised; "" where nothing does."""
    config: Mapping[str, Any] = checkpoint.config or {}
    model = model_type(checkpoint) or str(config.get("general.architecture", ""))
    if model in POST_NORM:
        return f"model_type {model}"
    text = checks.section(checkpoint, "text_config")
    for key, value in POST_NORM_FLAGS.items():
        if model not in POST_NORM_IGNORED and text.get(key) is value:
            return f"{key} = {value}"
    if not any("output.LayerNorm" in name for name in checkpoint.tensors):
        return ""
    parts = explain(checkpoint).parts.values()
    return "the names of BERT" if any(found >= POST_NORM_PARTS for found in parts) else ""


@dataclass(frozen=True, slots=True)
class PostNorm:
    """Norms on the stream."""

    name: ClassVar[str] = "post-norm"
    source: ClassVar[str] = (
        "x_new = norm(x + F(x)); transformers bert, bart, opt, bloom, minimax, ...; arXiv 2002.04745"
    )
    tensors: ClassVar[str] = "a `model_type` of this kind, `do_layer_norm_before: false` and the like, or BERT's names"
    mixing: ClassVar[str] = "norms on the stream: no fixed composite; unjudged (exit 2)"
    evidence: ClassVar[Evidence] = Evidence.PACKAGE
    words: ClassVar[tuple[str, ...]] = ()
    gates: ClassVar[tuple[StoredGates, ...]] = ()
    module_paths: ClassVar[tuple[str, ...]] = ("",)

    def recognise(self, checkpoint: NamedTensors, mixers: MixerNames) -> Recognition | None:
        """See `Layout`; one site per block."""
        if mixers.tensors or mixers.config_keys or not normalised_by(checkpoint):
            return None
        blocks = blocks_of(explain(checkpoint))
        return Recognition(
            model=model_type(checkpoint),
            sites=tuple(Site(name=path, tensors={"first": name}, depth=i) for i, (path, name) in enumerate(blocks)),
        )

    def read(
        self, checkpoint: NamedTensors, recognition: Recognition, overrides: Overrides, *, dynamic: bool
    ) -> Reading:
        """See `Layout`; there is nothing to compose."""
        del dynamic
        refuse_overrides(overrides, self.name, "orientation", "sinkhorn_iters", "sinkhorn_eps", "tanh")
        stack = Stack(
            sites=tuple(site.name for site in recognition.sites),
            tensors=tuple(site.tensors["first"] for site in recognition.sites),
            streams=1,
        )
        why = WHY.format(by=normalised_by(checkpoint))
        return UncomposedReading(path=checkpoint.path, stack=stack, why=why, blocks=stack.sites, notes=(why,))


POST_NORM_LAYOUT = PostNorm()

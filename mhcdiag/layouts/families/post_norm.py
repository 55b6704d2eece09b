"""Blocks that normalise the stream itself: x_new = norm(x + F(x)), as BERT, BART, OPT-350m and DeepNorm have it.

There is no fixed mapping from one site to the next: the norm divides by the size of what it is given. What is true of
such a model: every site leaves a stream of the size of its norm weights, whatever came before, so that nothing builds
up over depth in the forward pass; and gradients pass all of the norms, with factors 1 / size that depend on the input
(arXiv 2002.04745), so that they may shrink or grow over depth.
"""

from dataclasses import dataclass
from typing import ClassVar

from mhcdiag.layouts.checks import model_type, refuse_overrides
from mhcdiag.layouts.interface import MixerNames, Overrides, Recognition, Site, StoredGates
from mhcdiag.layouts.plain_names import blocks_of, explain, numbered_blocks
from mhcdiag.layouts.plain_proof import normalised_by
from mhcdiag.layouts.readings import Reading, UncomposedReading
from mhcdiag.mappings.interface import Stack
from mhcdiag.namedtensors import NamedTensors
from mhcdiag.results.inspection import Evidence

WHY = (
    "post-norm: no fixed composite: every site ends in a norm, x_new = norm(x + F(x)), which sets the size of the "
    "stream anew (nothing builds up forward) and passes gradients on divided by it ({by})"
)


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
        # XLM and ALBERT call their lists of blocks otherwise.
        blocks = blocks_of(explain(checkpoint)) or numbered_blocks(checkpoint.tensors)
        if not blocks:
            return None
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

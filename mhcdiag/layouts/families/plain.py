"""An ordinary residual model: one stream, H_res = 1, gain 1 by construction. That is only said with a proof."""

from dataclasses import dataclass
from typing import ClassVar

from mhcdiag.layouts.checks import refuse_overrides
from mhcdiag.layouts.interface import MixerNames, Overrides, Recognition, Site, StoredGates
from mhcdiag.layouts.plain_names import blocks_of
from mhcdiag.layouts.plain_proof import SHOWN, normalised_by, prove
from mhcdiag.layouts.readings import Reading, UnmixedReading
from mhcdiag.mappings.interface import Stack
from mhcdiag.namedtensors import NamedTensors
from mhcdiag.results.inspection import Evidence


@dataclass(frozen=True, slots=True)
class Plain:
    """The ordinary residual stream."""

    name: ClassVar[str] = "plain"
    source: ClassVar[str] = "x_new = x + F(x); docs/plain-models.md"
    tensors: ClassVar[str] = "a tested `model_type`, or the names of one known family, and nothing beside them"
    mixing: ClassVar[str] = "none: gain 1 by construction"
    evidence: ClassVar[Evidence] = Evidence.PACKAGE
    words: ClassVar[tuple[str, ...]] = ()
    gates: ClassVar[tuple[StoredGates, ...]] = ()
    module_paths: ClassVar[tuple[str, ...]] = ("",)

    def recognise(self, checkpoint: NamedTensors, mixers: MixerNames) -> Recognition | None:
        """See `Layout`; one site per block, where a proof or the user says that the stream is an ordinary one."""
        suspicious = (*mixers.tensors, *mixers.config_keys)
        if (suspicious and not mixers.assume_plain) or normalised_by(checkpoint):
            return None
        proof = prove(checkpoint)
        blocks = blocks_of(proof.explained)
        if not blocks or (proof.doubt and not mixers.assume_plain):
            return None
        assumed = _assumed(proof.doubt, suspicious) if suspicious or proof.doubt else ()
        return Recognition(
            model=proof.model,
            sites=tuple(Site(name=path, tensors={"first": name}, depth=i) for i, (path, name) in enumerate(blocks)),
            excluded=proof.explained.towers,
            assumed=assumed,
        )

    def read(
        self, checkpoint: NamedTensors, recognition: Recognition, overrides: Overrides, *, dynamic: bool
    ) -> Reading:
        """See `Layout`; there is nothing to read."""
        del dynamic
        refuse_overrides(overrides, self.name, "orientation", "sinkhorn_iters", "sinkhorn_eps", "tanh")
        stack = Stack(
            sites=tuple(site.name for site in recognition.sites),
            tensors=tuple(site.tensors["first"] for site in recognition.sites),
            streams=1,
        )
        note = "one residual stream, assumed to be an ordinary one (--assume plain): its gain would be 1"
        if not recognition.assumed:
            by = prove(checkpoint).by
            note = f"one residual stream, nothing is mixed: the gain is 1 by construction (by {by})"
        return UnmixedReading(stack=stack, is_plain=True, blocks=stack.sites, notes=(note,))


def _assumed(doubt: str, suspicious: tuple[str, ...]) -> tuple[str, ...]:
    reasons = [doubt] if doubt else []
    if suspicious:
        shown = ", ".join(suspicious[:SHOWN]) + (f" and {len(suspicious) - SHOWN} more" if suspicious[SHOWN:] else "")
        reasons.append(f"what looks like a mixer is left aside: {shown}")
    return (f"an ordinary residual stream (--assume plain), although {'; '.join(reasons)}",)


PLAIN = Plain()

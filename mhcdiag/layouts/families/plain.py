"""An ordinary residual model: one stream, H_res = 1, gain 1 by construction.

That is only said on a positive sign: numbered blocks, and no tensor name and no configuration key that smells of
mixing.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from mhcdiag.layouts.block_sites import natural_key
from mhcdiag.layouts.checks import refuse_settings
from mhcdiag.layouts.interface import Reading, Recognition, Settings, Site
from mhcdiag.layouts.smell import smelling_keys
from mhcdiag.mappings.interface import Stack
from mhcdiag.namedtensors import NamedTensors
from mhcdiag.results.catalogue import Evidence

_BLOCK = re.compile(r"^(?P<path>(?:.*?\.)?\w+\.\d+)\.")


@dataclass(frozen=True, slots=True)
class Plain:
    """The ordinary residual stream."""

    name: ClassVar[str] = "plain"
    source: ClassVar[str] = "x_new = x + F(x)"
    tensors: ClassVar[str] = "numbered blocks, and nothing that smells of a mixer"
    mixing: ClassVar[str] = "none: gain 1 by construction"
    evidence: ClassVar[Evidence] = Evidence.OWN

    def recognise(self, checkpoint: NamedTensors, mixers: Sequence[str]) -> Recognition | None:
        """See `Layout`; one site per numbered block."""
        if mixers or smelling_keys(checkpoint.config):
            return None
        blocks: dict[str, str] = {}
        for name in checkpoint.tensors:
            match = _BLOCK.match(name)
            if match is not None:
                blocks.setdefault(match["path"], name)
        if not blocks:
            return None
        paths = sorted(blocks, key=natural_key)
        model = str((checkpoint.config or {}).get("model_type", ""))
        return Recognition(
            model=model,
            sites=tuple(Site(name=path, tensors={"first": blocks[path]}, depth=i) for i, path in enumerate(paths)),
        )

    def read(self, checkpoint: NamedTensors, recognition: Recognition, settings: Settings, *, dynamic: bool) -> Reading:
        """See `Layout`; there is nothing to read."""
        del checkpoint, dynamic
        refuse_settings(settings, self.name, "orientation", "sinkhorn_iters", "sinkhorn_eps", "tanh")
        stack = Stack(
            sites=tuple(site.name for site in recognition.sites),
            tensors=tuple(site.tensors["first"] for site in recognition.sites),
            streams=1,
        )
        note = "one residual stream, nothing is mixed: the gain is 1 by construction"
        return Reading(identity_stack=stack, notes=(note,))

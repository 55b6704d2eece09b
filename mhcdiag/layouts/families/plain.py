"""An ordinary residual model: one stream, H_res = 1, gain 1 by construction.

That is only said on a positive sign: numbered blocks, and no tensor name and no configuration key that looks like
mixing.
"""

import re
from dataclasses import dataclass
from typing import ClassVar

from mhcdiag.layouts.checks import refuse_overrides
from mhcdiag.layouts.interface import MixerNames, Overrides, Recognition, Site, StoredGates
from mhcdiag.layouts.readings import Reading, UnmixedReading
from mhcdiag.mappings.interface import Stack
from mhcdiag.namedtensors import NamedTensors, natural_key
from mhcdiag.results.inspection import Evidence

_BLOCK = re.compile(r"^(?P<path>(?:.*?\.)?\w+\.\d+)\.")


@dataclass(frozen=True, slots=True)
class Plain:
    """The ordinary residual stream."""

    name: ClassVar[str] = "plain"
    source: ClassVar[str] = "x_new = x + F(x)"
    tensors: ClassVar[str] = "numbered blocks, and nothing that smells of a mixer"
    mixing: ClassVar[str] = "none: gain 1 by construction"
    evidence: ClassVar[Evidence] = Evidence.OWN
    words: ClassVar[tuple[str, ...]] = ()
    gates: ClassVar[tuple[StoredGates, ...]] = ()
    module_paths: ClassVar[tuple[str, ...]] = ("",)

    def recognise(self, checkpoint: NamedTensors, mixers: MixerNames) -> Recognition | None:
        """See `Layout`; one site per numbered block."""
        if mixers.tensors or mixers.config_keys:
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

    def read(
        self, checkpoint: NamedTensors, recognition: Recognition, overrides: Overrides, *, dynamic: bool
    ) -> Reading:
        """See `Layout`; there is nothing to read."""
        del checkpoint, dynamic
        refuse_overrides(overrides, self.name, "orientation", "sinkhorn_iters", "sinkhorn_eps", "tanh")
        stack = Stack(
            sites=tuple(site.name for site in recognition.sites),
            tensors=tuple(site.tensors["first"] for site in recognition.sites),
            streams=1,
        )
        note = "one residual stream, nothing is mixed: the gain is 1 by construction"
        return UnmixedReading(stack=stack, is_plain=True, notes=(note,))


PLAIN = Plain()

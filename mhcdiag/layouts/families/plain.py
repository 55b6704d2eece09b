"""An ordinary residual model: one stream, H_res = 1, gain 1 by construction.

That is only said with a proof: an architecture that a test has held against its own code (`plain_families.py`), or
names that belong to one family alone; and no tensor and no configuration key beside it that could touch the stream.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from mhcdiag.layouts import checks
from mhcdiag.layouts.checks import refuse_overrides
from mhcdiag.layouts.families.post_norm import normalised_by
from mhcdiag.layouts.interface import MixerNames, Overrides, Recognition, Site, StoredGates
from mhcdiag.layouts.plain_families import BENIGN_KEYS, EXTRAS, GGUF, IMAGES, SIGNATURES, TESTED
from mhcdiag.layouts.plain_names import ADAPTER, Explained, blocks_of, explain, grouped, place_of
from mhcdiag.layouts.readings import Reading, UnmixedReading
from mhcdiag.mappings.interface import Stack
from mhcdiag.namedtensors import NamedTensors, TensorInfo
from mhcdiag.results.inspection import Evidence

_RESIDUAL_KEY = re.compile(r"resid|skip_conn|stream", re.IGNORECASE)
TOY = "mhcdiag-toy"
SHOWN = 3
"""Kinds of unexplained tensors that a message names."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Proof:
    """Whether a model is an ordinary one, and why."""

    doubt: str = ""
    """Why it may not be; empty where it is proved."""
    by: str = ""
    """What proves it, for a note."""
    model: str = ""
    explained: Explained


def prove(checkpoint: NamedTensors) -> Proof:
    """Ask whether architecture and names of a checkpoint prove that its residual stream is an ordinary one."""
    model, family = architecture(checkpoint)
    known = family in TESTED
    explained = explain(checkpoint, extras=EXTRAS.get(family, ()), towers=family not in IMAGES)
    explained = _without_next_tokens(checkpoint, explained)
    by = f"model_type {model or family}" if known else ""
    if not known:
        by, explained = _by_names(checkpoint, explained)
    doubt = _doubt(checkpoint, explained, model=model, by=by)
    return Proof(doubt=doubt, by=by, model=model, explained=explained)


def unexplained_tensors(checkpoint: NamedTensors) -> tuple[TensorInfo, ...]:
    """The tensors of the trunk that neither a known family nor a known word explains."""
    return prove(checkpoint).explained.unexplained


def architecture(checkpoint: NamedTensors) -> tuple[str, str]:
    """What the configuration calls the model, and the name of its family; both may be empty."""
    config = checkpoint.config or {}
    if TOY in (config.get("model_type"), *(["mhcdiag-toy"] if "mhcdiag_toy" in checkpoint.metadata else [])):
        return "", TOY
    if "general.architecture" in config:
        name = str(config["general.architecture"])
        return name, GGUF.get(name, name)
    model = str(config.get("model_type", ""))
    return model, model


def _by_names(checkpoint: NamedTensors, explained: Explained) -> tuple[str, Explained]:
    """The family whose names these are, and nothing but these; "" where there is none."""
    for signature in SIGNATURES:
        allowed = signature.required | signature.optional
        if explained.parts and all(signature.required <= parts <= allowed for parts in explained.parts.values()):
            again = explain(checkpoint, extras=signature.extras)
            return f"the names of {signature.family}", _without_next_tokens(checkpoint, again)
    return "", explained


def _without_next_tokens(checkpoint: NamedTensors, explained: Explained) -> Explained:
    """The trunk alone: layers from the configured number on predict further tokens (DeepSeek-V3, GLM-4.5)."""
    config = checks.section(checkpoint, "text_config")
    layers = checks.integer(checkpoint, config, "num_hidden_layers")
    if layers is None or len(explained.stacks) != 1:
        return explained
    ((stack, blocks),) = explained.stacks.items()
    if max(blocks) < layers or not (kept := {index: name for index, name in blocks.items() if index < layers}):
        return explained
    beyond = {name for name in checkpoint.tensors if place_of(name).stack == stack and place_of(name).index >= layers}
    return replace(
        explained,
        stacks={stack: kept},
        towers=(*explained.towers, *sorted(beyond)),
        unexplained=tuple(info for info in explained.unexplained if info.name not in beyond),
    )


def _doubt(checkpoint: NamedTensors, explained: Explained, *, model: str, by: str) -> str:
    """Why the stream may not be an ordinary one; empty where it is proved to be."""
    if all(ADAPTER.search(name) for blocks in explained.stacks.values() for name in blocks.values()):
        return "these are low-rank adapters; the model whose stream they change a branch of is not here"
    reasons = []
    if not by:
        named = f"model_type {model!r}" if model else "no model_type is said, and this"
        reasons.append(f"{named} is not an architecture known to add its branches to an ordinary residual stream")
    if found := list(grouped(explained.unexplained)):
        shown = ", ".join(f"{name}{f' ({count} of them)' if count > 1 else ''}" for name, count in found[:SHOWN])
        more = f" and {len(found) - SHOWN} more kinds" if len(found) > SHOWN else ""
        reasons.append(f"nothing explains what these do to the stream: {shown}{more}")
    if keys := list(_residual_keys(checkpoint.config or {})):
        reasons.append(f"nothing explains the configuration's {', '.join(keys)}")
    return "; ".join(reasons)


def _residual_keys(config: Mapping[str, Any]) -> Iterator[str]:
    """Keys that speak of the residual of the trunk and are switched on; a 1 as a factor changes nothing."""
    of_text = config.get("text_config")
    for section in (config, of_text if isinstance(of_text, Mapping) else {}):
        for key, value in section.items():
            is_off = isinstance(value, Mapping) or value in (None, False, 0, 1, "")
            if _RESIDUAL_KEY.search(str(key)) and str(key) not in BENIGN_KEYS and not is_off:
                yield f"{key} = {value!r:.30}"


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
        by = prove(checkpoint).by
        why = f"by {by}" if by and not recognition.assumed else "assumed, not proved"
        note = f"one residual stream, nothing is mixed: the gain is 1 by construction ({why})"
        return UnmixedReading(stack=stack, is_plain=True, blocks=stack.sites, notes=(note,))


def _assumed(doubt: str, suspicious: tuple[str, ...]) -> tuple[str, ...]:
    reasons = [doubt] if doubt else []
    if suspicious:
        shown = ", ".join(suspicious[:SHOWN]) + (f" and {len(suspicious) - SHOWN} more" if suspicious[SHOWN:] else "")
        reasons.append(f"what looks like a mixer is left aside: {shown}")
    return (f"an ordinary residual stream (--assume plain), although {'; '.join(reasons)}",)


PLAIN = Plain()

"""Whether a model is an ordinary residual one: asked by every layout that must tell one from something else.

A proof is an architecture that a test has held against its own code (`plain_families.py`), or names that belong to one
family alone; and no tensor and no configuration key beside it that could touch the stream.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from mhcdiag.layouts import checks
from mhcdiag.layouts.checks import model_type
from mhcdiag.layouts.plain_families import (
    BENIGN_KEYS,
    EXTRAS,
    GGUF,
    IMAGES,
    POST_NORM,
    POST_NORM_FLAGS,
    POST_NORM_IGNORED,
    POST_NORM_PARTS,
    SIGNATURES,
    TESTED,
)
from mhcdiag.layouts.plain_names import ADAPTER, Explained, explain, grouped, place_of
from mhcdiag.namedtensors import NamedTensors, TensorInfo

_RESIDUAL_KEY = re.compile(r"resid|skip_conn|stream", re.IGNORECASE)
TOY = "mhcdiag-toy"
SHOWN = 3
"""Kinds of unexplained tensors that a message names."""
LANGUAGE_SECTIONS = ("text_config", "llm_config", "language_config")


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
    if model not in TESTED:
        # An image tower and a language model: the trunk is the latter.
        nested = [config[key] for key in LANGUAGE_SECTIONS if isinstance(config.get(key), Mapping)]
        of_text = next((str(section.get("model_type", "")) for section in nested), "")
        if of_text in TESTED:
            return f"{model} with {of_text}", of_text
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
        named = f"model_type {model!r} is not known to keep an ordinary residual stream" if model else "no model_type"
        reasons.append(f"{named}, and the names are not those of one known family alone")
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

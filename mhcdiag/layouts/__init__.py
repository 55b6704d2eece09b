"""How each implementation stores and applies its residual mappings, and which one a checkpoint follows.

`recognise` finds the layout by names, shapes and configuration. `find_mixers` is the safety net below it: an ordinary
residual model has none of certain words in its tensor names or configuration, so that anything that has one and fits
no layout is refused by name. An unknown layout must never pass as "gain 1".
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from mhcdiag.errors import LayoutError, SettingError
from mhcdiag.layouts.families import LAYOUTS
from mhcdiag.layouts.families.plain import PLAIN
from mhcdiag.layouts.interface import Layout, MixerNames, Overrides, Recognition
from mhcdiag.layouts.plain_proof import prove
from mhcdiag.layouts.readings import static_gains
from mhcdiag.namedtensors import NamedTensors

__all__ = ["LAYOUTS", "Layout", "find_mixers", "recognise"]

MIXER_WORDS = (
    "hc", "mhc", "hyper", "hyperconnection", "hyperconnections", "hyperconn", "sinkhorn", "stream", "streams",
    "h_res", "h_pre", "h_post", "hres", "hpre", "hpost", "residual_mix", "res_mix", "mixing_logits",
)  # fmt: skip
"""Words of hyper-connections in general, known layout or not; each layout adds those of its own tensors."""

# Megatron-LM writes all its arguments: an ordinary model carries mhc_num_residual_streams=4 beside the switch.
SWITCHES = ("enable_mhc_connections", "enable_hyper_connections")


def recognise(
    checkpoint: NamedTensors, *, layout: str | None = None, assume: str | None = None
) -> tuple[Layout, Recognition]:
    """Find the layout of a checkpoint.

    Parameters
    ----------
    layout
        Name of the only layout to try; None tries all.
    assume
        `plain`: what nothing explains leaves the residual stream alone. Said in `assumed`.

    Raises
    ------
    LayoutError
        No layout fits, several do, or the one that fits is incomplete.
    SettingError
        There is no layout of that name, or what is assumed contradicts the one that fits.
    """
    candidates = [known for known in LAYOUTS if layout in (None, known.name)]
    if not candidates:
        raise SettingError(f"there is no layout {layout!r}; known: {', '.join(known.name for known in LAYOUTS)}")
    mixers = replace(find_mixers(checkpoint), assume_plain=assume == PLAIN.name)
    found = [(known, match) for known in candidates if (match := known.recognise(checkpoint, mixers)) is not None]
    if mixers.assume_plain:
        found = _without_plain(checkpoint, found)
    if len(found) > 1:
        raise _ambiguous(checkpoint, found)
    if not found:
        raise _unknown(checkpoint, mixers, candidates)
    return found[0]


def _without_plain(
    checkpoint: NamedTensors, found: list[tuple[Layout, Recognition]]
) -> list[tuple[Layout, Recognition]]:
    """What fits beside the assumption that the stream is an ordinary one: a layout that took it for the rest alone."""
    others = [(known, match) for known, match in found if known is not PLAIN]
    if not others:
        return found
    if not any("--assume plain" in said for _, match in others for said in match.assumed):
        names = " and ".join(known.name for known, _ in others)
        raise SettingError(f"--assume plain: {checkpoint.path} is of layout {names}")
    return others


def _fitting(checkpoint: NamedTensors, mixers: MixerNames) -> list[str]:
    """The names of all layouts that fit."""
    names = []
    for known in LAYOUTS:
        try:
            names += [known.name] if known.recognise(checkpoint, mixers) is not None else []
        except LayoutError:
            continue
    return names


def _ambiguous(checkpoint: NamedTensors, found: Sequence[tuple[Layout, Recognition]]) -> LayoutError:
    """The refusal of several layouts that fit, with the gain that each of them would give."""
    names = " and ".join(known.name for known, _ in found)
    gains = []
    for known, recognition in found:
        try:
            reading = known.read(checkpoint, recognition, Overrides(), dynamic=False)
            forward, backward = static_gains(reading)
        except LayoutError:
            continue  # it fits by its names alone, and its shapes will be named when it is chosen
        gains.append(f"{forward:.4g} / {backward:.4g} as {known.name}")
    numbers = f" (static gain forward / backward: {', '.join(gains)})" if gains else ""
    return LayoutError(checkpoint.path, found=f"layouts {names} both fit{numbers}", hint="choose one by --layout")


def _unknown(checkpoint: NamedTensors, mixers: MixerNames, tried: Sequence[Layout]) -> LayoutError:
    tensors, keys = mixers.tensors, mixers.config_keys
    clues = [f"tensor {name} {list(checkpoint.tensors[name].shape)}" for name in tensors[:5]]
    clues += [f"config key {key}" for key in keys[:3]]
    more = max(0, len(tensors) - 5) + max(0, len(keys) - 3)
    others = _fitting(checkpoint, mixers) if len(tried) < len(LAYOUTS) else []
    if others:
        found = f"tensors of layout {' and '.join(others)}"
        hint = "leave out --layout"
    elif clues:
        hint = "nothing was measured; mhcdiag inspect shows more; if you know the layout, say --layout"
        found = (
            "no known layout, but what looks like a mixer: " + ", ".join(clues) + (f" and {more} more" if more else "")
        )
    elif (proof := prove(checkpoint)).explained.stacks:
        hint = "nothing was measured; if the stream is left alone by all of them, say --assume plain"
        expected = "a model whose residual stream is known (docs/plain-models.md)"
        return LayoutError(checkpoint.path, found=f"no proof of gain 1: {proof.doubt}", expected=expected, hint=hint)
    else:
        names = ", ".join(list(checkpoint.tensors)[:5]) or "none"
        found = (
            f"no known layout and no blocks of a model that is known among {len(checkpoint.tensors)} tensors ({names})"
        )
        hint = "is this a checkpoint?"
    return LayoutError(
        checkpoint.path, found=found, expected="one of " + ", ".join(known.name for known in tried), hint=hint
    )


def find_mixers(checkpoint: NamedTensors) -> MixerNames:
    """The tensor names and configuration keys that look like a mixer of residual streams."""
    return MixerNames(
        tensors=tuple(_mixer_tensors(checkpoint.tensors)), config_keys=tuple(_mixer_keys(checkpoint.config or {}))
    )


def is_mixer_name(name: str) -> bool:
    """Whether one of the words stands in a name, whole between dots, underscores or its ends (a digit may follow)."""
    return _pattern_of(LAYOUTS).search(name) is not None


@cache
def _pattern_of(layouts: Sequence[Layout]) -> re.Pattern[str]:
    """What matches the words of hyper-connections in general and those of some layouts."""
    words = dict.fromkeys((*MIXER_WORDS, *(word for layout in layouts for word in layout.words)))
    return re.compile(rf"(?:^|[._\-/])({'|'.join(words)})\d*(?=$|[._\-/])", re.IGNORECASE)


def _mixer_tensors(names: Iterable[str]) -> list[str]:
    """The tensor names that look like a mixer.

    A large checkpoint has a hundred thousand names that differ in their numbers only, so the pattern is tried once for
    each name without its digits. That loses no name, since the pattern asks for no digit; what passes is tried in full.
    """
    names = list(names)
    without_digits = "\n".join(names).encode("utf-8", "surrogatepass").translate(None, b"0123456789").split(b"\n")
    if len(without_digits) != len(names):  # a line break within a name
        return [name for name in names if is_mixer_name(name)]
    suspicious = {bare for bare in set(without_digits) if is_mixer_name(bare.decode("utf-8", "surrogatepass"))}
    return [
        name for name, bare in zip(names, without_digits, strict=True) if bare in suspicious and is_mixer_name(name)
    ]


def _mixer_keys(config: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """The configuration keys, nested ones dotted, that look like a mixer and are not switched off (false, null)."""
    switches = [config[key] for key in SWITCHES if isinstance(config.get(key), bool)]
    is_off = bool(switches) and not any(switches)
    for key, value in config.items():
        if isinstance(value, Mapping):
            yield from _mixer_keys(value, f"{prefix}{key}.")
        elif not is_off and is_mixer_name(str(key)) and value is not None and value is not False:
            yield f"{prefix}{key}"

"""Sites that name their layer and kind: `layers.3.hc_attn_fn`, `decoder.layers.3.mlp_hyper_connection.bias`, ..."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from mhcdiag.errors import LayoutError
from mhcdiag.layouts import config as configuration
from mhcdiag.layouts.checks import require_layers
from mhcdiag.layouts.interface import Recognition, Site
from mhcdiag.namedtensors import NamedTensors

NO_LAYER_COUNT = "the last layer found is the last layer (no num_hidden_layers in a config.json)"
LAYER_KEYS = ("num_hidden_layers", "n_layers", "num_layers")
KINDS = {"attn": "attn", "ffn": "ffn", "mlp": "ffn", "self_attention": "attn"}


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A site of a transformer block; sorts by depth, since "attn" comes before "ffn"."""

    layer: int
    kind: str


@dataclass(frozen=True, kw_only=True, slots=True)
class BlockSpelling:
    """How a family spells the tensors of its sites."""

    patterns: tuple[re.Pattern[str], ...]
    """Match a tensor of a site; groups `prefix`, `layer`, `kind` and `role`."""
    excluded: re.Pattern[str]
    """Matches output heads and other mixers that are no sites."""
    required: tuple[str, ...]
    """Roles that every site has."""
    what: str = "{kind} mixer"
    """What a missing layer lacks, for messages."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Blocks:
    """The tensors of all sites, before anything is checked."""

    trunks: dict[str, dict[Place, dict[str, str]]] = field(default_factory=dict)
    """By what stands before `layers`: per site, full tensor name by role."""
    excluded: list[str] = field(default_factory=list)
    """Mixers of this family that are no sites: heads, MTP layers."""


def group_blocks(mixers: Sequence[str], spelling: BlockSpelling) -> Blocks:
    """Sort tensor names into sites by one family's spelling."""
    blocks = Blocks()
    for name in mixers:
        match = next((found for pattern in spelling.patterns if (found := pattern.match(name))), None)
        if match is None or "mtp." in match["prefix"]:
            if match is not None or spelling.excluded.search(name) or "mtp." in name:
                blocks.excluded.append(name)
            continue
        place = Place(int(match["layer"]), KINDS[match["kind"]])
        blocks.trunks.setdefault(match["prefix"], {}).setdefault(place, {})[match["role"]] = name
    return blocks


def recognise_blocks(checkpoint: NamedTensors, blocks: Blocks, spelling: BlockSpelling, *, model: str) -> Recognition:
    """The complete sites of the only trunk; layers from the configured number on are MTP layers.

    Raises
    ------
    mhcdiag.errors.LayoutError
        There are several trunks, or a layer, site or tensor is missing.
    """
    places = _only_trunk(checkpoint, blocks.trunks)
    config = configuration.section(checkpoint, "text_config")
    layers = configuration.integer(checkpoint, config, *LAYER_KEYS)
    excluded = list(blocks.excluded)
    if layers is not None:
        beyond = [place for place in places if place.layer >= layers]
        excluded += [name for place in beyond for name in places.pop(place).values()]
    return Recognition(
        model=model,
        sites=_complete_sites(checkpoint, places, layers, spelling),
        excluded=tuple(sorted(excluded)),
        assumed=() if layers is not None else (NO_LAYER_COUNT,),
    )


def find_blocks(checkpoint: NamedTensors, mixers: Sequence[str], spelling: BlockSpelling) -> Recognition | None:
    """Both steps for a family that is told by its names alone; None where no tensor is spelled so."""
    blocks = group_blocks(mixers, spelling)
    return recognise_blocks(checkpoint, blocks, spelling, model=model_type(checkpoint)) if blocks.trunks else None


def model_type(checkpoint: NamedTensors) -> str:
    """`model_type` of the configuration; "" where there is none."""
    return str((checkpoint.config or {}).get("model_type", ""))


def _only_trunk(
    checkpoint: NamedTensors, trunks: Mapping[str, dict[Place, dict[str, str]]]
) -> dict[Place, dict[str, str]]:
    if len(trunks) > 1:
        names = ", ".join(f"{prefix}layers" for prefix in sorted(trunks))
        raise LayoutError(
            checkpoint.path, found=f"several stacks of mixing sites: {names}", expected="one stack of layers"
        )
    return dict(next(iter(trunks.values())))


def _complete_sites(
    checkpoint: NamedTensors, places: Mapping[Place, Mapping[str, str]], layers: int | None, spelling: BlockSpelling
) -> tuple[Site, ...]:
    for kind in ("attn", "ffn"):
        found = [place.layer for place in places if place.kind == kind]
        last = max((place.layer for place in places), default=-1) + 1 if layers is None else layers
        require_layers(checkpoint, found, count=last, what=spelling.what.format(kind=kind))
    for place, tensors in places.items():
        missing = [role for role in spelling.required if role not in tensors]
        if missing:
            raise LayoutError(
                checkpoint.path,
                found=f"layer {place.layer} has {next(iter(tensors.values()))} but no {missing[0]} beside it",
                expected=f"{', '.join(spelling.required)} for every site",
                hint="is a shard missing?",
            )
    return tuple(
        Site(name=f"{place.layer}.{place.kind}", tensors=places[place], depth=depth)
        for depth, place in enumerate(sorted(places))
    )

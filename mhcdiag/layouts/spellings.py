"""How the sites of a family are found among tensor names, and ordered by depth.

Two spellings cover all families. `BlockSpelling`: names say layer and kind of site, as `layers.3.hc_attn_fn` does.
`ModuleSpelling`: a wrapper module holds parameters of its own wherever the user put it, so that its path is
all that says where in the model it stands.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from mhcdiag.errors import LayoutError
from mhcdiag.layouts import checks
from mhcdiag.layouts.checks import model_type, require_layers
from mhcdiag.layouts.interface import MixerNames, Recognition, Site
from mhcdiag.namedtensors import NamedTensors, natural_key

# Paths of wrappers are the user's own: `layers.3.attn`, `h.3.hc_mlp`, `blocks.3.cross_attention2`, ...
_ATTENTION = re.compile(r"(?:^|_)(?:self|cross)?_?(?:attn|attention|mha)\d*(?:_|$)", re.IGNORECASE)
_FEED_FORWARD = re.compile(r"(?:^|_)(?:ffn|mlp|ff|feedforward|feed_forward|moe)\d*(?:_|$)", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True, slots=True)
class DepthOrder:
    """Module paths in the order in which a signal passes them."""

    paths: tuple[str, ...]
    """Module paths, first site first."""
    names: tuple[str, ...]
    """Their site names, in the same order."""
    assumed: tuple[str, ...]
    """Empty where the paths name layer and kind of every site."""


@dataclass(frozen=True, slots=True)
class _ModulePlace:
    layer: int | None
    kind: int | None  # 0 attention, 1 feed-forward
    path: str

    @property
    def name(self) -> str:
        return f"{self.layer}.{('attn', 'ffn')[self.kind]}" if self.kind is not None else self.path


def order_by_depth(paths: Collection[str]) -> DepthOrder:
    """Sort module paths by integer layer, attention before feed-forward; where they name neither, in natural order.

    >>> order_by_depth(["layers.10.ff", "layers.2.ff", "layers.2.attn", "layers.10.attn"]).names
    ('2.attn', '2.ffn', '10.attn', '10.ffn')
    """
    places = [_place(path) for path in paths]
    named = {(place.layer, place.kind) for place in places}
    if all(place.kind is not None for place in places) and len(named) == len(places):
        places.sort(key=lambda place: (place.layer or 0, place.kind or 0))
        return DepthOrder(
            paths=tuple(place.path for place in places),
            names=tuple(place.name for place in places),
            assumed=(),
        )
    ordered = tuple(sorted(paths, key=natural_key))
    assumed = (f"depth order: natural order of module paths, {ordered[0]} first (they do not tell attention from FFN)",)
    return DepthOrder(paths=ordered, names=ordered, assumed=assumed if len(ordered) > 1 else ())


def refuse_gaps(checkpoint: NamedTensors, paths: Sequence[str]) -> None:
    """Refuse numbered modules of which one is missing whole, e.g. layers 0, 1, 3 without any tensor of layer 2."""
    groups: dict[str, set[int]] = {}
    for path in paths:
        for found in re.finditer(r"(?:^|(?<=\.))(\d+)(?=\.|$)", path):
            groups.setdefault(path[: found.start()], set()).add(int(found.group()))
    for prefix, numbers in groups.items():
        ordered = sorted(numbers)
        # A model may wrap every second layer only: a regular step is no gap.
        stride = min((b - a for a, b in pairwise(ordered)), default=1)
        for number in sorted(set(range(ordered[0], ordered[-1], stride)) - numbers):
            if not any(name.startswith(f"{prefix}{number}.") for name in checkpoint.tensors):
                raise LayoutError(
                    checkpoint.path,
                    found=f"no tensor of {prefix}{number}, between {prefix}{ordered[0]} and {prefix}{ordered[-1]}",
                    expected="every layer",
                    hint="is a shard missing?",
                )


def _place(path: str) -> _ModulePlace:
    parts = path.split(".")
    numbers = [int(part) for part in parts if part.isdigit()]
    words = [part for part in parts if not part.isdigit()]
    attention = any(_ATTENTION.search(word) for word in words)
    feed_forward = any(_FEED_FORWARD.search(word) for word in words)
    if len(numbers) != 1 or attention == feed_forward:
        return _ModulePlace(numbers[0] if numbers else None, None, path)
    return _ModulePlace(numbers[0], 0 if attention else 1, path)


NO_LAYER_COUNT = "the last layer found is the last layer (no num_hidden_layers in a config.json)"
LAYER_KEYS = ("num_hidden_layers", "n_layers", "num_layers")
KINDS = {"attn": "attn", "ffn": "ffn", "mlp": "ffn", "self_attention": "attn"}


@dataclass(frozen=True, slots=True, order=True)
class SiteIndex:
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

    def find(self, checkpoint: NamedTensors, mixers: MixerNames) -> Recognition | None:
        """The sites of a family that its names alone give away; None where no tensor is spelled so."""
        blocks = group_blocks(mixers, self)
        return recognise_blocks(checkpoint, blocks, self, model=model_type(checkpoint)) if blocks.trunks else None


@dataclass(frozen=True, kw_only=True, slots=True)
class Blocks:
    """The tensors of all sites, before anything is checked."""

    trunks: dict[str, dict[SiteIndex, dict[str, str]]] = field(default_factory=dict)
    """By what stands before `layers`: per site, full tensor name by role."""
    excluded: list[str] = field(default_factory=list)
    """Mixers of this family that are no sites: heads, MTP layers."""


def group_blocks(mixers: MixerNames, spelling: BlockSpelling) -> Blocks:
    """Sort tensor names into sites by one family's spelling."""
    blocks = Blocks()
    for name in mixers.tensors:
        match = next((found for pattern in spelling.patterns if (found := pattern.match(name))), None)
        # Multi-token prediction blocks (DeepSeek-V4: `mtp.0.hc_attn_fn`) read another input: no part of the trunk.
        if match is None or "mtp." in match["prefix"]:
            if match is not None or spelling.excluded.search(name) or "mtp." in name:
                blocks.excluded.append(name)
            continue
        place = SiteIndex(int(match["layer"]), KINDS[match["kind"]])
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
    config = checks.section(checkpoint, "text_config")
    layers = checks.integer(checkpoint, config, *LAYER_KEYS)
    excluded = list(blocks.excluded)
    if layers is not None:
        # GLM-5.3-Flash numbers its MTP block like a layer: 45, where num_hidden_layers is 45.
        beyond = [place for place in places if place.layer >= layers]
        excluded += [name for place in beyond for name in places.pop(place).values()]
    return Recognition(
        model=model,
        sites=_complete_sites(checkpoint, places, layers, spelling),
        excluded=tuple(sorted(excluded)),
        assumed=() if layers is not None else (NO_LAYER_COUNT,),
    )


def _only_trunk(
    checkpoint: NamedTensors, trunks: Mapping[str, dict[SiteIndex, dict[str, str]]]
) -> dict[SiteIndex, dict[str, str]]:
    if len(trunks) > 1:
        names = ", ".join(f"{prefix}layers" for prefix in sorted(trunks))
        raise LayoutError(
            checkpoint.path, found=f"several stacks of mixing sites: {names}", expected="one stack of layers"
        )
    return dict(next(iter(trunks.values())))


def _complete_sites(
    checkpoint: NamedTensors, places: Mapping[SiteIndex, Mapping[str, str]], layers: int | None, spelling: BlockSpelling
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


Modules = dict[str, dict[str, str]]
"""Per module path (with its trailing dot) the full tensor name by role."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ModuleSpelling:
    """How a family spells the parameters of the modules that are its sites."""

    probes: tuple[str, ...]
    """Names of mixing parameters, any of which makes its module a site."""
    roles: tuple[str, ...]
    """All parameter names to collect there, probes included."""
    needed: tuple[str, ...]
    """Those that every site has."""
    model: str
    """Name of the variant."""

    def find(self, checkpoint: NamedTensors, mixers: MixerNames) -> Recognition | None:
        """The sites in depth order; None where no tensor is spelled so."""
        modules = find_modules(checkpoint, mixers, probes=self.probes, roles=self.roles)
        return recognise_modules(checkpoint, modules, needed=self.needed, model=self.model) if modules else None


def find_modules(
    checkpoint: NamedTensors, mixers: MixerNames, *, probes: Sequence[str], roles: Sequence[str]
) -> Modules:
    """The modules that hold any of the probes, and those beside them that hold another of the roles.

    Parameters
    ----------
    probes
        Names of mixing parameters, any of which makes its module a site.
    roles
        All parameter names to collect there, probes included.
    """
    if not _paths_of(mixers, probes):
        return {}
    # A site that has lost its probe (a tensor that a converter dropped) is still a site: it must be refused by name,
    # for a composite without it is another model's.
    paths = _paths_of(mixers, tuple(dict.fromkeys((*probes, *roles))))
    return {path: {role: path + role for role in roles if path + role in checkpoint.tensors} for path in paths}


def _paths_of(mixers: MixerNames, roles: Sequence[str]) -> list[str]:
    """Paths of the modules that hold a mixing parameter of one of these names."""
    pattern = re.compile(rf"^(?P<path>(?:.*\.)?)(?:{'|'.join(map(re.escape, roles))})$")
    return list(dict.fromkeys(match["path"] for name in mixers.tensors if (match := pattern.match(name)) is not None))


def recognise_modules(
    checkpoint: NamedTensors, modules: Mapping[str, Mapping[str, str]], *, needed: Sequence[str], model: str
) -> Recognition:
    """The modules as sites in depth order.

    Raises
    ------
    LayoutError
        A module lacks a parameter, or a numbered module is missing.
    """
    for path, roles in modules.items():
        missing = [role for role in needed if role not in roles]
        if missing:
            raise LayoutError(
                checkpoint.path,
                found=f"module {path or '(top level)'} has {next(iter(roles.values()))} but no {missing[0]}",
                expected=", ".join(needed) + " for every site",
                hint="is a shard missing?",
            )
    paths = {path.removesuffix("."): roles for path, roles in modules.items()}
    refuse_gaps(checkpoint, list(paths))
    order = order_by_depth(paths)
    return Recognition(
        model=model,
        sites=tuple(
            Site(name=name or "0", tensors=paths[path], depth=depth)
            for depth, (path, name) in enumerate(zip(order.paths, order.names, strict=True))
        ),
        assumed=order.assumed,
    )

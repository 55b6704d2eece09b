"""The depth order of sites, from their module paths."""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise

from mhcdiag.errors import LayoutError
from mhcdiag.namedtensors import NamedTensors

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
    """Empty where the paths tell layer and kind of every site."""


@dataclass(frozen=True, slots=True)
class _Place:
    layer: int | None
    kind: int | None  # 0 attention, 1 feed-forward
    path: str

    @property
    def name(self) -> str:
        return f"{self.layer}.{('attn', 'ffn')[self.kind]}" if self.kind is not None else self.path


def order_by_depth(paths: Collection[str]) -> DepthOrder:
    """Sort module paths by integer layer, attention before feed-forward; where they do not tell, in natural order.

    >>> order_by_depth(["layers.10.ff", "layers.2.ff", "layers.2.attn", "layers.10.attn"]).names
    ('2.attn', '2.ffn', '10.attn', '10.ffn')
    """
    places = [_place(path) for path in paths]
    told = {(place.layer, place.kind) for place in places}
    if all(place.kind is not None for place in places) and len(told) == len(places):
        places.sort(key=lambda place: (place.layer or 0, place.kind or 0))
        return DepthOrder(
            paths=tuple(place.path for place in places),
            names=tuple(place.name for place in places),
            assumed=(),
        )
    ordered = tuple(sorted(paths, key=natural_key))
    assumed = (f"depth order: natural order of module paths, {ordered[0]} first (they do not tell attention from FFN)",)
    return DepthOrder(paths=ordered, names=ordered, assumed=assumed if len(ordered) > 1 else ())


def natural_key(path: str) -> list[tuple[int, str]]:
    """Sort key under which "layers.2" comes before "layers.10"."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", path) if part]


def refuse_gaps(checkpoint: NamedTensors, paths: Sequence[str]) -> None:
    """Refuse numbered modules of which one is missing whole, e.g. layers 0, 1, 3 without any tensor of layer 2."""
    groups: dict[str, set[int]] = {}
    for path in paths:
        for found in re.finditer(r"(?:^|(?<=\.))(\d+)(?=\.|$)", path):
            groups.setdefault(path[: found.start()], set()).add(int(found.group()))
    for prefix, numbers in groups.items():
        ordered = sorted(numbers)
        stride = min((b - a for a, b in pairwise(ordered)), default=1)
        for number in sorted(set(range(ordered[0], ordered[-1], stride)) - numbers):
            if not any(name.startswith(f"{prefix}{number}.") for name in checkpoint.tensors):
                raise LayoutError(
                    checkpoint.path,
                    found=f"no tensor of {prefix}{number}, between {prefix}{ordered[0]} and {prefix}{ordered[-1]}",
                    expected="every layer",
                    hint="is a shard missing?",
                )


def _place(path: str) -> _Place:
    parts = path.split(".")
    numbers = [int(part) for part in parts if part.isdigit()]
    words = [part for part in parts if not part.isdigit()]
    attention = any(_ATTENTION.search(word) for word in words)
    feed_forward = any(_FEED_FORWARD.search(word) for word in words)
    if len(numbers) != 1 or attention == feed_forward:
        return _Place(numbers[0] if numbers else None, None, path)
    return _Place(numbers[0], 0 if attention else 1, path)

"""Which tensors do the same work in other layers, and as other experts: what one of them is held against."""

import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from mhcdiag.weight_scan.parts import Part
from mhcdiag.weight_scan.tally import Summary

# After these words a number counts layers, experts or copies; a number in a Sequential ("mlp.0", "mlp.2") does not.
_COUNTED = re.compile(r"^(?:.*_)?(?:layers?|h|blocks?|blk|resblocks|experts?|stages?|groups?|rank|copy)$")
_EXPERTS = re.compile(r"^(?:.*_)?experts?$")
_PIECES = re.compile(r"[^.() ,]+|[.() ,]+")
_GROUPED = re.compile(r"^(weight|bias|expert_)(\d+)$")
"""Experts of Megatron-LM (`experts.linear_fc1.weight7`) and of Switch Transformers (`experts.expert_7.wi.weight`)."""
_FEWEST = 3
"""Numbers 0, 1, 2 after an unknown word make it one that counts."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Scanned:
    """One part with what was measured of it, and its place in the model."""

    part: Part
    summary: Summary
    role: str
    """Name with `*` for numbers of layers, experts and ranks."""
    layer: int | None
    """First of these numbers; None where the name has none."""
    expert: int | None
    """Number of the expert; None for what is none."""

    @property
    def name(self) -> str:
        """As reports show it."""
        return self.part.name

    @property
    def bare(self) -> str:
        """Name of the tensor without the rank that saved it."""
        return self.part.tensor.partition(" (")[0]


def placed(parts: Sequence[tuple[Part, Summary]]) -> list[Scanned]:
    """Parts with their places in the model."""
    words = _counting_words(part.tensor for part, _ in parts)
    found = []
    for part, summary in parts:
        role, numbers, expert = _read(part.tensor, words)
        if part.index:
            role, expert = f"{role}[*]", part.index[0]
        layer = numbers[0] if numbers else None
        found.append(Scanned(part=part, summary=summary, role=role, layer=layer, expert=expert))
    return found


class Family:
    """All parts of one role: the same matrix of all layers, or of all experts of all layers.

    A mixture of experts has families of ten thousand: what is asked of all members is computed once.
    """

    def __init__(self, members: Sequence[Scanned]) -> None:
        self.members = members
        # What holds NaN or infinity is no example for the others.
        self.examples = [one for one in members if one.summary.is_finite and one.summary.scanned]
        self._is_example = {id(one) for one in self.examples}
        self._counts: dict[object, int] = {}
        self._sorted: dict[object, list[float]] = {}

    def others(self, one: Scanned) -> int:
        """How many examples there are beside this one."""
        return len(self.examples) - (id(one) in self._is_example)

    def alike(self, one: Scanned, so: Callable[[Scanned], bool]) -> int:
        """For how many of the others something holds.

        Parameters
        ----------
        so
            The same function object whenever the same is asked.
        """
        if so not in self._counts:
            self._counts[so] = sum(map(so, self.examples))
        return self._counts[so] - (id(one) in self._is_example and so(one))

    def is_usual(self, one: Scanned, so: Callable[[Scanned], bool]) -> bool:
        """Whether something holds for more than half of the others: then the model is made that way."""
        return 2 * self.alike(one, so) > self.others(one)

    def sizes(self, one: Scanned, of: Callable[[Scanned], float]) -> list[float]:
        """A number of all others, in order of size; `of` is the same function object whenever the same is asked."""
        if of not in self._sorted:
            self._sorted[of] = sorted(map(of, self.examples))
        known = self._sorted[of]
        if id(one) not in self._is_example:
            return known
        place = bisect_left(known, of(one))
        return known[:place] + known[place + 1 :]

    def some_others(self, one: Scanned) -> list[Scanned]:
        """A few of the others, to name them."""
        return [other for other in self.examples[:4] if other is not one][:3]


def families(scanned: Iterable[Scanned]) -> Mapping[str, Family]:
    """All parts by role."""
    found: dict[str, list[Scanned]] = defaultdict(list)
    for one in scanned:
        found[one.role].append(one)
    return {role: Family(members) for role, members in found.items()}


def _counting_words(names: Iterable[str]) -> set[str]:
    """What stands before numbers 0, 1, 2, ... without a gap, for words that are not known to count."""
    numbers: dict[str, set[int]] = defaultdict(set)
    for name in names:
        pieces = _PIECES.findall(name)
        for place in range(2, len(pieces), 2):
            if pieces[place].isdigit():
                numbers["".join(pieces[:place])].add(int(pieces[place][:9]))
    return {word for word, found in numbers.items() if len(found) >= _FEWEST and found == set(range(len(found)))}


def _read(name: str, words: set[str]) -> tuple[str, list[int], int | None]:
    pieces = _PIECES.findall(name)
    role, numbers, expert = list(pieces), [], None
    for place in range(0, len(pieces), 2):
        piece, before = pieces[place], pieces[place - 2] if place else ""
        if grouped := _GROUPED.match(piece):
            role[place], expert = f"{grouped[1]}*", int(grouped[2][:9])
            numbers.append(expert)
        elif place and piece.isdigit() and (_COUNTED.match(before) or "".join(pieces[:place]) in words):
            role[place] = "*"
            numbers.append(int(piece[:9]))
            expert = numbers[-1] if _EXPERTS.match(before) else expert
    return "".join(role), numbers, expert

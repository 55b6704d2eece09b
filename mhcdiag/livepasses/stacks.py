"""Which calls of sites mix the same residual streams: stacks, each with its own composite.

A model may hold several: an encoder and a decoder, two towers, one encoder that runs on two inputs. The streams that
leave one block and enter the next are the same numbers; where that is seen, it decides. Where it is not (something
stands in between, or no module hands the streams on), names do: sites of one list of blocks are one stack.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import lcm

import torch
from jaxtyping import Float
from torch import Tensor

from mhcdiag.errors import SettingError
from mhcdiag.livepasses.calls import Call, same_streams

FIRST = -1
"""In place of the call before, for the first of a stack."""


@dataclass(frozen=True, kw_only=True)
class LiveStack:
    """The calls that mix the same streams, in the order in which they ran."""

    name: str
    """What its sites' paths have in common, as "encoder.layers"; numbered where several stacks have the same."""
    calls: tuple[Call, ...]

    @cached_property
    def sites(self) -> tuple[str, ...]:
        """One name a call: the site's path, and from its second call on "path@2", "path@3"."""
        seen: dict[str, int] = {}
        names = []
        for call in self.calls:
            seen[call.site] = seen.get(call.site, 0) + 1
            names.append(call.site if seen[call.site] == 1 else f"{call.site}@{seen[call.site]}")
        return tuple(names)

    @property
    def fractions(self) -> int:
        """Parts of each stream in which the finest site mixes."""
        return lcm(*(call.fractions for call in self.calls))

    def maps(self, call: Call) -> Float[Tensor, "token stream stream"]:
        """H_res of one call on the finest parts of streams that any site of the stack mixes.

        A site that mixes whole streams mixes each part alike: H x I. The gain of a composite is that of its matrix, so
        that nothing changes where all sites have the same parts.
        """
        return refined(call.maps, self.fractions // call.fractions)

    def problem(self) -> str:
        """Why the mappings cannot be composed; empty where they can."""
        shapes = {(len(call.maps), call.streams) for call in self.calls}
        if len(shapes) == 1:
            return ""
        found = sorted({(len(call.maps), call.streams, call.streams) for call in self.calls})
        return f"sites with mappings of shapes {found}: expected the same tokens and streams at all"


def refined(maps: Float[Tensor, "token stream stream"], parts: int) -> Float[Tensor, "token part part"]:
    """Mappings of streams as mappings of equal parts of them, which they mix alike."""
    if parts == 1:
        return maps
    return torch.kron(maps.contiguous(), torch.eye(parts, dtype=maps.dtype, device=maps.device))


def links_of(calls: Sequence[Call]) -> list[int]:
    """For each call the position of the call before it in the same stack, or `FIRST`.

    This waits for the device once, where marks of streams lie there.
    """
    marks = _marks(calls)
    links: list[int] = []
    ends: list[int] = []  # of each stack the position of its newest call, the newest stack last
    for at in range(len(calls)):
        before = _before(at, calls, ends, links, marks)
        links.append(before)
        if before != FIRST:
            ends.remove(before)
        ends.append(at)
    return links


def joined(calls: Sequence[Call], links: Sequence[int]) -> tuple[LiveStack, ...]:
    """The stacks of calls that are linked like this, in the order in which they begin."""
    members: list[list[Call]] = []
    of_call: list[int] = []
    for call, before in zip(calls, links, strict=True):
        if before == FIRST:
            members.append([])
        of_call.append(len(members) - 1 if before == FIRST else of_call[before])
        members[of_call[-1]].append(call)
    names: list[str] = []
    for each in members:
        name = each[0].stack if each[0].stack is not None else common_path([call.site for call in each])
        same = sum(other.split(" #")[0] == name for other in names)
        names.append(f"{name} #{same + 1}" if same else name)
    return tuple(LiveStack(name=name, calls=tuple(each)) for name, each in zip(names, members, strict=True))


def choose_stack(stacks: Sequence[LiveStack], wanted: str | None) -> LiveStack:
    """The one that is asked for, by its name or the beginning of it.

    Raises
    ------
    SettingError
        None, or none alone, is called so; or there are several and none is asked for.
    """
    names = ", ".join(repr(each.name) for each in stacks)
    if wanted is None:
        if len(stacks) == 1:
            return stacks[0]
        raise SettingError(f"the model holds {len(stacks)} stacks of streams, {names}: choose one by stack (--stack)")
    exact = [each for each in stacks if each.name == wanted]
    found = exact or [each for each in stacks if f"{each.name}.".startswith(f"{wanted}.")]
    if len(found) != 1:
        raise SettingError(f"stack {wanted!r}: expected one of {names}")
    return found[0]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Marks:
    """Marks of the streams around one call, on the CPU."""

    entry: list[float] | None
    exits: list[list[float]]
    copies: bool


def _marks(calls: Sequence[Call]) -> list[_Marks]:
    rows = [_plain(each) for call in calls for each in (call.entry, *call.exits) if each is not None]
    flags = [call.copies for call in calls if call.copies is not None]
    # All at once: each would wait for the device by itself.
    numbers = iter(torch.stack([row.to(rows[0].device) for row in rows]).tolist() if rows else ())
    known = iter(torch.stack([flag.to(flags[0].device) for flag in flags]).tolist() if flags else ())
    return [
        _Marks(
            entry=next(numbers) if call.entry is not None else None,
            exits=[next(numbers) for _ in call.exits],
            copies=bool(next(known)) if call.copies is not None else False,
        )
        for call in calls
    ]


def _plain(mark: Tensor) -> Tensor:
    return mark if mark.device.type == "mps" else mark.double()  # MPS knows no float64


def _before(at: int, calls: Sequence[Call], ends: Sequence[int], links: Sequence[int], marks: Sequence[_Marks]) -> int:
    call, entry = calls[at], marks[at].entry
    fitting = [
        end
        for end in reversed(ends)
        if call.stack == calls[end].stack
        and (call.stack is not None or (calls[end].tokens == call.tokens and calls[end].streams == call.streams))
    ]
    if call.stack is not None:
        return fitting[0] if fitting else FIRST
    for end in fitting:
        if entry is not None and any(same_streams(entry, left) for left in marks[end].exits):
            return end
    alike = (end for end in fitting if group_of(calls[end].site) == group_of(call.site))
    end = next(alike, FIRST)
    return FIRST if end != FIRST and _is_fresh(at, end, calls, links, marks) else end


def _is_fresh(at: int, end: int, calls: Sequence[Call], links: Sequence[int], marks: Sequence[_Marks]) -> bool:
    """Whether streams entered that begin a stack: copies of one vector, though those before had drifted apart.

    Untrained hyper-connections keep copies all the way; there a stack begins where a site runs again on streams that
    no module before had handed on.
    """
    if not marks[at].copies:
        return False
    if not marks[end].copies:
        return True
    return bool(marks[end].exits) and calls[at].site in _sites_before(end, calls, links)


def _sites_before(end: int, calls: Sequence[Call], links: Sequence[int]) -> set[str]:
    found = set()
    while end != FIRST:
        found.add(calls[end].site)
        end = links[end]
    return found


_NUMBER = re.compile(r"^\d+$")


def group_of(site: str) -> str:
    """The list of blocks that a site stands in, or its parent: "encoder.layers" of "encoder.layers.3.attn"."""
    parts = site.split(".")
    numbers = [at for at, part in enumerate(parts) if _NUMBER.match(part)]
    return ".".join(parts[: numbers[0]] if numbers else parts[:-1])


def common_path(sites: Sequence[str]) -> str:
    """What the paths have in common, without a number at its end; "model" where that is nothing."""
    split = [group_of(site).split(".") for site in sites]
    common = []
    for parts in zip(*split, strict=False):
        if len(set(parts)) > 1:
            break
        common.append(parts[0])
    return ".".join(part for part in common if part) or "model"


def stacks_of(calls: Sequence[Call]) -> tuple[LiveStack, ...]:
    """The stacks that these calls form."""
    return joined(calls, links_of(calls))

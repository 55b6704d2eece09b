"""From caught calls to one report: the ranks agree that all of them can report, then their gains are joined."""

import logging
import zlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, distributed

from mhcdiag.errors import SettingError
from mhcdiag.kernels.composite.dispatch import choose_kernel
from mhcdiag.kernels.composite.interface import KEYS, Kernel, Outputs
from mhcdiag.kernels.composite.reference import ReferenceKernel
from mhcdiag.kernels.composite.scaled import Scaled
from mhcdiag.livepasses.calls import Call
from mhcdiag.livepasses.stacks import LiveStack, joined, links_of
from mhcdiag.results.gain import Definition, Direction, Kind, LiveGains
from mhcdiag.results.numbers import Number, is_finite

logger = logging.getLogger("mhcdiag")

NOTHING, REFUSED = 0, -1
"""What a rank says that ran no site, or whose mappings cannot be composed; other numbers are signatures of sites."""


def is_distributed() -> bool:
    """Whether this process trains together with others."""
    return distributed.is_available() and distributed.is_initialized()


def agreed_stacks(calls: Sequence[Call], *, step: int) -> tuple[LiveStack, ...]:
    """The stacks that the calls of this step form, the same on every rank; none, on all of them, where one ran none.

    Every rank of a distributed run calls this at the same step.

    Raises
    ------
    SettingError
        On all ranks: sites of one stack differ in tokens or streams, or ranks ran different sites.
    """
    links = links_of(calls)
    problem = _problem(calls, links)
    if is_distributed():
        state = REFUSED if problem is not None else _signature(calls)
        least, most = _least_and_most(state, _device(calls))
        if problem is None and least == REFUSED:
            problem = "the mappings of another rank cannot be composed; its message says why"
        # A rank that runs no site at one step is worth a warning; different sites would be so at every step.
        elif problem is None and least == NOTHING < most:
            logger.warning("step %d: no report of gains, since a rank ran no site", step)
        elif problem is None and least != most:
            problem = (
                "ranks ran different sites, as under pipeline parallelism; expected the whole model on each: "
                "composites of parts would say nothing of the whole"
            )
        calls = calls if least != NOTHING else ()
        links = _agreed_links(links, _device(calls)) if problem is None and calls else links
    elif problem is None and not calls:
        logger.warning(
            "step %d: no report of gains, since no site ran; a model that torch.compile compiled before Monitor was "
            "entered runs without its hooks",
            step,
        )
    if problem is not None:
        raise SettingError(problem)
    return joined(calls, links) if calls else ()


def _problem(calls: Sequence[Call], links: Sequence[int]) -> str | None:
    return next((why for stack in joined(calls, links) if (why := stack.problem())), None)


def _agreed_links(links: Sequence[int], device: torch.device) -> list[int]:
    """Links of calls as most ranks' streams tell them: which streams are copies depends on each rank's tokens."""
    found = torch.tensor(links, dtype=torch.float64, device=device)
    distributed.all_reduce(found, op=distributed.ReduceOp.MAX)
    return [int(each) for each in found.tolist()]


def _signature(calls: Sequence[Call]) -> int:
    """A number above 0 that names and streams of the sites have in common; tokens may differ between ranks."""
    if not calls:
        return NOTHING
    # Not Python's hash of a text, which differs from process to process.
    return 1 + zlib.crc32("\0".join(f"{call.stack} {call.site} {call.maps.shape[-1]}" for call in calls).encode())


def _device(calls: Sequence[Call]) -> torch.device:
    # NCCL reduces on GPUs only, and gloo need not know the device that the mappings lie on.
    if distributed.get_backend() != "nccl":
        return torch.device("cpu")
    found: Any = next((call.maps.device for call in calls), None)
    return found or torch.device("cuda", torch.cuda.current_device())


def _least_and_most(state: int, device: torch.device) -> tuple[int, int]:
    # One collective for both: the largest of the negatives is the least. float64 holds 33 bits exactly.
    edges = torch.tensor([state, -state], dtype=torch.float64, device=device)
    distributed.all_reduce(edges, op=distributed.ReduceOp.MAX)
    most, least = edges.tolist()
    return -int(least), int(most)


FORWARD = KEYS.index((Direction.FORWARD, Definition.NORM))
BACKWARD = KEYS.index((Direction.BACKWARD, Definition.NORM))


def live_gains(stacks: Sequence[LiveStack], *, step: int, unread: tuple[str, ...] = ()) -> LiveGains:
    """The report of one step; with `agreed_stacks` the one place that waits for the device.

    Every rank of a distributed run calls this at the same step, after all have found the same stacks.
    """
    found = [replace(_of_stack(stack, step=step), unread=unread) for stack in stacks]
    if len(found) == 1:
        return found[0]
    worst = next(each for each in found if _same(each.worst, _largest([one.worst for one in found])))
    return replace(
        worst,
        forward=_largest([each.forward for each in found]),
        backward=_largest([each.backward for each in found]),
        forward_max=_largest([each.forward_max for each in found]),
        backward_max=_largest([each.backward_max for each in found]),
        stacks=tuple(found),
    )


def _largest(numbers: Sequence[Number]) -> Number:
    """NaN and infinity are larger than any number."""
    return next((number for number in numbers if not is_finite(number)), max(numbers))


def _same(one: Number, other: Number) -> bool:
    return one is other or one == other


def _of_stack(stack: LiveStack, *, step: int) -> LiveGains:
    first = stack.calls[0].maps
    each_site = [stack.maps(call).to(first.device) for call in stack.calls]
    maps = torch.stack(each_site).permute(0, 2, 3, 1)
    maps = maps.cpu() if maps.device.type == "mps" else maps  # which has no float64
    found = _kernel_for(maps).chunk_gains(maps, Outputs.NOTHING).kinds
    means = torch.stack([_plain(found[kind].sums) for kind in Kind])[:, [FORWARD, BACKWARD]]
    largest = torch.stack([_plain(found[kind].maxima) for kind in Kind])[:, [FORWARD, BACKWARD]]
    tokens = torch.tensor([maps.shape[-1]], dtype=torch.float64, device=means.device)
    # Sums over tokens add up over ranks, whose numbers of tokens may differ; maxima do not need them.
    if is_distributed():
        distributed.all_reduce(means)
        distributed.all_reduce(tokens)
        distributed.all_reduce(largest, op=distributed.ReduceOp.MAX)
    means = means / tokens
    # The largest over ranks may have lost a NaN; a sum does not.
    largest = torch.where(means.isnan(), torch.nan, largest)
    worst, worst_token = means.amax(dim=(0, 2)).tolist(), largest.amax(dim=(0, 2)).tolist()
    order = list(Kind)
    return LiveGains(
        step=step,
        stack=stack.name,
        sites=stack.sites,
        tokens=int(tokens),
        prefix_forward=tuple(means[order.index(Kind.PREFIX), 0].tolist()),
        suffix_backward=tuple(means[order.index(Kind.SUFFIX), 1].tolist()),
        forward=worst[0],
        backward=worst[1],
        forward_max=worst_token[0],
        backward_max=worst_token[1],
    )


def _kernel_for(maps: Tensor) -> Kernel:
    """One program on a GPU in place of some thousand; on a CPU nothing that would compile inside a training step."""
    if not maps.is_cuda:
        return ReferenceKernel()
    dtype = torch.float64 if maps.dtype == torch.float64 else torch.float32
    return choose_kernel(device="cuda", streams=maps.shape[1], matrices=maps.shape[0] * maps.shape[-1], dtype=dtype)


def _plain(values: Scaled) -> Tensor:
    """As float64, infinite where that overflows: ranks add plain numbers up."""
    mantissa = values.mantissa.double()
    return mantissa if values.exponent is None else mantissa * torch.exp2(values.exponent.double())

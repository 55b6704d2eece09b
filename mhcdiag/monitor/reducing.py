"""From caught mappings to one report: the ranks agree that all of them can report, then their gains are joined."""

import logging
import zlib
from typing import Any

import torch
from torch import Tensor, distributed

from mhcdiag.errors import SettingError
from mhcdiag.kernels.composite.dispatch import choose_kernel
from mhcdiag.kernels.composite.interface import KEYS, Kernel, Outputs
from mhcdiag.kernels.composite.reference import ReferenceKernel
from mhcdiag.kernels.composite.scaled import Scaled
from mhcdiag.monitor.catching import stacked
from mhcdiag.results.gain import Definition, Direction, Kind, LiveGains

logger = logging.getLogger("mhcdiag")

NOTHING, REFUSED = 0, -1
"""What a rank says that ran no site, or whose mappings cannot be composed; other numbers are signatures of sites."""


def is_distributed() -> bool:
    """Whether this process trains together with others."""
    return distributed.is_available() and distributed.is_initialized()


def can_report(caught: dict[str, Tensor], *, step: int) -> bool:
    """Whether every rank ran the same sites in this step; False, on all of them, where one ran none.

    Every rank of a distributed run calls this at the same step.

    Raises
    ------
    SettingError
        On all ranks: sites of one rank differ in tokens or streams, or ranks ran different sites.
    """
    problem = _problem(caught)
    if is_distributed():
        state = REFUSED if problem is not None else _signature(caught)
        least, most = _least_and_most(state, _device(caught))
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
        caught = caught if least != NOTHING else {}
    elif problem is None and not caught:
        logger.warning(
            "step %d: no report of gains, since no site ran; a model that torch.compile compiled before Monitor was "
            "entered runs without its hooks",
            step,
        )
    if problem is not None:
        raise SettingError(problem)
    return bool(caught)


def _problem(caught: dict[str, Tensor]) -> str | None:
    shapes = {tuple(maps.shape) for maps in caught.values()}
    if len(shapes) <= 1:
        return None
    return f"sites with mappings of shapes {sorted(shapes)}: expected the same tokens and streams at all"


def _signature(caught: dict[str, Tensor]) -> int:
    """A number above 0 that names and streams of the sites have in common; tokens may differ between ranks."""
    if not caught:
        return NOTHING
    streams = next(iter(caught.values())).shape[-1]
    # Not Python's hash of a text, which differs from process to process.
    return 1 + zlib.crc32("\0".join([str(streams), *caught]).encode())


def _device(caught: dict[str, Tensor]) -> torch.device:
    # NCCL reduces on GPUs only, and gloo need not know the device that the mappings lie on.
    if distributed.get_backend() != "nccl":
        return torch.device("cpu")
    found: Any = next((maps.device for maps in caught.values()), None)
    return found or torch.device("cuda", torch.cuda.current_device())


def _least_and_most(state: int, device: torch.device) -> tuple[int, int]:
    # One collective for both: the largest of the negatives is the least. float64 holds 33 bits exactly.
    edges = torch.tensor([state, -state], dtype=torch.float64, device=device)
    distributed.all_reduce(edges, op=distributed.ReduceOp.MAX)
    most, least = edges.tolist()
    return -int(least), int(most)


FORWARD = KEYS.index((Direction.FORWARD, Definition.NORM))
BACKWARD = KEYS.index((Direction.BACKWARD, Definition.NORM))


def live_gains(caught: dict[str, Tensor], *, step: int) -> LiveGains:
    """The report of one step; the one place that waits for the device.

    Every rank of a distributed run calls this at the same step, after all have found that they can (`can_report`).
    """
    sites, maps = stacked(caught)
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
        sites=tuple(sites),
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

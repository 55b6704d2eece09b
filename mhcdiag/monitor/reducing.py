"""From caught mappings to one report, over all ranks of a distributed run."""

import torch
from torch import Tensor, distributed

from mhcdiag.kernels.composite.dispatch import choose_kernel
from mhcdiag.kernels.composite.interface import KEYS, Kernel, Outputs
from mhcdiag.kernels.composite.reference import ReferenceKernel
from mhcdiag.kernels.composite.scaled import Scaled
from mhcdiag.monitor.catching import stacked
from mhcdiag.monitor.rank_agreement import is_distributed
from mhcdiag.results.gain import Definition, Direction, Kind
from mhcdiag.results.monitoring import LiveGains

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

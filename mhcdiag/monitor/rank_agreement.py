"""Whether all ranks of a distributed run can make one report together; found out before anything is reduced.

A rank that raises, or returns, while the others wait in a collective leaves them waiting for ever. Every rank therefore
says what it has (one number, in one all-reduce), and all of them go on, warn or raise alike.
"""

import logging
import zlib
from typing import Any

import torch
from torch import Tensor, distributed

from mhcdiag.errors import SettingError

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

"""Sinkhorn-Knopp on processors: Numba loops over blocks of tokens, on all the threads that torch may use."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from mhcdiag.kernels import cpu_sinkhorn_loops
from mhcdiag.kernels.cpu_sinkhorn_loops import ADDED, BLOCK, FLOOR, SKIP
from mhcdiag.kernels.scaled import widened
from mhcdiag.kernels.sharing import share
from mhcdiag.kernels.sinkhorn_interface import Matrices, Normalised
from mhcdiag.kernels.sinkhorn_reference import raised, start_of, through_softmax
from mhcdiag.kernels.sinkhorn_rule import COLUMNS, Guard, SinkhornRule

GUARDS = {Guard.ADDED: ADDED, Guard.FLOOR: FLOOR, Guard.SKIP: SKIP}


@dataclass(frozen=True, slots=True)
class NumbaSinkhorn:
    """See `SinkhornKernel`; any number of streams."""

    name: ClassVar[str] = "numba"

    def forward(self, logits: Matrices, rule: SinkhornRule, *, keep: bool) -> Normalised:
        """See `SinkhornKernel`."""
        start = start_of(widened(logits.detach()), rule)
        matrix = raised(start, rule, keep=keep).contiguous()
        count, streams, _, tokens = matrix.shape
        sums = matrix.new_empty(count, rule.steps if keep else 1, streams, tokens)
        result = torch.empty_like(matrix) if keep else matrix
        eps = matrix.new_tensor(rule.eps).numpy()[()]  # a plain float would make every sum a float64
        fixed = (eps, GUARDS[rule.guard], int(rule.first == COLUMNS), rule.steps)
        arguments = (matrix.numpy(), *fixed, sums.numpy(), result.numpy())
        share(cpu_sinkhorn_loops.forward, count * -(-tokens // BLOCK), arguments)
        if keep:
            return Normalised(result=result, start=start, sums=sums)
        return Normalised(result=result.to(logits.dtype))

    def backward(self, gradient: Matrices, kept: Normalised, rule: SinkhornRule) -> Matrices:
        """See `SinkhornKernel`."""
        assert kept.sums is not None
        result = kept.result
        found = torch.empty_like(result)
        given = gradient.to(result.dtype).contiguous()
        fixed = (int(rule.first == COLUMNS), rule.steps)
        arguments = (given.numpy(), result.numpy(), *fixed, kept.sums.numpy(), found.numpy())
        share(cpu_sinkhorn_loops.backward, len(result) * -(-result.shape[-1] // BLOCK), arguments)
        return through_softmax(found, kept, rule)

"""Sinkhorn-Knopp in plain torch: the oracle of the compiled implementations, and what runs without them."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from mhcdiag.kernels.choice import widened
from mhcdiag.kernels.sinkhorn.interface import Guard, Matrices, Normalised, SinkhornRule, Start


@dataclass(frozen=True, slots=True)
class ReferenceSinkhorn:
    """See `SinkhornKernel`; works on any device and for any number of streams."""

    name: ClassVar[str] = "torch"

    def forward(self, logits: Matrices, rule: SinkhornRule, *, keep: bool) -> Normalised:
        """See `SinkhornKernel`."""
        start = start_of(widened(logits), rule)
        matrix = raised(start, rule, keep=keep)
        sums = []
        for step in range(rule.steps):
            axis = rule.axis(step)
            total = _guarded(matrix.sum(dim=axis, keepdim=True), rule)
            matrix /= total
            if keep:
                sums.append(total.squeeze(axis))
        if keep:
            return Normalised(result=matrix, start=start, sums=torch.stack(sums, dim=1))
        return Normalised(result=matrix.to(logits.dtype))

    def backward(self, gradient: Matrices, kept: Normalised, rule: SinkhornRule) -> Matrices:
        """See `SinkhornKernel`."""
        assert kept.sums is not None
        gradient, matrix = gradient.to(kept.result.dtype, copy=True), kept.result.clone()
        for step in reversed(range(rule.steps)):
            axis = rule.axis(step)
            total = kept.sums[:, step].unsqueeze(axis)
            inner = (gradient * matrix).sum(dim=axis, keepdim=True)
            gradient.sub_(inner).div_(total)
            matrix.mul_(total)
        return through_softmax(gradient, kept, rule)


def start_of(logits: Matrices, rule: SinkhornRule) -> Matrices:
    """The positive matrices before any normalisation, and before eps is added; a copy."""
    if rule.start is Start.SOFTMAX:
        return logits.softmax(dim=rule.second)
    logits = logits.clamp(-rule.limit, rule.limit)
    if rule.shift:
        logits -= logits.amax(dim=rule.shift, keepdim=True)
    return logits.exp_()


def raised(start: Matrices, rule: SinkhornRule, *, keep: bool) -> Matrices:
    """The start as it enters the first step: plus eps where it is a softmax; `start` itself changes unless kept."""
    if rule.start is not Start.SOFTMAX:
        return start.clone() if keep else start
    return start + rule.eps if keep else start.add_(rule.eps)


def through_softmax(gradient: Matrices, kept: Normalised, rule: SinkhornRule) -> Matrices:
    """The gradient of the logits from that of their softmax."""
    assert kept.start is not None
    weighted = gradient * kept.start
    return weighted - kept.start * weighted.sum(dim=rule.second, keepdim=True)


def _guarded(sums: Tensor, rule: SinkhornRule) -> Tensor:
    if rule.guard is Guard.ADDED:
        return sums.add_(rule.eps)
    if rule.guard is Guard.FLOOR:
        return sums.clamp_(min=rule.eps)
    return sums.masked_fill_(sums <= rule.eps, 1.0)

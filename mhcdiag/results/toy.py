"""What training a toy model gave, step by step and in one line."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from mhcdiag.results.bands import EXPLODED_GAIN
from mhcdiag.results.presented import Brief
from mhcdiag.results.verdict import Limit, Verdict

FINAL_STEPS = 50
"""Losses whose mean stands for the end of a run: single batches are noisy."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StepRow:
    """One line of `train.jsonl`."""

    step: int
    """Optimiser step, from 1."""
    loss: float
    """Cross-entropy of the step's batch in nats, before its update."""
    grad_norm: float
    """L2 norm of the gradient before clipping."""
    learning_rate: float
    """Of this step."""
    gain_forward: float | None = None
    """Gain of the whole model after the update: amax, token mean of the held-out batch; None: not measured."""
    gain_backward: float | None = None
    """The same over columns."""
    stream_rms: float | None = None
    """Root mean square of the streams behind the last site, on the held-out batch."""
    stream_max: float | None = None
    """Largest absolute value of any stream behind any site, on the held-out batch."""

    def as_json(self) -> dict[str, float]:
        """What was measured, by name."""
        values = {name: getattr(self, name) for name in type(self).__slots__}
        return {name: value for name, value in values.items() if value is not None}


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class ToyRun(Brief):
    """A training run of one topology."""

    path: str
    """Folder of the run."""
    topology: str
    """Name of the residual topology."""
    seed: int
    """Of parameters and data."""
    rows: tuple[StepRow, ...]
    """All steps in order."""
    nan_step: int | None
    """Step whose loss or gradient was not finite, where training stopped; None where it ran to its end."""
    seconds: float
    """Processor seconds that training took, measurements of the gain included; NaN where the run was resumed."""

    def final_loss(self) -> float:
        """Mean loss of the last steps."""
        losses = [row.loss for row in self.rows[-FINAL_STEPS:]]
        return fmean(losses) if losses else math.nan

    def largest_gain(self, direction: str) -> float:
        """Largest measured gain, `forward` or `backward`; NaN where none was measured."""
        gains = _measured(self.rows, direction)
        return max(gains.values(), default=math.nan)

    def crossing(self) -> int | None:
        """First step at which either gain was measured above 1000."""
        steps = [
            step
            for way in ("forward", "backward")
            for step, g in _measured(self.rows, way).items()
            if g > EXPLODED_GAIN
        ]
        return min(steps, default=None)

    def largest_norm(self) -> float:
        """Largest gradient norm; NaN where one was not finite."""
        norms = [row.grad_norm for row in self.rows]
        return math.nan if not norms or any(math.isnan(norm) for norm in norms) else max(norms)


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class JudgedToys(Brief):
    """Runs held against a limit."""

    verdict: Verdict
    """Pass where there is no limit."""
    limits: tuple[Limit, ...]
    """Every number that was held against it."""


def _measured(rows: Sequence[StepRow], direction: str) -> dict[int, float]:
    values = {row.step: getattr(row, f"gain_{direction}") for row in rows}
    return {step: value for step, value in values.items() if value is not None}

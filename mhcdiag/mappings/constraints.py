"""How implementations turn logits into (nearly) doubly stochastic matrices by finite Sinkhorn-Knopp iterations.

All of them (arXiv 2512.24880, equation 9) differ in the start, in the order of the two normalisations and in how eps
guards a denominator (`kernels/sinkhorn/rule.py`). Matrices are held as [..., row, column, token], tokens contiguous, in
the orientation in which the implementation stores them. `birkhoff.py` holds those that need no iteration.
"""

from dataclasses import dataclass
from math import inf

from jaxtyping import Float
from torch import Tensor

from mhcdiag.kernels.sinkhorn.interface import COLUMNS, ROWS, Guard, SinkhornRule, Start
from mhcdiag.kernels.sinkhorn.normalise import sinkhorn
from mhcdiag.mappings.sinkhorn_limits import FLOAT32_MAX, FloatRange, finite_within, least_sum

__all__ = ["COLUMNS", "ROWS", "ExpSinkhorn", "Guard", "LogSinkhorn", "SoftmaxSinkhorn"]

Logits = Float[Tensor, "*batch row column token"]


@dataclass(frozen=True, kw_only=True, slots=True)
class SoftmaxSinkhorn:
    """Row softmax plus eps, then columns, then (rows, columns) for the remaining iterations; eps in every denominator.

    Source: `hc_split_sinkhorn` of DeepSeek-V4's inference code and `transformers` (deepseek_v4, glm5_next).
    """

    iterations: int = 20
    eps: float = 1e-6

    @property
    def exact_axes(self) -> tuple[int, ...]:
        """See `Constraint`."""
        return (COLUMNS,)

    @property
    def _rule(self) -> SinkhornRule:
        return SinkhornRule(iterations=self.iterations, eps=self.eps, start=Start.SOFTMAX, first=COLUMNS)

    def finite_within(self, streams: int) -> FloatRange:
        """See `Constraint`."""
        return finite_within(self._rule, streams)

    def least_sum(self, streams: int) -> float:
        """See `Constraint`."""
        return least_sum(self._rule, streams)

    def apply(self, logits: Logits, *, matrices: int = 0) -> Logits:
        """See `Constraint`."""
        return sinkhorn(logits, self._rule, matrices=matrices)


@dataclass(frozen=True, kw_only=True, slots=True)
class ExpSinkhorn:
    """exp, then both normalisations per iteration.

    The defaults are `sinkhorn_knopps` of the package `hyper-connections` (mHC, mHCv2); the layouts that differ say
    how. Its log-domain variant agrees to rounding.
    """

    iterations: int = 20
    eps: float = 1e-12
    first: int = COLUMNS
    """The axis that each iteration normalises first; the other one is exact."""
    guard: Guard = Guard.FLOOR
    shift: tuple[int, ...] = (COLUMNS,)
    """Axes over which the maximum is subtracted before exp; () subtracts nothing, so that large logits overflow."""
    limit: float = inf
    """Logits are cut off at plus and minus this."""

    @property
    def exact_axes(self) -> tuple[int, ...]:
        """See `Constraint`."""
        return (self._rule.last,)

    @property
    def _rule(self) -> SinkhornRule:
        return SinkhornRule(
            iterations=self.iterations,
            eps=self.eps,
            start=Start.EXP,
            first=self.first,
            guard=self.guard,
            shift=self.shift,
            limit=self.limit,
        )

    def finite_within(self, streams: int) -> FloatRange:
        """See `Constraint`."""
        return finite_within(self._rule, streams)

    def least_sum(self, streams: int) -> float:
        """See `Constraint`."""
        return least_sum(self._rule, streams)

    def apply(self, logits: Logits, *, matrices: int = 0) -> Logits:
        """See `Constraint`."""
        return sinkhorn(logits, self._rule, matrices=matrices)


@dataclass(frozen=True, kw_only=True, slots=True)
class LogSinkhorn:
    """The iteration on logarithms, which underflows nowhere on the way; logits are divided by a temperature first.

    Source: `sinkhorn_log` of tokenbender's mHC (rows first) and `sinkhorn_knopps` of mhc-lite's mhc.py (columns first).
    """

    iterations: int
    first: int
    temperature: float = 1.0

    @property
    def exact_axes(self) -> tuple[int, ...]:
        """See `Constraint`."""
        return (self._last,)

    @property
    def _last(self) -> int:
        return ROWS if self.first == COLUMNS else COLUMNS

    def finite_within(self, streams: int) -> FloatRange:
        """See `Constraint`; logits over the temperature, and differences of two of them."""
        del streams
        most = FLOAT32_MAX / 4 * min(1.0, self.temperature)
        return -most, most

    def least_sum(self, streams: int) -> float:
        """See `Constraint`; a logarithm of a sum of exponentials of finite numbers is finite."""
        del streams
        return 1.0

    def apply(self, logits: Logits, *, matrices: int = 0) -> Logits:
        """See `Constraint`; plain torch for any number of matrices, since logarithms are most of its time."""
        del matrices
        logs = logits / self.temperature
        for _ in range(self.iterations):
            logs = logs - logs.logsumexp(dim=self.first, keepdim=True)
            logs = logs - logs.logsumexp(dim=self._last, keepdim=True)
        return logs.exp_()

"""Detection rules that others have published, with their own constants, and the two spike scores that papers compare.

Each rule says which points it flags; `flagged` makes events of them, since no rule says what an event is. Adding one is
a flagger, a `PublishedRule`, and an entry in `RULES` (`detectors/__init__.py`).

How they fare on real logs is why none of them is the default (28 hand-labelled logs; README, "How well it finds them"):
ratio rules miss nearly all spikes of language models, which are 5 to 110 % high; a window of 1000 points takes the
trend for noise; 128 points work, but a second spike within the window hides behind the first.
"""

import math

import numpy as np
from numpy.typing import NDArray

from mhcdiag.detectors.interface import Flagger, Floats, PublishedRule
from mhcdiag.results.spikes import SpikeScore

_ROWS = 8192
"""Windows that are summed from one running sum; the rounding errors of longer sums would show."""

_LOST = 1e-7
"""Share of the variance that rounding may have cost; beyond it a window is summed on its own."""


class RollingMoments:
    """Moments of the last `window` values, the current one excluded, in constant memory.

    Parameters
    ----------
    window
        Values that count; a point with fewer before it has NaN moments.
    """

    def __init__(self, window: int) -> None:
        self._window = window
        self._before: Floats = np.empty(0)

    def feed(self, values: Floats) -> tuple[Floats, Floats]:
        """Return mean and population variance of the window before each value."""
        means, variances = np.full(len(values), np.nan), np.full(len(values), np.nan)
        for start in range(0, len(values), _ROWS):
            block = slice(start, min(start + _ROWS, len(values)))
            known = np.concatenate([self._before, values[block]])
            missing = max(self._window - len(self._before), 0)
            target = slice(start + missing, block.stop)
            if target.start < target.stop:
                means[target], variances[target] = _moments(known[:-1], self._window)
            self._before = known[-self._window :]
        return means, variances


def _moments(values: Floats, window: int) -> tuple[Floats, Floats]:
    """Moments of all windows of some values, from differences of running sums.

    The sum of squares less the square of the sum cancels where the values are far from zero or one of them is huge (a
    gradient norm of 1e9 among ones). Values are taken relative to a mean, and windows where too many digits are gone
    are computed on their own.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        center = values[: 4 * window].mean()
        shifted = values - center
        squares = shifted * shifted
        sums = _sums(shifted, window) / window
        variances = np.maximum(_sums(squares, window) / window - sums * sums, 0.0)
        lost = np.finfo(np.float64).eps * squares.sum()
        lossy = ~(variances * _LOST > lost)
        if lossy.any():
            # A constant series is lossy everywhere, and would cost a variance per point: it has none.
            constant = _sums((np.diff(values) != 0).astype(np.float64), window - 1) == 0
            variances[constant] = 0.0
            lossy &= ~constant
        for doubtful in np.flatnonzero(lossy).tolist():
            variances[doubtful] = values[doubtful : doubtful + window].var()
    return sums + center, variances


def _sums(values: Floats, window: int) -> Floats:
    running = np.concatenate([[0.0], np.cumsum(values)])
    return np.asarray(running[window:] - running[:-window])


# ---- Constants, all of them the defaults of their source ----

OLMO2_WINDOW = 1000
"""OLMo 2 (arXiv 2501.00656): values of the rolling average."""
OLMO2_SIGMAS = 7.0
"""The same: standard deviations away from it."""

OLMO_CORE_WINDOW = 128
"""allenai/OLMo-core, train/callbacks/stability_monitor.py (fa6c5014): window_size."""
OLMO_CORE_SIGMAS = 6.0
"""The same: threshold_std."""
OLMO_CORE_LEAST_STD = 1e-10
"""The same: with a smaller standard deviation nothing is a spike."""

KILL_LOSS_SPIKE_WINDOW = 100
"""mosaicml/llm-foundry, llmfoundry/callbacks/kill_loss_spike_callback.py (8c8dd48f): the least window."""
KILL_LOSS_SPIKE_MULTIPLIER = 2.0
"""The same: outlier_multiplier."""
KILL_LOSS_SPIKE_PATIENCE = 4
"""The same: patience; it fires after more outliers than that in a row."""

MEGATRON_SAMPLES = 100
"""NVIDIA/Megatron-LM, rerun_state_machine.is_unexpectedly_large (d98e8a64): num_samples."""
MEGATRON_FACTOR = 10.0
"""The same: SPIKY_LOSS_FACTOR of --check-for-spiky-loss."""

ZCLIP_ALPHA = 0.97
"""ZClip (arXiv 2504.02507), zclip.py: weight of the past in both averages."""
ZCLIP_THRESHOLD = 2.5
"""The same: z beyond which a gradient norm is clipped."""
ZCLIP_WARMUP = 25
"""The same: values that the averages start from."""
ZCLIP_EPSILON = 1e-6
"""The same: added to the standard deviation."""


class _Olmo2Flagger:
    """|x - mean| >= 7 std of the 1000 values before."""

    def __init__(self) -> None:
        self._moments = RollingMoments(OLMO2_WINDOW)

    def feed(self, values: Floats) -> NDArray[np.bool_]:
        """Return which of the next values are flagged."""
        mean, variance = self._moments.feed(values)
        # A constant series has no deviations to count in; any value would be infinitely many of them away.
        return (variance > 0) & (np.abs(values - mean) >= OLMO2_SIGMAS * np.sqrt(variance))


OLMO2 = PublishedRule(
    name="olmo2",
    title="spike score of the OLMo 2 paper",
    explanation=(
        "Flags a value at least 7 standard deviations away, on either side, from the mean of the 1000 "
        "values before it. The spike score is the share of flagged values. The long window carries the "
        "trend: where the loss still falls, or is logged every few steps, the standard deviation grows "
        "and spikes are missed.\n"
        "Source: OLMo 2 (arXiv 2501.00656); whether the mean includes the value itself is not said there: "
        "here it does not."
    ),
    start=_Olmo2Flagger,
)


class _OlmoCoreFlagger:
    """x > mean + 6 std of the 128 values before."""

    def __init__(self) -> None:
        self._moments = RollingMoments(OLMO_CORE_WINDOW)

    def feed(self, values: Floats) -> NDArray[np.bool_]:
        """Return which of the next values are flagged."""
        mean, variance = self._moments.feed(values)
        std = np.sqrt(variance)
        return (std >= OLMO_CORE_LEAST_STD) & (values > mean + OLMO_CORE_SIGMAS * std)


OLMO_CORE = PublishedRule(
    name="olmo-core",
    title="OLMo-core stability monitor",
    explanation=(
        "Flags a value above the mean plus 6 population standard deviations of the 128 values before it. "
        "The window must be full; a standard deviation below 1e-10 flags nothing. Flagged values enter "
        "the window, so that a second spike within 128 points hides behind the first. Its spike score is "
        "the share of flagged values.\n"
        "Source: allenai/OLMo-core, train/callbacks/stability_monitor.py (window_size 128, threshold_std "
        "6.0)."
    ),
    start=_OlmoCoreFlagger,
)


class _KillLossSpikeFlagger:
    """x >= 2 mean of the 100 values before, more than 4 times in a row."""

    def __init__(self) -> None:
        self._moments = RollingMoments(KILL_LOSS_SPIKE_WINDOW)
        self._streak = 0

    def feed(self, values: Floats) -> NDArray[np.bool_]:
        """Return which of the next values are flagged: those with more than the patience of outliers in a row."""
        if not len(values):
            return np.empty(0, dtype=np.bool_)
        mean, _ = self._moments.feed(values)
        outlier = values >= KILL_LOSS_SPIKE_MULTIPLIER * mean
        # The length of a streak is the distance from the last normal value, which may lie in an earlier call.
        position = np.arange(len(values))
        last_normal = np.maximum.accumulate(np.where(outlier, -1 - self._streak, position))
        streak = position - last_normal
        self._streak = int(streak[-1])
        return np.asarray(streak > KILL_LOSS_SPIKE_PATIENCE)


KILL_LOSS_SPIKE = PublishedRule(
    name="kill-loss-spike",
    title="llm-foundry KillLossSpike callback",
    explanation=(
        "Calls a value an outlier if it is at least twice the mean of the 100 values before it, and fires "
        "after more than 4 consecutive outliers. Outliers enter the window. (The callback takes 5 % of "
        "the run as its window where that is more than 100 steps; a log does not tell how long the run "
        "will be. Its second test, a loss that stays above a cap of at most 10, is left out: it means "
        "nothing where losses are summed.)\n"
        "Source: mosaicml/llm-foundry, llmfoundry/callbacks/kill_loss_spike_callback.py (window 100, "
        "outlier_multiplier 2, patience 4)."
    ),
    start=_KillLossSpikeFlagger,
)


class _MegatronFlagger:
    """|x| >= 10 max |x_i| of the first 100 values."""

    def __init__(self) -> None:
        self._seen = 0
        self._largest = 0.0

    def feed(self, values: Floats) -> NDArray[np.bool_]:
        """Return which of the next values are flagged."""
        learned = min(max(MEGATRON_SAMPLES - self._seen, 0), len(values))
        if learned:
            self._largest = max(self._largest, float(np.abs(values[:learned]).max()))
        self._seen += len(values)
        flagged = np.abs(values) >= MEGATRON_FACTOR * self._largest
        flagged[:learned] = False
        return flagged


MEGATRON_SPIKY = PublishedRule(
    name="megatron",
    title="Megatron-LM --check-for-spiky-loss",
    explanation=(
        "Flags a value whose size is at least 10 times the largest size among the first 100 values. It is "
        "made to find faulty hardware: a run that starts at 11 nats has to reach 110.\n"
        "Source: NVIDIA/Megatron-LM, rerun_state_machine.is_unexpectedly_large (SPIKY_LOSS_FACTOR 10, 100 "
        "samples)."
    ),
    start=_MegatronFlagger,
)


class _ZClipFlagger:
    """z = (x - mean) / (std + 1e-6) > 2.5, with exponential averages of x clipped to mean + 2.5 std / (z / 2.5)."""

    def __init__(self) -> None:
        self._first: list[float] = []
        self._mean = 0.0
        self._variance = 0.0

    def feed(self, values: Floats) -> NDArray[np.bool_]:
        """Return which of the next values are flagged."""
        return np.fromiter((self._take(value) for value in values.tolist()), dtype=np.bool_, count=len(values))

    def _take(self, value: float) -> bool:
        if len(self._first) < ZCLIP_WARMUP:
            self._first.append(value)
            if len(self._first) == ZCLIP_WARMUP:
                self._mean = math.fsum(self._first) / ZCLIP_WARMUP
                self._variance = math.fsum((one - self._mean) ** 2 for one in self._first) / ZCLIP_WARMUP
            return False
        std = math.sqrt(self._variance)
        z = (value - self._mean) / (std + ZCLIP_EPSILON)
        flagged = z > ZCLIP_THRESHOLD
        if flagged:
            value = self._mean + ZCLIP_THRESHOLD * std / (z / ZCLIP_THRESHOLD)
        # The mean first: the variance is taken around the new one.
        self._mean = ZCLIP_ALPHA * self._mean + (1 - ZCLIP_ALPHA) * value
        self._variance = ZCLIP_ALPHA * self._variance + (1 - ZCLIP_ALPHA) * (value - self._mean) ** 2
        return flagged


ZCLIP = PublishedRule(
    name="zclip",
    title="ZClip's z-score",
    explanation=(
        "Keeps exponential moving averages of mean and variance (alpha 0.97, started from 25 values) and "
        "flags a value more than 2.5 standard deviations above the mean. The averages are updated with "
        "the clipped value, which keeps spikes out of them. It is made to clip gradient norms at every "
        "step, not to report events: 2.5 deviations are passed by chance every hundred steps or so.\n"
        "Source: ZClip (arXiv 2504.02507)."
    ),
    start=_ZClipFlagger,
)


class SpikeScores:
    """The spike scores of OLMo 2 and OLMo-core: shares of flagged points of one series, over all runs of a log.

    Both are always reported, whatever rule finds the events, since papers compare runs by them (AdaGC, arXiv
    2502.11034).
    """

    def __init__(self) -> None:
        self._olmo2 = _Share(OLMO2, OLMO2_WINDOW)
        self._olmo_core = _Share(OLMO_CORE, OLMO_CORE_WINDOW)

    def new_run(self) -> None:
        """Begin a new window: the points of another run say nothing about this one."""
        self._olmo2.restart()
        self._olmo_core.restart()

    def feed(self, values: Floats) -> None:
        """Take the next finite values of the series."""
        self._olmo2.feed(values)
        self._olmo_core.feed(values)

    def score(self) -> SpikeScore:
        """Return both scores so far."""
        return SpikeScore(olmo2=self._olmo2.share(), olmo_core=self._olmo_core.share())


class _Share:
    """Share of the points that a rule flags; NaN until a run is longer than the window: nothing was judged."""

    def __init__(self, rule: PublishedRule, window: int) -> None:
        self._rule = rule
        self._window = window
        self._points = 0
        self._flagged = 0
        self._longest = 0
        self.restart()

    def restart(self) -> None:
        self._flagger: Flagger = self._rule.start()
        self._run = 0

    def feed(self, values: Floats) -> None:
        self._flagged += int(np.count_nonzero(self._flagger.feed(values)))
        self._points += len(values)
        self._run += len(values)
        self._longest = max(self._longest, self._run)

    def share(self) -> float:
        return self._flagged / self._points if self._longest > self._window else float("nan")

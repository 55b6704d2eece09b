"""Synthetic losses in many regimes of noise, with known spikes or known to have none: a second generator.

`spike_logs.py` makes one kind of log, on which the constants of our rule were chosen. Here every regime isolates one
trait that real logs have: noise that carries over, heavy tails, a scale that moves, thinned and averaged logging,
rounding, periods, restarts, drifts, shifts, warm-up, short logs, and jumps that stay.

Constants of a rule may be chosen on even seeds; what is published comes from odd ones.

A spike is at least two consecutive logged points, each 8 local deviations above its course; there is one in 1,000
points. The local deviation is the robust one (1.4826 times the median absolute deviation) of the noise at that place,
known from the process that made it, not estimated. Single points are no fair bar: where noise has the tails of t(3), a
detector that knew everything would report almost as many honest points as planted ones of that height.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Random = np.random.Generator

POINTS = 200_000
EVERY = 1_000
"""Points for one spike."""
HEIGHT = 8.0
"""Local deviations of every point of a spike, at least."""
SETTLED = 2_000
"""Points at the start without spikes."""
MAD = 1.4826
UPPER_QUARTILES = {8: 0.7064, 5: 0.7267, 4: 0.7407, 3: 0.7649}
"""Of Student's t by degrees of freedom: its median absolute deviation."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Log:
    """One synthetic series, as it would be logged."""

    loss: Floats
    spikes: tuple[tuple[int, int], ...] = ()
    """First and last point of what was planted."""
    judged_from: int = 0
    """Reports before this point count neither way (periods that a reader has not seen twice)."""
    fails: bool | None = None
    """Whether the gate of the command must fail; None where the regime is about events."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Noise:
    """A noise around a course."""

    value: Floats
    """Per point, in the unit of the course."""
    deviation: Floats
    """Its robust deviation at that point."""


Maker = Callable[[Random], Log]


@dataclass(frozen=True, kw_only=True, slots=True)
class Regime:
    """A kind of log."""

    name: str
    make: Maker
    recall: float | None = None
    """Least share of the spikes that must be found; None where there are none."""
    precision: float | None = None
    """Least share of the reports that are no blips and touch a spike."""
    alarms: float | None = None
    """Most reports that are no blips in 10,000 points of a log without spikes."""


def course(points: int, *, stretch: float = 1.0) -> Floats:
    """The falling loss of a long pre-training run."""
    return 2.4 + 8.9 * (1 + np.arange(points) * stretch / 1000) ** -0.6


def carried(shocks: Floats, rho: float) -> Floats:
    """Noise that carries over from point to point, of the variance of its shocks."""
    if not rho:
        return shocks
    driven = np.sqrt(1 - rho**2) * shocks
    driven[0] = shocks[0]
    return np.fromiter(accumulate(driven.tolist(), lambda old, new: rho * old + new), np.float64, len(shocks))


def normal(random: Random, points: int, *, rho: float, scale: float = 0.03) -> Noise:
    # A spike must stand out of what lies beside it: of noise that is slow against a window of 128 points, only the part
    # within the window counts.
    value = scale * carried(random.standard_normal(points), rho)
    return Noise(value=value, deviation=np.full(points, scale * within_window(rho)))


def within_window(rho: float, window: int = 128) -> float:
    """Standard deviation around its own mean, over a window, of noise of variance 1 that carries over by rho."""
    lags = np.arange(1, window)
    of_mean = (1 + 2 * ((1 - lags / window) * rho**lags).sum()) / window
    return float(np.sqrt(1 - of_mean))


def heavy(random: Random, points: int, *, freedom: int, scale: float = 0.03) -> Noise:
    # `scale` is the robust deviation: the standard one of t(3) says little about what is usual.
    unit = MAD * UPPER_QUARTILES[freedom]
    return Noise(value=scale * random.standard_t(freedom, points) / unit, deviation=np.full(points, scale))


def moving(random: Random, points: int, *, carries: float, spread: float, scale: float = 0.03) -> Noise:
    """Stochastic volatility: the logarithm of the scale is itself slow noise."""
    local = scale * np.exp(spread * carried(random.standard_normal(points), carries))
    return Noise(value=local * random.standard_normal(points), deviation=local)


def swelling(random: Random, points: int, *, scale: float = 0.03) -> Noise:
    """Heteroscedastic: the scale goes up and down by four over 20,000 points."""
    local = scale * 2 ** np.sin(2 * np.pi * np.arange(points) / 20_000)
    return Noise(value=local * random.standard_normal(points), deviation=local)


def log_normal(random: Random, points: int, *, spread: float = 0.25) -> Log:
    """Multiplicative noise, as losses of small batches have it; a spike is 8 deviations high in logarithms."""
    spikes, heights = planted(random, points)
    logs = spread * random.standard_normal(points) + heights * spread
    return Log(loss=course(points) * np.exp(logs - spread**2 / 2), spikes=spikes)


def planted(random: Random, points: int) -> tuple[tuple[tuple[int, int], ...], Floats]:
    """Where spikes stand, and how high each point is lifted, in local deviations (0 outside)."""
    heights = np.zeros(points)
    spikes = []
    for start in range(SETTLED, points - EVERY, EVERY):
        first = start + int(random.integers(100, EVERY - 100))
        length = int(random.integers(2, 13))
        # The noise of the points themselves comes on top: none is to fall below 8 by it more than it does by chance.
        heights[first : first + length] = HEIGHT + random.exponential(4.0, length)
        spikes.append((first, first + length - 1))
    return tuple(spikes), heights


def spiky(make: Callable[[Random, int], Noise]) -> Maker:
    def log(random: Random) -> Log:
        noise = make(random, POINTS)
        spikes, heights = planted(random, POINTS)
        # What is planted replaces the noise of its points, so that each is as high as the definition says.
        lifted = np.where(heights > 0, heights * noise.deviation, noise.value)
        return Log(loss=course(POINTS) + lifted, spikes=spikes)

    return log


def benign(make: Callable[[Random, int], Noise]) -> Maker:
    return lambda random: Log(loss=course(POINTS) + make(random, POINTS).value)


def thinned(random: Random) -> Log:
    """Every tenth step is logged; what was planted between two of them is nobody's fault."""
    steps = 10 * POINTS
    noise = normal(random, steps, rho=0.5)
    heights = np.zeros(steps)
    for start in range(10 * SETTLED, steps - 10 * EVERY, 10 * EVERY):
        first = start + int(random.integers(1000, 9 * EVERY))
        length = int(random.integers(1, 120))
        heights[first : first + length] = HEIGHT + random.exponential(4.0, length)
    loss = (course(steps, stretch=0.1) + np.where(heights > 0, heights * noise.deviation, noise.value))[::10]
    seen = heights[::10] > 0
    edges = np.flatnonzero(np.diff(np.concatenate([[False], seen, [False]])))
    pairs = [(int(a), int(b) - 1) for a, b in edges.reshape(-1, 2)]
    return Log(loss=loss, spikes=tuple(pair for pair in pairs if pair[1] > pair[0]))


def averaged(random: Random) -> Log:
    """The mean of ten steps is logged, as Megatron-LM and the HF Trainer do."""
    noise = normal(random, 10 * POINTS, rho=0.5).value.reshape(POINTS, 10).mean(axis=1)
    spikes, heights = planted(random, POINTS)
    deviation = MAD * float(np.median(np.abs(noise)))
    return Log(loss=course(POINTS) + np.where(heights > 0, heights * deviation, noise), spikes=spikes)


def rounded(step: float | None) -> Callable[[Log], Log]:
    """Values as bf16 prints them (8 bits; None), or in steps of some decimals."""

    def of(log: Log) -> Log:
        if step is not None:
            return Log(loss=np.round(log.loss / step) * step, spikes=log.spikes)
        bits = log.loss.astype(np.float32).view(np.uint32)
        return Log(loss=((bits + 0x8000) & 0xFFFF0000).view(np.float32).astype(np.float64), spikes=log.spikes)

    return of


def then(make: Maker, change: Callable[[Log], Log]) -> Maker:
    return lambda random: change(make(random))


def epoch_waves(random: Random) -> Log:
    """The loss waves by +-8 % with the order of the data, the same in every epoch."""
    period = 5_000
    wave = 1 + 0.08 * np.sin(2 * np.pi * np.arange(POINTS) / period)
    loss = course(POINTS) * wave + normal(random, POINTS, rho=0.3).value
    return Log(loss=loss, judged_from=2 * period)


def restarts(random: Random) -> Log:
    """Warm restarts of the learning rate: up by 6 % at once, and back within a third of the period."""
    period = 4_000
    phase = np.arange(POINTS) % period
    lift = np.where(np.arange(POINTS) < period, 0.0, 0.06 * np.exp(-phase / 400))
    return Log(loss=course(POINTS) * (1 + lift) + normal(random, POINTS, rho=0.3).value, judged_from=3 * period)


def drift(random: Random) -> Log:
    """A rise of 9 % over the second half, as slow as it can be."""
    rise = np.clip(np.arange(POINTS) / POINTS - 0.5, 0, None) * 0.18
    return Log(loss=course(POINTS) * (1 + rise) + normal(random, POINTS, rho=0.3).value)


def shifts(random: Random) -> Log:
    """Three changes of the data: the level goes up by 5 % and stays. One report each is right."""
    places = [int(share * POINTS) for share in (0.3, 0.5, 0.7)]
    level = np.ones(POINTS)
    for place in places:
        level[place:] *= 1.05
    spikes = tuple((place, place + 600) for place in places)
    return Log(loss=course(POINTS) * level + normal(random, POINTS, rho=0.3).value, spikes=spikes)


def warm_up(random: Random) -> Log:
    """Two hundred short runs of 1,000 points with noise that is wide at first and a hump of the warm-up."""
    pieces = []
    for _ in range(POINTS // 1_000):
        at = np.arange(1_000)
        hump = 1.5 * np.exp(-(((at - 12) / 6) ** 2)) * (random.random() < 0.5)
        noise = (0.02 + 0.3 * np.exp(-at / 60)) * random.standard_normal(1_000)
        pieces.append(2.5 + 8 * np.exp(-at / 120) + hump + noise)
    return Log(loss=np.concatenate(pieces))


WARM_UP_LENGTH = 1_000
"""Points of each run of `warm_up`: every one is a log of its own."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Gated:
    """Many logs of which the gate of the command must fail all, or none."""

    name: str
    make: Maker
    count: int = 500
    share: tuple[float, float] = field(default=(0.0, 0.0))
    """Least and most share of them that fails."""


def jump_that_stays(random: Random) -> Log:
    """The loss goes up by 2 to 5 times, at least 10 points before the end, and stays."""
    points = int(random.integers(100, 5_000))
    after = int(random.integers(10, max(points // 4, 11)))
    loss = falling(random, points)
    best = np.median(np.sort(loss)[:16])
    loss[-after:] = best * random.uniform(2, 5) * (1 + 0.02 * random.standard_normal(after))
    loss[-after:] = np.maximum(loss[-after:], 2.0 * best)
    return Log(loss=loss, fails=True)


def short_explosion(random: Random) -> Log:
    """Of 15 to 64 points the last five or more are at least twice as high as the best."""
    points = int(random.integers(15, 65))
    after = int(random.integers(5, 10))
    loss = falling(random, points)
    loss[-after:] = np.median(np.sort(loss)[:3]) * random.uniform(2.05, 6) * (1 + 0.01 * random.random(after))
    return Log(loss=loss, fails=True)


def falling(random: Random, points: int, *, noise: float | None = None, rho: float | None = None) -> Floats:
    """A calm loss of any length with noise below 5 % in logarithms."""
    spread = random.uniform(0.002, 0.05) if noise is None else noise
    carries = random.uniform(0, 0.9) if rho is None else rho
    best = 0.2 + random.random()
    curve = best + 3 * (1 + np.arange(points) / max(points / 20, 5)) ** -random.uniform(0.4, 1.0)
    return curve * np.exp(spread * carried(random.standard_normal(points), carries))


def calm(low: int, high: int, *, noise: float | None = None, rho: float | None = None) -> Maker:
    return lambda random: Log(loss=falling(random, int(random.integers(low, high)), noise=noise, rho=rho), fails=False)


def _autoregressive(rho: float) -> Callable[[Random, int], Noise]:
    return lambda random, points: normal(random, points, rho=rho)


def _tails(freedom: int) -> Callable[[Random, int], Noise]:
    return lambda random, points: heavy(random, points, freedom=freedom)


def _volatile(random: Random, points: int) -> Noise:
    return moving(random, points, carries=0.98, spread=0.5)


RHO = (0.0, 0.5, 0.8, 0.9, 0.95, 0.99)
FREEDOM = (8, 5, 4, 3)

SPIKY = (
    *(Regime(name=f"AR({rho:g})", make=spiky(_autoregressive(rho)), recall=0.95, precision=0.9) for rho in RHO),
    *(
        Regime(name=f"t({nu})", make=spiky(_tails(nu)), recall=0.95, precision=0.9 if nu >= 5 else 0.8)
        for nu in FREEDOM
    ),
    Regime(name="log-normal", make=lambda random: log_normal(random, POINTS), recall=0.95, precision=0.8),
    Regime(name="stochastic volatility", make=spiky(_volatile), recall=0.95, precision=0.8),
    Regime(name="heteroscedastic", make=spiky(swelling), recall=0.95, precision=0.9),
    Regime(name="thinned to every 10th", make=thinned, recall=0.95, precision=0.9),
    Regime(name="averaged over 10", make=averaged, recall=0.95, precision=0.9),
    Regime(name="bf16", make=then(spiky(_autoregressive(0.5)), rounded(None)), recall=0.95, precision=0.9),
    Regime(name="two decimals", make=then(spiky(_autoregressive(0.5)), rounded(0.01)), recall=0.95, precision=0.9),
)
"""Logs with spikes."""

BENIGN = (
    *(Regime(name=f"AR({rho:g})", make=benign(_autoregressive(rho)), alarms=0.5) for rho in RHO),
    *(Regime(name=f"t({nu})", make=benign(_tails(nu)), alarms=0.5 if nu >= 5 else None) for nu in FREEDOM),
    Regime(name="stochastic volatility", make=benign(_volatile)),
    Regime(name="heteroscedastic", make=benign(swelling), alarms=0.5),
    Regime(name="bf16", make=then(benign(_autoregressive(0.5)), rounded(None)), alarms=0.5),
    Regime(name="two decimals", make=then(benign(_autoregressive(0.5)), rounded(0.01)), alarms=0.5),
    Regime(name="waves of +-8 %", make=epoch_waves, alarms=0.5),
    Regime(name="restarts of +6 %", make=restarts, alarms=0.5),
    Regime(name="slow rise of 9 %", make=drift, alarms=0.5),
    Regime(name="level shifts of +5 %", make=shifts, precision=0.9),
    Regime(name="warm-up, runs of 1,000", make=warm_up, alarms=0.5),
)
"""Logs without spikes (of the level shifts, each is one report)."""

GATED = (
    Gated(name="jumps of 2 times and more that stay", make=jump_that_stays, share=(1.0, 1.0)),
    Gated(name="short logs that explode", make=short_explosion, share=(1.0, 1.0)),
    Gated(name="calm, 10 to 64 points", make=calm(10, 65)),
    Gated(name="calm, 64 to 5,000 points", make=calm(65, 5_000)),
    Gated(name="calm, noise 10 %, AR(0.9)", make=calm(65, 5_000, noise=0.1, rho=0.9), share=(0.0, 1.0)),
    Gated(name="calm, noise 15 %, AR(0.99)", make=calm(65, 5_000, noise=0.15, rho=0.99), share=(0.0, 1.0)),
)
"""Logs that the gate judges as a whole; where the shares are 0 and 1 the rate is only published."""

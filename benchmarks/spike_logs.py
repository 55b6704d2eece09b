"""Synthetic logs with known spikes: a long pre-training run with heavy-tailed noise."""

from dataclasses import dataclass
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

KINDS = "ABCDE"
"""A: one step, +3 to +8. B: +0.5 to +1.5, decays. C: one step, +0.25 to +0.35. D: 12-step ramp. E: plateau,
20 to 60."""

SIGMA = 0.03
"""Standard deviation of the noise."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Planted:
    """A spike that was put in."""

    first: int
    last: int
    kind: str


def synthetic_loss(steps: int, *, seed: int, spikes: int = 200) -> tuple[NDArray[np.float64], list[Planted]]:
    """Return a loss and its spikes; 60 % in it shifts by 0.06 for good, at 75 % three steps are NaN.

    Noise: Student's t with 8 degrees of freedom, carried over from step to step by 0.3.
    """
    random = np.random.default_rng(seed)
    shocks = random.standard_t(8, steps) * SIGMA * np.sqrt(6 / 8 * (1 - 0.3**2))
    noise = np.fromiter(accumulate(shocks.tolist(), lambda old, new: 0.3 * old + new), np.float64, steps)
    loss = 2.4 + 8.9 * (1 + np.arange(steps) / 1000) ** -0.6 + noise
    loss[int(0.6 * steps) :] += 0.06
    kinds = random.permutation(list(KINDS) * (spikes // len(KINDS)))
    spacing = (steps - steps // 50) // spikes
    planted = []
    for index, kind in enumerate(kinds):
        first = steps // 100 + index * spacing + int(random.integers(0, spacing // 2))
        height = _spike(str(kind), random)
        loss[first : first + len(height)] += height
        planted.append(Planted(first=first, last=first + len(height) - 1, kind=str(kind)))
    loss[int(0.75 * steps) : int(0.75 * steps) + 3] = np.nan
    return loss, planted


def _spike(kind: str, random: np.random.Generator) -> NDArray[np.float64]:
    if kind == "A":
        return random.uniform(3, 8, 1)
    if kind == "B":
        scale = random.uniform(5, 30)
        return random.uniform(0.5, 1.5) * np.exp(-np.arange(int(3 * scale)) / scale)
    if kind == "C":
        return random.uniform(0.25, 0.35, 1)
    if kind == "D":
        return random.uniform(0.6, 1.5) * np.arange(1, 13) / 12
    return np.full(int(random.integers(20, 61)), random.uniform(2, 4))

"""The slope of a line through points whose noise is correlated, with an interval that holds it as often as it says.

Gains of one run are no independent draws: what pushed one checkpoint up pushes the next one up, too. Least squares with
Student's interval then holds the true slope in 51 to 86 % of runs of 4 to 20 points where it says 95 % (noise of
autocorrelation 0.8). Widening it by the correlation of the residuals makes 69 to 72 % of it at 10 and 20 points: from
few points that were fitted with a line most of the correlation is gone. So the correlation is not estimated but
averaged over: for every phi between 0 and 1 the line is fitted by generalised least squares under AR(1) noise, each of
these fits counts by its restricted likelihood, and the interval is that of the mixture of their Student's t
distributions.

Sources: Zellner, An Introduction to Bayesian Inference in Econometrics (1971), chapter 4, for the mixture; Patterson
and Thompson, Biometrika 58 (1971) 545, for the restricted likelihood. `benchmarks/trend_interval.py` measures what the
interval covers.
"""

import math
from dataclasses import dataclass
from functools import cache

import numpy as np

LEVEL = 0.95
"""Probability of the interval."""
# phi = sin(angle) for equally spaced angles: the arcsine prior, which leans towards phi = 1. A uniform one covers 0.91
# at 10 points of autocorrelation 0.8, this one 0.95 (and 0.92 where it is 0.9).
_ANGLES = 40
_PHI = np.sin((np.arange(_ANGLES) + 0.5) / _ANGLES * math.pi / 2)
_MOST_ALIKE = 1 - 1e-9
"""Two points a vanishing distance apart are nearly one; exactly one would divide by zero."""
_LONG_SERIES = 60
"""Degrees of freedom above which Student's t is taken from the normal distribution: off by less than 3e-5 there."""
_HALVINGS = 50
_MOST_NUMBERS = 1_000_000
"""Points times phi that are fitted at a time: 8 MB an array, however long the log."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Slope:
    """A slope with its interval."""

    rate: float
    """By ordinary least squares."""
    low: float
    """Lower end of the interval; NaN for two points."""
    high: float
    """Upper end."""


def slope_interval(x: np.ndarray, y: np.ndarray) -> Slope:
    """The slope of y over x.

    Parameters
    ----------
    x, y
        At least two points, x ascending. Noise of neighbours correlates by phi at the median distance, by a power of it
        at others.
    """
    # In units of the whole span: steps of a run are large numbers, and their squares would lose the digits of the rest.
    span = float(x[-1] - x[0])
    at = (x - x.mean()) / span
    rate = float((at * (y - y.mean())).sum() / (at**2).sum()) / span
    freedom = len(x) - 2
    if freedom < 1:
        return Slope(rate=rate, low=math.nan, high=math.nan)
    gaps = np.diff(at) / np.median(np.diff(at))
    together = max(1, _MOST_NUMBERS // len(x))
    fits = np.concatenate(
        [
            _fits(at, y, np.minimum(_PHI[start : start + together, None] ** gaps, _MOST_ALIKE))
            for start in range(0, _ANGLES, together)
        ]
    )
    slopes, sizes, likelihoods = fits.T / np.array([[span], [span], [1.0]])
    if not sizes.any():
        return Slope(rate=rate, low=rate, high=rate)
    weights = np.exp(likelihoods - likelihoods.max())
    weights /= weights.sum()
    ends = [
        _quantile(slopes, sizes, weights, freedom=freedom, probability=probability)
        for probability in ((1 - LEVEL) / 2, (1 + LEVEL) / 2)
    ]
    # The slope that is reported is one of the fits (phi near 0); where the others are far from it, it is inside still.
    return Slope(rate=rate, low=min(ends[0], rate), high=max(ends[1], rate))


def _fits(at: np.ndarray, y: np.ndarray, correlations: np.ndarray) -> np.ndarray:
    """Slope, its standard error and the logarithm of the restricted likelihood, a row for each phi.

    Parameters
    ----------
    correlations
        Of each point with the one before it, a row for each phi.
    """
    first = np.ones((len(correlations), 1))
    fresh = np.concatenate([first, np.sqrt(1 - correlations**2)], axis=1)

    def whiten(values: np.ndarray) -> np.ndarray:
        later = values[1:] - correlations * values[:-1]
        return np.asarray(np.concatenate([first * values[0], later], axis=1) / fresh)

    level, slope, target = whiten(np.ones_like(at)), whiten(at), whiten(y - y.mean())
    normal = [(one * other).sum(axis=1) for one, other in ((level, level), (level, slope), (slope, slope))]
    right = [(one * target).sum(axis=1) for one in (level, slope)]
    determinant = normal[0] * normal[2] - normal[1] ** 2
    levels = (normal[2] * right[0] - normal[1] * right[1]) / determinant
    slopes = (normal[0] * right[1] - normal[1] * right[0]) / determinant
    squares = ((target - levels[:, None] * level - slopes[:, None] * slope) ** 2).sum(axis=1)
    freedom = len(at) - 2
    # A line without any deviation has no likelihood to compare, and needs none: its interval has no width.
    logs = np.log(np.where(squares > 0, squares, 1.0))
    likelihoods = -np.log(fresh).sum(axis=1) - np.log(determinant) / 2 - freedom / 2 * logs
    return np.stack([slopes, np.sqrt(squares / freedom * normal[0] / determinant), likelihoods], axis=1)


def _quantile(slopes: np.ndarray, sizes: np.ndarray, weights: np.ndarray, *, freedom: int, probability: float) -> float:
    """Of the mixture, by halving: it lies between the quantiles of its parts."""
    of_each = slopes + sizes * student_quantile(probability, freedom)
    low, high = float(of_each.min()), float(of_each.max())
    scale = np.where(sizes > 0, sizes, 1e-300)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        below = float((weights * student_probability((middle - slopes) / scale, freedom)).sum())
        low, high = (middle, high) if below < probability else (low, middle)
    return (low + high) / 2


@cache
def student_quantile(probability: float, freedom: int) -> float:
    """Student's t below which a probability lies, by halving.

    >>> round(student_quantile(0.975, 2), 3), round(student_quantile(0.975, 1000), 3)
    (4.303, 1.962)
    """
    low, high = -1e4, 1e4
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        below = float(student_probability(np.array([middle]), freedom)[0])
        low, high = (middle, high) if below < probability else (low, middle)
    return (low + high) / 2


def student_probability(t: np.ndarray, freedom: int) -> np.ndarray:
    """Probability of less than t under Student's distribution with a whole number of degrees of freedom.

    Source: Abramowitz and Stegun 26.7.3 and 26.7.4, which are exact; 26.7.8 above 60 degrees.
    """
    if freedom > _LONG_SERIES:
        normal = t * (1 - 1 / (4 * freedom)) / np.sqrt(1 + t**2 / (2 * freedom))
        return np.array([(1 + math.erf(each / math.sqrt(2))) / 2 for each in normal])
    angle = np.arctan(t / math.sqrt(freedom))
    sine, cosine = np.sin(angle), np.cos(angle)
    odd = freedom % 2
    term = cosine if odd else np.ones_like(t)
    total = term.copy() if freedom > 1 else np.zeros_like(t)
    for number in range(3 if odd else 2, freedom - 1, 2):
        term = term * (number - 1) / number * cosine**2
        total = total + term
    inside = (angle + sine * total) * 2 / math.pi if odd else sine * total
    return np.asarray((1 + inside) / 2)

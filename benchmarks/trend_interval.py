"""How often the 95 % interval of `mhcdiag trend` holds the true rate of growth.

    python benchmarks/trend_interval.py [--runs 1000] [--seed 0]

Runs of known growth under AR(1) noise are drawn and fitted. Student's interval of ordinary least squares is measured
beside ours, and how much wider ours is (median). The bar: at least 90 % for autocorrelations up to 0.8, from four
fitted points on. About 3 minutes on one core.
"""

import argparse
import math
import sys

import numpy as np
from timing import print_machine

from mhcdiag.measures.slope_interval import slope_interval, student_quantile

POINTS = (4, 5, 7, 10, 20, 40, 100)
CORRELATIONS = (0.0, 0.3, 0.5, 0.8, 0.9)
JUDGED_UP_TO = 0.8
BAR = 0.90
RATE = 0.01


def noise(generator: np.random.Generator, points: int, correlation: float) -> np.ndarray:
    """AR(1), stationary from its first point on."""
    drawn = generator.standard_normal(points)
    drawn[0] /= math.sqrt(1 - correlation**2)
    for at in range(1, points):
        drawn[at] += correlation * drawn[at - 1]
    return drawn


def ordinary(x: np.ndarray, y: np.ndarray) -> float:
    """Half of the width of Student's interval."""
    away = x - x.mean()
    rate = (away * y).sum() / (away**2).sum()
    square = ((y - y.mean() - rate * away) ** 2).sum() / (len(x) - 2)
    return float(student_quantile(0.975, len(x) - 2) * math.sqrt(square / (away**2).sum()))


def measure(points: int, correlation: float, runs: int, seed: int) -> tuple[float, float, float]:
    """Shares of runs whose interval holds the rate, ours and the ordinary one, and the median ratio of their widths."""
    generator = np.random.default_rng([seed, points, round(100 * correlation)])
    x = np.arange(points, dtype=float)
    ours, plain, wider = 0, 0, []
    for _ in range(runs):
        y = RATE * x + noise(generator, points, correlation)
        found, half = slope_interval(x, y), ordinary(x, y)
        ours += found.low <= RATE <= found.high
        plain += abs(found.rate - RATE) <= half
        wider.append((found.high - found.low) / (2 * half))
    return ours / runs, plain / runs, float(np.median(wider))


def main() -> int:
    """Print the table; 1 where the bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print_machine()
    print("| fitted points | autocorrelation | holds the rate | ordinary interval | wider by (median) |")
    print("|---|---|---|---|---|")
    missed = False
    for points in POINTS:
        for correlation in CORRELATIONS:
            ours, plain, wider = measure(points, correlation, options.runs, options.seed)
            missed |= correlation <= JUDGED_UP_TO and ours < BAR
            print(f"| {points} | {correlation:g} | {ours:.1%} | {plain:.1%} | {wider:.1f} |", flush=True)
    print(f"bar: {BAR:.0%} up to an autocorrelation of {JUDGED_UP_TO:g}: {'missed' if missed else 'met'}")
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())

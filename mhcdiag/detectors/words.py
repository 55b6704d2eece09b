"""Our rule in words, with its constants as they are."""

from mhcdiag.detectors import running_minimum, tails
from mhcdiag.detectors.excursions import CALM, NEIGHBOURS
from mhcdiag.detectors.settings import Settings

TITLE = "the default: excursions from the series' own course, and divergence"

_DEFAULT = Settings()

EXPLANATION = (
    f"The level is the median of the newest quarter of the last {_DEFAULT.window} points on course. The "
    "noise is the median absolute deviation from a line through them, at least half the step of rounded "
    "values. Positive windows are judged by their logarithm.\n"
    f"An event opens {_DEFAULT.loss.z:g} deviations and {_DEFAULT.loss.min_rise:.0%} above the level "
    f"({_DEFAULT.gradient_norm.z:g} and {_DEFAULT.gradient_norm.min_rise:.0%} for the gradient norm); {CALM} "
    "points in a row below half of either close it; level and noise are frozen in between. Events of fewer "
    f"than {NEIGHBOURS} neighbouring points must also have a point that is {tails.MARGIN:g} times as high as "
    "the usual maximum of a block of the series, by what it adds to the points beside it: where noise carries "
    f"over from step to step, its shocks leave an echo and bad batches do not. The first {_DEFAULT.warmup} "
    "points are only learned from. A level that stays "
    "up for a window and is stable is a shift.\n"
    f"Divergence: the median of {running_minimum.SMOOTHING} points is {running_minimum.RATIO:g} times its "
    f"smallest value so far and {running_minimum.DEVIATIONS:g} deviations above it, for "
    f"{running_minimum.SMOOTHING} points, and still is at the end.\n"
    "Misses: rises slower than the level follows (unless they become a divergence), events in the first "
    "points, and, in a series with heavy tails, lone points no higher than its tails."
)

"""The constants of our rule, and how they are replaced."""

import pytest

from mhcdiag.detectors.interface import LOSS_THRESHOLDS, NORM_THRESHOLDS, DetectionSettings, Thresholds, adjusted
from mhcdiag.reports import explaining as words


def test_the_defaults() -> None:
    assert Thresholds(z=6.0, min_rise=0.02) == LOSS_THRESHOLDS
    assert Thresholds(z=5.0, min_rise=0.5) == NORM_THRESHOLDS
    assert (DetectionSettings().window, DetectionSettings().warmup) == (128, 64)


@pytest.mark.parametrize(
    ("series", "thresholds"), [("grad_norm", NORM_THRESHOLDS), ("loss", LOSS_THRESHOLDS), ("reward", LOSS_THRESHOLDS)]
)
def test_the_gradient_norm_has_its_own(series: str, thresholds: Thresholds) -> None:
    assert DetectionSettings().thresholds(series) == thresholds


def test_what_is_given_is_replaced_everywhere_and_nothing_else() -> None:
    assert adjusted() == DetectionSettings()
    found = adjusted(z=0.0, window=32)
    assert (found.loss, found.gradient_norm) == (Thresholds(z=0.0, min_rise=0.02), Thresholds(z=0.0, min_rise=0.5))
    assert (found.window, found.warmup) == (32, 64)
    found = adjusted(min_rise=0.0, warmup=16)
    assert (found.loss, found.gradient_norm) == (Thresholds(z=6.0, min_rise=0.0), Thresholds(z=5.0, min_rise=0.0))
    assert (found.window, found.warmup) == (128, 16)


def test_the_explanation_names_the_constants() -> None:
    told = words.EXPLANATION
    assert "newest quarter of the last 128 points" in told
    assert "6 deviations and 2% above the level (5 and 50% for the gradient norm); 3 points in a row" in told
    assert "fewer than 4 neighbouring points must also have a point that is 1.6 times" in told
    assert "The first 64 points are only learned from" in told
    assert "the median of 64 points is 1.1 times its smallest value so far and 3 deviations above it, for 64" in told

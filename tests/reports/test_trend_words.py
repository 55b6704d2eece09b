"""Growth, crossings and risk in words."""

import csv
import math
from dataclasses import replace
from pathlib import Path

import pytest

from mhcdiag.reports import trend_console
from mhcdiag.reports.trend_console import crossing_words, growth_words, risk_words
from mhcdiag.results.bands import LEAST_RUNS, RISK, risk_of
from mhcdiag.results.trend import Crossing, Growth

STUDY = Path(__file__).parents[2] / "benchmarks" / "toy_study.csv"


def growth(rate: float, half_width: float = 0.0) -> Growth:
    return Growth(rate=rate, low=rate - half_width, high=rate + half_width, points=5, first_step=1, last_step=9)


def crossing(**steps: float | None) -> Crossing:
    return Crossing(
        name="30", limit=30.0, **({"passed": None, "expected": None, "earliest": None, "latest": None} | steps)
    )


def test_growth_that_does_not_stand_out_has_no_doubling_time():
    assert "doubles every 100 steps" in growth_words(growth(math.log(2) / 100, 1e-4))
    assert "no growth that stands out" in growth_words(growth(1e-3, 2e-3))
    assert "no growth" in growth_words(growth(-1e-3))
    assert growth_words(growth(math.nan)) == "unknown: 5 usable point(s)"


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        ({"passed": 1200.0}, "passed at step 1,200"),
        ({}, "not at this rate"),
        ({"expected": 5000.0}, "step 5,000"),
        ({"expected": 5000.0, "earliest": 4000.0, "latest": 7000.0}, "step 5,000 (4,000 to 7,000)"),
        ({"expected": 5000.0, "earliest": 4000.0}, "no growth that stands out"),
    ],
)
def test_crossings(steps: dict, words: str):
    assert crossing_words(crossing(**steps), growth(1e-3, 1e-4)) == words


@pytest.mark.parametrize("still", [growth(1e-3, 2e-3), growth(-1e-3), growth(0.0)])
def test_no_step_stands_beside_a_growth_that_does_not_stand_out(still: Growth):
    """Though the size of the streams, whose growth decides about fp16 and fp32, may grow by itself."""
    overflow = crossing(expected=5000.0, earliest=4000.0, latest=7000.0)
    assert "no growth" in growth_words(still)
    assert crossing_words(overflow, still) == "no growth of the gain that stands out, though the streams grow"
    assert crossing_words(crossing(passed=1200.0), still) == "passed at step 1,200"


def test_the_risk_bands_are_those_of_the_study():
    with STUDY.open(newline="") as file:
        runs = [row for row in csv.DictReader(file) if row["topology"] == "hc" and row["stream_dtype"] != "fp16"]
    lower = 0.0
    for band in RISK:
        inside = [row for row in runs if lower < float(row["gain_before"]) <= band.upto]
        assert (band.runs, band.events) == (len(inside), sum(int(row["event"]) > 0 for row in inside)), band
        lower = band.upto
    assert sum(band.runs for band in RISK) == len(runs)


@pytest.mark.parametrize(
    ("gain", "upto"), [(1.0, 1e3), (1000.0, 1e3), (1001.0, 1e5), (1e300, math.inf), (math.nan, math.inf)]
)
def test_a_gain_has_one_band(gain: float, upto: float):
    assert risk_of(gain).upto == upto


def test_bands_of_few_runs_say_nothing():
    for band in RISK:
        assert band.runs < LEAST_RUNS
        assert f"not known: {band.runs} run" in risk_words(min(band.upto, 1e12))


def test_the_counts_of_enough_runs_are_quoted(monkeypatch):
    monkeypatch.setattr(trend_console, "risk_of", lambda _: replace(RISK[-1], runs=5, events=4))
    assert "in our toy study 4 of 5 runs in the band" in risk_words(1e12)

"""What a gain has been worth as a warning, in our own study of toy models (benchmarks/README.md)."""

from dataclasses import dataclass

from mhcdiag.results.numbers import Number, within


@dataclass(frozen=True, kw_only=True, slots=True)
class RiskBand:
    """Runs by the largest gain they had reached before their first event (or at all)."""

    upto: float
    """Largest gain of the band."""
    runs: int
    """Runs of unconstrained hyper-connections in it."""
    events: int
    """Of these, runs with a loss spike, a collapse or NaN."""


RISK = (
    RiskBand(upto=1e3, runs=0, events=0),
    RiskBand(upto=1e5, runs=1, events=0),
    RiskBand(upto=1e7, runs=1, events=1),
    RiskBand(upto=1e9, runs=3, events=1),
    RiskBand(upto=float("inf"), runs=4, events=4),
)
"""Of `benchmarks/toy_study.csv`; a test compares them."""


def risk_of(gain: Number) -> RiskBand:
    """The band of a gain; the last one for what is not finite."""
    return next((band for band in RISK if within(gain, band.upto)), RISK[-1])

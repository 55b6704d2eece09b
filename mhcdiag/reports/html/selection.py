"""Which inputs of a check are shown in full: a page of forty inputs must stay readable and quick to make."""

from mhcdiag.results.check import CheckReport
from mhcdiag.results.verdict import Verdict

FEW = 6
"""Inputs up to which all are shown in full."""
MOST_IN_FULL = 1
MOST_PICTURED = 6
"""Inputs that get at least one picture, where there are more than a few."""


def in_full(report: CheckReport) -> frozenset[int]:
    """Positions of the inputs that get all pictures and numbers: all of a few, else what decided."""
    return _worst(report, MOST_IN_FULL)


def pictured(report: CheckReport) -> frozenset[int]:
    """Positions of the inputs that get at least one picture."""
    return _worst(report, MOST_PICTURED)


def _worst(report: CheckReport, most: int) -> frozenset[int]:
    places = range(len(report.inputs))
    if len(places) <= FEW:
        return frozenset(places)
    decided = report.decided_by
    order = [Verdict.FAIL, Verdict.UNJUDGED, Verdict.PASS]

    def rank(place: int) -> tuple[bool, int, int]:
        one = report.inputs[place]
        return (decided is None or one.path != decided.path, order.index(one.verdict), place)

    measured = [place for place in places if report.inputs[place].result is not None]
    return frozenset(sorted(measured, key=rank)[:most])

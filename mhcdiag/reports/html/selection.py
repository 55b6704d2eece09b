"""Which inputs of a check are shown in full: a page of forty inputs must stay readable and quick to make."""

from mhcdiag.results.check import CheckReport
from mhcdiag.results.verdict import Verdict

MOST_IN_FULL = 6


def in_full(report: CheckReport) -> frozenset[int]:
    """Positions of the inputs that get all pictures and numbers: all of a few, else the worst of many."""
    if len(report.inputs) <= MOST_IN_FULL:
        return frozenset(range(len(report.inputs)))
    decided = report.decided_by
    order = [Verdict.FAIL, Verdict.UNJUDGED, Verdict.PASS]

    def rank(place: int) -> tuple[bool, int, int]:
        one = report.inputs[place]
        return (decided is None or one.path != decided.path, order.index(one.verdict), place)

    return frozenset(sorted(range(len(report.inputs)), key=rank)[:MOST_IN_FULL])

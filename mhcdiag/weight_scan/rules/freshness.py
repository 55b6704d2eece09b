"""Matrices that look freshly initialised while the same matrix of most other layers, or most other experts, does not.

The values of a fresh matrix are independent, of one variance. Then the mean squares of its rows scatter by what chance
gives them: their variance over their squared mean is (kurtosis - 1) / length, with the kurtosis of a normal, uniform or
truncated normal distribution; so do its columns. Training gives rows and columns sizes of their own, which shows after
some hundred steps.
"""

import math
from collections.abc import Iterator

from mhcdiag.results.health import Severity
from mhcdiag.results.weights import WeightsFinding, WeightsKind
from mhcdiag.weight_scan.codings import WHOLE_NUMBERS
from mhcdiag.weight_scan.roles import Scanned
from mhcdiag.weight_scan.rules.interface import Rule, Subject, finding
from mhcdiag.weight_scan.tally import Lines

NORMAL = 3.0
UNIFORM = 1.8
"""Kurtosis of the distributions that weights begin with; truncated normal ones lie between."""
DEVIATIONS = 4.0
"""Standard errors within which chance explains a scatter: one fresh matrix in 16,000 lies outside."""
TRAINED = 3.0
"""Times the scatter of chance that a trained neighbour shows in rows or columns, and in standard errors ten at least.
Matrices of a GPT-2 trained for a few hundred steps show 5 to 100."""
TRAINED_DEVIATIONS = 10.0
MOST_TRAINED = 0.8
"""Share of the others that must look trained: a run that has hardly begun looks fresh here and there."""
FEWEST_OTHERS = 2
LEAST_KURTOSIS = 1.5
"""Values of one size, as signs and constants, have 1: they do not scatter, whatever happened to them."""
SHORTEST = 32
"""Rows and columns below which scatter says nothing."""

_WHY = "it was never trained or never loaded: a new name, a reset expert, one that no token is sent to"


def _find(subject: Subject) -> Iterator[WeightsFinding]:
    for one in subject.scanned:
        family = subject.family(one)
        known = family.alike(one, _is_known) if family.others(one) >= FEWEST_OTHERS else 0
        if known < FEWEST_OTHERS or not _is_known(one) or not _looks_fresh(one):
            continue
        trained = family.alike(one, _looks_trained)
        if trained < MOST_TRAINED * known:
            continue
        what = f"looks freshly initialised: rows and columns scatter as independent values do; {trained} of "
        what += f"{known} others of its role scatter more (limit {MOST_TRAINED:.0%})"
        yield finding(
            one, WeightsKind.FRESH, Severity.WARN, what=what, why=_WHY,
            value=trained / known, limit=MOST_TRAINED, beside=family.some_others(one),
        )  # fmt: skip


def _is_known(one: Scanned) -> bool:
    return _scatter(one) is not None


def _looks_trained(one: Scanned) -> bool:
    scatter = _scatter(one)
    return scatter is not None and scatter > 1


def _looks_fresh(one: Scanned) -> bool:
    kurtosis = one.summary.kurtosis
    rows, columns = one.summary.rows, one.summary.columns
    if rows is None or columns is None or not UNIFORM - 0.15 < kurtosis < NORMAL + 0.3 or one.summary.zeros:
        return False
    return all(
        abs(_excess(lines, kurtosis, other.count)) < DEVIATIONS for lines, other in ((rows, columns), (columns, rows))
    )


def _scatter(one: Scanned) -> float | None:
    """How clearly rows or columns scatter more than chance: above 1 for a trained matrix; None if that is unknown."""
    rows, columns, kurtosis = one.summary.rows, one.summary.columns, one.summary.kurtosis
    is_float = one.summary.stream.dtype not in WHOLE_NUMBERS
    if not is_float or rows is None or columns is None or min(rows.count, columns.count) < SHORTEST:
        return None
    if not kurtosis > LEAST_KURTOSIS or not math.isfinite(rows.spread + columns.spread):
        return None
    found = []
    for lines, other in ((rows, columns), (columns, rows)):
        # A heavy tail is a sign of training itself; the scatter of chance is that of a normal distribution at most.
        ratio = lines.spread * other.count / (min(kurtosis, NORMAL) - 1)
        found.append(min(ratio / TRAINED, _excess(lines, min(kurtosis, NORMAL), other.count) / TRAINED_DEVIATIONS))
    return max(found)


def _excess(lines: Lines, kurtosis: float, length: int) -> float:
    """By how many standard errors the scatter of rows differs from that of independent values."""
    ratio = lines.spread * length / (kurtosis - 1)
    # Of the sample variance of n rows; that of the kurtosis adds to it.
    error = math.sqrt(2 / lines.count + 24 / (lines.count * length) + 0.05**2)
    return (ratio - 1) / error


FRESHNESS = Rule(kinds=(WeightsKind.FRESH,), find=_find)

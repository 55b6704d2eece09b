"""What a gate said, and what several of them say together."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from mhcdiag.results.numbers import Number


class Verdict(StrEnum):
    """The outcome of a gate, of one input, or of a whole command."""

    PASS = "pass"
    FAIL = "fail"
    UNJUDGED = "unjudged"


EXIT_CODES = {Verdict.PASS: 0, Verdict.FAIL: 1, Verdict.UNJUDGED: 2}
"""Exit code of a command by its verdict; 3 is a bug in mhcdiag, 130 an interrupt."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Limit:
    """One number held against one limit."""

    metric: str
    """Path of the number in the JSON report, e.g. `worst.forward.norm`."""
    value: Number
    """What was measured, in the metric's unit."""
    limit: float
    """The largest value that passes."""
    passed: bool
    """Whether `value <= limit`; NaN never passes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Skipped:
    """Something that could not be analysed. It is shown in every output and never vanishes."""

    what: str
    """The site, tensor or file."""
    reason: str
    """Why, in words a user can act on."""


def combine(verdicts: Iterable[Verdict]) -> Verdict:
    """One verdict for several: fail if any failed, else unjudged if any could not be judged (or there was none)."""
    found = set(verdicts)
    if Verdict.FAIL in found:
        return Verdict.FAIL
    if Verdict.UNJUDGED in found or not found:
        return Verdict.UNJUDGED
    return Verdict.PASS

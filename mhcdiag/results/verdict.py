"""What a gate said, and what several of them say together."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from mhcdiag.results.numbers import Number, within


class Verdict(StrEnum):
    """The outcome of a gate, of one input, or of a whole command."""

    PASS = "pass"
    FAIL = "fail"
    UNJUDGED = "unjudged"


EXIT_CODES = {Verdict.PASS: 0, Verdict.FAIL: 1, Verdict.UNJUDGED: 2}
"""Exit code of a command by its verdict; 3 is a bug in mhcdiag, 130 an interrupt."""


class GainEvidence(StrEnum):
    """What a verdict on the gain of mappings rests on, from the strongest on; `results.evidence` decides which."""

    CERTIFIED = "certified"
    """No input can exceed the limit: proved by the bound of the same number."""
    MEASURED = "measured"
    """Measured on real tokens, at all sites, on this checkpoint."""
    SAMPLED = "sampled"
    """Anything else, such as random inputs: real tokens may exceed the limit many times over."""

    @property
    def rank(self) -> int:
        """0 for the weakest."""
        return (GainEvidence.SAMPLED, GainEvidence.MEASURED, GainEvidence.CERTIFIED).index(self)


class Relation(StrEnum):
    """On which side of the limit a value passes."""

    AT_MOST = "<="
    AT_LEAST = ">="


def holds(value: Number, relation: Relation, limit: float) -> bool:
    """Whether a value is on the side of the limit that passes: the one judgement under every gate.

    It fails closed: NaN is on no side, where `not value > limit` and `max(1.0, value) <= limit` would let it pass.
    """
    return within(value, limit) if relation is Relation.AT_MOST else value >= limit


@dataclass(frozen=True, kw_only=True, slots=True)
class Limit:
    """One number held against one limit."""

    metric: str
    """Path of the number in the JSON report, e.g. `worst.forward.norm`."""
    value: Number
    """What was measured, in the metric's unit."""
    limit: float
    """The last value that passes."""
    passed: bool
    """Whether the value is on the right side of the limit; NaN never is."""
    evidence: GainEvidence | None = None
    """What the value rests on, where it is one of mappings."""
    bound: Number | None = None
    """What no input can exceed, of the same number; None where nothing bounds it."""

    @classmethod
    def on(cls, metric: str, value: Number, limit: float, *, relation: Relation = Relation.AT_MOST) -> "Limit":
        """Hold a value against a limit."""
        return cls(metric=metric, value=value, limit=limit, passed=holds(value, relation, limit))


@dataclass(frozen=True, kw_only=True, slots=True)
class Skipped:
    """Something that could not be analysed. It is shown in every output and never vanishes."""

    what: str
    """The site, tensor or file."""
    reason: str
    """Why, in words a user can act on."""


def judged(limits: Iterable[Limit], *, doubt: str) -> Verdict:
    """One verdict for all limits of an input: a failed one wins over doubt, for what was found is certain.

    Parameters
    ----------
    doubt
        Why the input cannot pass whatever its numbers are; empty where it can.
    """
    if not all(limit.passed for limit in limits):
        return Verdict.FAIL
    return Verdict.UNJUDGED if doubt else Verdict.PASS


def combine(verdicts: Iterable[Verdict]) -> Verdict:
    """One verdict for several: fail if any failed, else unjudged if any could not be judged (or there was none)."""
    found = set(verdicts)
    if Verdict.FAIL in found:
        return Verdict.FAIL
    if Verdict.UNJUDGED in found or not found:
        return Verdict.UNJUDGED
    return Verdict.PASS


class GateOn(StrEnum):
    """Which number the gate looks at."""

    WORST = "worst"
    """The worst composite: token mean, definition `norm`, both directions."""
    BOUND = "bound"
    """What no input can exceed, definition `norm`, both directions."""

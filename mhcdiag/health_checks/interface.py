"""What a check gets to see, and what it is.

Adding a check is one module here with the attributes of `Check`, and one entry in `CHECKS` (`checkups/__init__.py`).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import isnan
from typing import Protocol

from jaxtyping import Float
from torch import Tensor

from mhcdiag.mappings.gates import SiteGates
from mhcdiag.mappings.parametric import ParametricStack
from mhcdiag.results.gain import Direction
from mhcdiag.results.health import Basis, Finding, Severity
from mhcdiag.weight_readers.records import PlainWeights, Prediction, SiteActivations


@dataclass(frozen=True, kw_only=True, slots=True)
class Subject:
    """One checkpoint, as far as it is known."""

    sites: tuple[str, ...]
    maps: Float[Tensor, "site stream stream token"]
    """H_res in float64."""
    parameters: ParametricStack | None
    """None for captured mappings."""
    temperature: float
    """What the logits are divided by before they are exponentiated."""
    gates: tuple[SiteGates, ...] | None
    """None where the layout does not offer them."""
    activations: tuple[SiteActivations, ...]
    """Empty where none were captured."""
    exact: frozenset[Direction]
    """Directions in which the layout says that sums are 1."""
    earlier: "Subject | None"
    """The checkpoint to compare with."""
    branch_scales: Mapping[str, Tensor] = field(default_factory=dict)
    """LayerScale and ReZero factors by full name, in file order."""
    residual_scales: Mapping[str, Tensor] = field(default_factory=dict)
    """Factors on the residual stream itself."""
    predict: Callable[[], Mapping[str, Prediction]] | None = None
    """What the weights say of the captured sites, by the layout first and then by other readings; None where nothing
    was captured."""
    plain: PlainWeights | None = None
    """What else can be read of a model with one residual stream; None for others."""


class Check(Protocol):
    """One check; the implementations are modules."""

    NAME: str
    """As in reports."""
    FORMULA: str
    """What is computed."""
    SOURCE: str
    """Where formula and thresholds come from."""
    BASIS: Basis
    """What it rests on."""
    THRESHOLDS: dict[str, float]
    """Default thresholds by name."""

    def run(self, subject: Subject, limits: Mapping[str, float]) -> "Outcome":
        """Look at a subject with these thresholds."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What a check found, without what is the same for every subject."""

    overall: Mapping[str, float]
    per_site: Mapping[str, tuple[float, ...]]
    findings: tuple[Finding, ...] = ()
    not_checkable: str = ""


def not_checkable(why: str) -> Outcome:
    """The outcome of a check that could not be made."""
    return Outcome(overall={}, per_site={}, not_checkable=why)


def largest(values: Iterable[float]) -> float:
    """The largest of some numbers; NaN where one is, which `max` drops unless it comes first."""
    found = list(values)
    return next((value for value in found if isnan(value)), max(found))


def smallest(values: Iterable[float]) -> float:
    """The smallest of some numbers; NaN where one is."""
    return -largest(-value for value in values)


def above(
    sites: Sequence[str], values: Sequence[float], limits: Mapping[Severity, float], *, what: str, advice: str
) -> list[Finding]:
    """One finding for all sites above the highest limit that any exceeds; NaN exceeds every limit.

    Parameters
    ----------
    limits
        By severity.
    what
        With fields `value` and `limit` to be filled in.
    """
    for severity, limit in sorted(limits.items(), key=lambda item: item[1], reverse=True):
        beyond = [i for i, value in enumerate(values) if not value <= limit]
        if beyond:
            worst = max(beyond, key=lambda i: values[i] if values[i] == values[i] else float("inf"))
            said = what.format(value=f"{values[worst]:.3g}", limit=f"{limit:g}")
            return [Finding(severity=severity, what=said, site=sites[worst], sites=len(beyond), advice=advice)]
    return []


def overall(value: float, limits: Mapping[Severity, float], *, what: str, advice: str) -> list[Finding]:
    """The same for one number of the whole model."""
    found = above([""], [value], limits, what=what, advice=advice)
    return [Finding(severity=f.severity, what=f.what, site="", sites=0, advice=f.advice) for f in found]

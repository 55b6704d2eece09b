"""What a health check sees, and what it is.

Adding one is

* one file in `families/` that ends with `CHECK = HealthCheck(...)`; a comment above each threshold says where its
  number comes from,
* its entry in `CHECKS` (`health_checks/__init__.py`), whose order is that of reports,
* its numbers in `NUMBERS` (`metrics/health.py`), for gates, and one line in the README's table of checks.

A check never raises for what a model holds: what it cannot look at is `not_checkable` with a reason, and NaN exceeds
every limit. `tests/health_checks/test_registry.py` names the file that is in no list.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf, isnan

import torch
from jaxtyping import Float
from torch import Tensor

from mhcdiag.mappings.diagonal import SiteFactors
from mhcdiag.mappings.interface import SiteGates
from mhcdiag.mappings.parametric import ParametricStack
from mhcdiag.results.gain import Direction, GainResult
from mhcdiag.results.health import Basis, Finding, Severity
from mhcdiag.results.verdict import GainEvidence
from mhcdiag.weight_readers.records import Coarse, GateSpread, PlainWeights, Prediction, SiteActivations

TINY = 1e-300
"""In place of zero, where a quotient or a logarithm follows: a normal float64, whose inverse is finite, too."""
UNREAD_SPREADS = "the input-dependent part of pre and post: this layout stores it in no way that is known"
"""What checks of pre and post skip where only the static part could be read."""


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
    """Pre and post weights by site; None where the layout does not offer them."""
    activations: tuple[SiteActivations, ...]
    """Empty where none were captured."""
    exact: frozenset[Direction]
    """Directions in which the layout says that sums are 1."""
    earlier: "Subject | None"
    """The checkpoint to compare with."""
    gate_spreads: tuple[GateSpread, ...] | None = None
    """How far inputs move their logits, by site; None where nothing moves them, or where that could not be read."""
    coarse: Coarse | None = None
    """Mixing parameters that are stored in 16 bits; None where there are no parameters."""
    redrawn: Callable[[], Iterable[Tensor]] | None = None
    """H_res of these parameters as stored, then of others that are rounded to the same."""
    unread_spreads: bool = False
    """Whether something moves them that could not be read."""
    branch_scales: Mapping[str, Tensor] = field(default_factory=dict)
    """LayerScale and ReZero factors by full name, in file order."""
    residual_factors: SiteFactors | None = None
    """Factors on the residual stream itself; None in most models."""
    no_composite: str = ""
    """Why the model has no fixed composite mapping, so that `maps` say nothing of its gain; empty where it has one."""
    predict: Callable[[], Mapping[str, Prediction]] | None = None
    """What the weights say of the captured sites, by the layout first and then by other readings; None where nothing
    was captured."""
    gain: Callable[[], GainResult] | None = None
    """What `mhcdiag gain` measures of it; None where it was not asked for."""
    mixes: bool = True
    """Whether the layout mixes streams at all; where not, identities are by design."""
    plain: PlainWeights | None = None
    """What else can be read of a model with one residual stream; None for others."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What a check found, without what is the same for every subject."""

    overall: Mapping[str, float]
    """Numbers of the whole model, by name."""
    per_site: Mapping[str, tuple[float, ...]]
    """Numbers per site, by name, in depth order; all of them as long as `Subject.sites`."""
    findings: tuple[Finding, ...] = ()
    not_checkable: str = ""
    """Why it could not be checked; empty where it was."""
    skipped: tuple[str, ...] = ()
    """What of it could not be looked at, and why; empty where all was."""
    evidence: GainEvidence | None = None
    """What the check of the gain rests on; None for all others."""
    qualification: str = ""
    """What stands behind a pass of the gain that is merely sampled, with the command that measures real tokens."""


@dataclass(frozen=True, kw_only=True, slots=True)
class HealthCheck:
    """One of the checks that `mhcdiag health` makes."""

    name: str
    """As in reports, `--only` and `--threshold NAME.THRESHOLD`."""
    formula: str
    """What is computed."""
    source: str
    """Where formula and thresholds come from."""
    basis: Basis
    """What it rests on."""
    thresholds: Mapping[str, float]
    """Default thresholds by name."""
    run: Callable[[Subject, Mapping[str, float]], Outcome]
    """Look at a subject, by the thresholds in force."""


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


def over(value: float, by: float) -> float:
    """A ratio of two sizes; 1 for nothing over nothing, infinite for something over nothing, NaN where one is.

    >>> over(3.0, 2.0), over(3.0, 0.0), over(0.0, 0.0)
    (1.5, inf, 1.0)
    """
    if by == 0:
        return value if isnan(value) else 1.0 if value == 0 else inf
    return value / by


def role_of(name: str) -> str:
    """A tensor's name with N for the number of its layer: the same for the same tensor of all layers.

    >>> role_of("model.layers.11.input_layernorm.weight")
    'model.layers.N.input_layernorm.weight'
    """
    return re.sub(r"(?<=\.)\d+(?=\.)|^\d+(?=\.)", "N", name)


def above(
    sites: Sequence[str],
    values: Sequence[float],
    limits: Mapping[Severity, float],
    *,
    what: str,
    advice: str,
    none: str = "",
) -> list[Finding]:
    """One finding for all sites above the highest limit that any exceeds; NaN exceeds every limit.

    Parameters
    ----------
    sites, values
        Names, and one number each.
    limits
        By severity.
    what
        The message, with fields `value` and `limit` to be filled in.
    advice
        What to do.
    none
        The message in place of `what` where the number is infinite: a ratio to zero is told in words.
    """
    for severity, limit in sorted(limits.items(), key=lambda item: item[1], reverse=True):
        beyond = [i for i, value in enumerate(values) if not value <= limit]  # so written, NaN is beyond
        if beyond:
            worst = max(beyond, key=lambda i: values[i] if values[i] == values[i] else float("inf"))
            said = what.format(value=f"{values[worst]:.3g}", limit=f"{limit:g}")
            said = none if none and values[worst] == inf else said
            return [Finding(severity=severity, what=said, site=sites[worst], sites=len(beyond), advice=advice)]
    return []


def model_above(value: float, limits: Mapping[Severity, float], *, what: str, advice: str) -> list[Finding]:
    """`above` for one number of the whole model."""
    found = above([""], [value], limits, what=what, advice=advice)
    return [model_finding(each.severity, each.what, each.advice) for each in found]


def model_finding(severity: Severity, what: str, advice: str) -> Finding:
    """A finding that concerns the whole model and no site more than another."""
    return Finding(severity=severity, what=what, site="", sites=0, advice=advice)


@dataclass(frozen=True, kw_only=True, slots=True)
class Prefixes:
    """P(1,l) for every l, each divided by its own scale."""

    matrices: Float[Tensor, "site token stream stream"]
    logs: Float[Tensor, "site token"]
    """ln of the scale."""


def prefixes(maps: Float[Tensor, "site stream stream token"]) -> Prefixes:
    """P(1,l) = H_l ... H_1, so scaled that depth neither overflows nor underflows."""
    matrices, logs = [], []
    product, log = None, torch.zeros(maps.shape[-1], dtype=maps.dtype)
    for of_site in maps.permute(0, 3, 1, 2):
        product = of_site if product is None else of_site @ product
        largest = product.abs().amax(dim=(-2, -1)).clamp(min=TINY)
        product, log = product / largest[:, None, None], log + largest.log()
        matrices.append(product)
        logs.append(log)
    return Prefixes(matrices=torch.stack(matrices), logs=torch.stack(logs))


def dobrushin(matrices: Float[Tensor, "*batch stream stream"]) -> Float[Tensor, " *batch"]:
    """Dobrushin's coefficient: the share of a difference between streams that survives, 0 to 1 where rows sum to 1.

    max over rows i, k of 1/2 sum_j |P_ij - P_kj|.
    """
    differences = matrices.unsqueeze(-2) - matrices.unsqueeze(-3)
    return differences.abs().sum(dim=-1).amax(dim=(-2, -1)) / 2


def lyapunov(maps: Float[Tensor, "site stream stream token"]) -> Float[Tensor, " exponent"]:
    """Lyapunov exponents per site, largest first: token means of (1/L) sum ln |R_kk|, R from QR of successive products.

    The first times L is the ln of the gain; its distance to the second is the rate of collapse.
    """
    tokens, streams = maps.shape[-1], maps.shape[1]
    # Products themselves lose all but the largest direction to rounding after a few sites; QR at each keeps all.
    basis = torch.eye(streams, dtype=maps.dtype).expand(tokens, streams, streams)
    total = torch.zeros(tokens, streams, dtype=maps.dtype)
    for of_site in maps.permute(0, 3, 1, 2):
        basis, triangle = torch.linalg.qr(of_site @ basis)
        total = total + triangle.diagonal(dim1=-2, dim2=-1).abs().clamp(min=TINY).log()
    return (total / maps.shape[0]).mean(dim=0)

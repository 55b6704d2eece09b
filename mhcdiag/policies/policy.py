"""A policy: which inputs, which gates with which limits, which known events are allowed."""

from dataclasses import dataclass, field
from typing import Any

from mhcdiag.results.bands import EXPLODED_GAIN
from mhcdiag.results.check import GateSeverity
from mhcdiag.results.verdict import Relation

ANY = "*"


@dataclass(frozen=True, kw_only=True, slots=True)
class PolicyGate:
    """One limit on one metric. Exactly one of `max`, `min` and `max_ratio` is given."""

    metric: str
    """Path into the JSON reports, e.g. `gain.worst.backward.norm`."""
    name: str = ""
    """What reports call it; the metric where it is left out."""
    max: float | None = None
    """Largest value that passes, in the metric's unit."""
    min: float | None = None
    """Smallest value that passes."""
    max_ratio: float | None = None
    """Largest value that passes, as a multiple of the baseline's."""
    severity: GateSeverity = GateSeverity.ERROR
    """Whether it decides the verdict."""
    reason: str = ""
    """Why the gate is here."""
    series: str | None = None
    """Series of a log, `*` for all that were judged; the metric's own where it is left out."""
    paths: str = ANY
    """Pattern of the inputs it applies to."""

    @property
    def relation(self) -> Relation:
        """On which side of the limit a value passes."""
        return Relation.AT_LEAST if self.min is not None else Relation.AT_MOST


@dataclass(frozen=True, kw_only=True, slots=True)
class Allow:
    """Events of logs that are known, and count nowhere."""

    steps: tuple[float, float]
    """First and last step at which such an event may start."""
    reason: str
    """Why; every report shows it."""
    kind: str = ANY
    """Class of the events."""
    series: str = ANY
    """Series of the events."""
    paths: str = ANY
    """Pattern of the logs."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Inputs:
    """What to check where the command line names nothing; patterns are relative to the policy's folder."""

    checkpoints: tuple[str, ...] = ()
    """Files and folders of checkpoints."""
    logs: tuple[str, ...] = ()
    """Training logs and folders of them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Policy:
    """What one file says."""

    inputs: Inputs = field(default_factory=Inputs)
    """What to check."""
    gates: tuple[PolicyGate, ...] = ()
    """Limits, in order."""
    allow: tuple[Allow, ...] = ()
    """Known events."""
    gain: dict[str, Any] = field(default_factory=dict)
    """Defaults of the options of `mhcdiag gain`, by their names with underscores."""
    weights: dict[str, Any] = field(default_factory=dict)
    """Defaults of the options of `mhcdiag weights`; `match`, `allow` and `sample` hold for every scan of weights."""
    spikes: dict[str, Any] = field(default_factory=dict)
    """Defaults of the options of `mhcdiag spikes`."""
    check: dict[str, Any] = field(default_factory=dict)
    """Defaults of the options of `mhcdiag check`."""


BUILT_IN = Policy(
    gates=(
        PolicyGate(metric="gain.nonfinite", name="finite mappings", max=0.0),
        PolicyGate(metric="gain.worst.forward.norm", name="forward gain", max=EXPLODED_GAIN),
        PolicyGate(metric="gain.worst.backward.norm", name="backward gain", max=EXPLODED_GAIN),
        PolicyGate(metric="spikes.count.nan", name="no NaN", max=0.0, series=ANY),
        PolicyGate(metric="spikes.count.divergence", name="no divergence", max=0.0, series=ANY),
        PolicyGate(metric="spikes.count.loss_scale", name="loss scale", max=0.0),
    ),
)
"""What is judged where no file says otherwise: the default gates of `mhcdiag gain` and `mhcdiag spikes`."""

BUILT_IN_NAME = "built-in policy"

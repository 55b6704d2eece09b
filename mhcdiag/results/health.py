"""The record of `mhcdiag health`: what each check measured, what it found, and how sure that is."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from mhcdiag.results.presented import Brief, Presented
from mhcdiag.results.verdict import GainEvidence
from mhcdiag.results.wording import counted


class Severity(StrEnum):
    """How bad a finding is."""

    NOTE = "note"
    """Worth knowing; nothing to do."""
    WARN = "warn"
    """Something is probably wasted or wrong."""
    FAIL = "fail"
    """Something is wrong."""


SEVERITIES = (Severity.NOTE, Severity.WARN, Severity.FAIL)
"""From the mildest on."""


class Basis(StrEnum):
    """What a check rests on."""

    MEASURED = "measured"
    """A property of these matrices or activations, computed."""
    BOUND = "bound"
    """What cannot be exceeded."""
    HEURISTIC = "heuristic"
    """A rule of thumb, from small models or few reports."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One thing that a check has to say."""

    severity: Severity
    what: str
    """What was found, with the number and the threshold."""
    site: str
    """The worst site; empty where it concerns the whole model."""
    sites: int
    """How many sites it concerns; 0 where it concerns the whole model."""
    advice: str
    """What to do."""


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class CheckResult(Brief):
    """One check."""

    name: str
    """As in `--only` and `--threshold`."""
    formula: str
    """What is computed."""
    source: str
    """Where formula and thresholds come from."""
    basis: Basis
    """What it rests on."""
    thresholds: Mapping[str, float]
    """Thresholds in force, by name."""
    overall: Mapping[str, float]
    """Numbers of the whole model, by name."""
    per_site: Mapping[str, tuple[float, ...]]
    """Numbers per site, by name, in depth order."""
    findings: tuple[Finding, ...]
    """Worst first; empty where all is well."""
    not_checkable: str
    """Why it could not be checked; empty where it was. Never to be read as "all is well"."""
    skipped: tuple[str, ...] = ()
    """What of it could not be looked at, and why, where the rest was."""
    evidence: GainEvidence | None = None
    """What the check of the gain rests on; None for all others."""
    qualification: str = ""
    """What stands behind a pass of the gain that is merely sampled, with the command that measures real tokens."""


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class HealthResult(Presented):
    """All checks of one checkpoint."""

    path: str
    """As the user named it."""
    layout: str
    """Name of the layout by which it was read."""
    model: str
    """Model family or variant as far as the checkpoint tells."""
    streams: int
    """Number n of residual streams."""
    sites: tuple[str, ...]
    """Names of the sites in depth order."""
    inputs: str
    """Where the input-dependent part came from."""
    tokens: int
    """Number of tokens behind the mappings."""
    against: str
    """The earlier checkpoint; empty without one."""
    checks: tuple[CheckResult, ...]
    """In the order in which they were made."""
    assumed: tuple[str, ...]
    """What the input did not say."""
    notes: tuple[str, ...]
    """What a reader must know."""

    def _headline(self) -> str:
        found = [finding.severity for check in self.checks for finding in check.findings]
        counts = [f"{found.count(severity)} {severity}" for severity in reversed(SEVERITIES) if severity in found]
        return f"{counted(len(self.checks), 'check')}: {', '.join(counts) or 'nothing found'}"

    @property
    def gain(self) -> CheckResult | None:
        """The check of the gain; None where it was not made."""
        return next((check for check in self.checks if check.evidence is not None), None)

    def worst(self) -> Severity | None:
        """The worst finding's severity; None where nothing was found."""
        found = [finding.severity for check in self.checks for finding in check.findings]
        return max(found, key=SEVERITIES.index, default=None)

"""The outcome of one policy over checkpoints and logs: what `mhcdiag check` prints and every report is made from."""

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from mhcdiag.errors import SettingError
from mhcdiag.results.evidence import weakest
from mhcdiag.results.gain import GainResult
from mhcdiag.results.health import HealthResult
from mhcdiag.results.numbers import Number
from mhcdiag.results.presented import Brief, Presented
from mhcdiag.results.spikes import LogResult
from mhcdiag.results.verdict import GainEvidence, Relation, Verdict
from mhcdiag.results.weights import WeightsResult


class GateSeverity(StrEnum):
    """What a gate that does not pass means for the command."""

    ERROR = "error"
    """It decides the verdict."""
    WARNING = "warning"
    """It is shown, and changes nothing unless `--strict` is given."""


class Family(StrEnum):
    """What an input is."""

    CHECKPOINT = "checkpoint"
    LOG = "log"


@dataclass(frozen=True, kw_only=True, slots=True)
class ValuePlace:
    """Where the number that a gate judged comes from."""

    text: str
    """In words: "0.attn to 29.ffn", "step 12,040"."""
    line: int | None = None
    """Line of the log, from 1; None for checkpoints."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GateOutcome:
    """One gate of the policy on one input."""

    gate: str
    """Name of the gate, unique in the policy."""
    metric: str
    """What it judges: a path into the JSON reports, e.g. `gain.worst.backward.norm`."""
    series: str | None
    """Series of the log that the metric was taken from; None for checkpoints."""
    path: str
    """The input as the user (or the policy's pattern) named it."""
    verdict: Verdict
    """Pass, fail, or could not judge."""
    severity: GateSeverity
    """Whether that decides the command."""
    value: Number | None
    """What was measured, in the metric's unit; None where it is missing."""
    relation: Relation
    """On which side of the limit a value passes."""
    limit: float | None
    """The limit; None where it depends on a baseline that lacks the number."""
    baseline: Number | None
    """The baseline's number, where the limit is relative to it."""
    finding: str
    """Why it does not pass, in one clause; empty for a pass."""
    reason: str
    """Why the policy has this gate, in its author's words; may be empty."""
    place: ValuePlace | None
    """Where the value comes from, as far as it has one place."""
    evidence: GainEvidence | None = None
    """What the value rests on; None for what is no number of mappings."""
    bound: Number | None = None
    """What no input can exceed, of the same number; None where nothing bounds it."""

    @property
    def family(self) -> Family:
        """What the input is: a folder may be a checkpoint and a log, under one path."""
        return Family.LOG if self.metric.startswith("spikes.") else Family.CHECKPOINT


@dataclass(frozen=True, kw_only=True, slots=True)
class AllowedEvent:
    """An event of a log that the policy's allow-list leaves out of all counts. It is shown in every report."""

    path: str
    """The log."""
    series: str
    """Series of the event."""
    kind: str
    """Class of the event."""
    step: float
    """Step at which it starts."""
    line: int
    """Line of the log, from 1."""
    reason: str
    """Why it is allowed, in the words of the policy."""


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class CheckedInput(Brief):
    """One checkpoint or log of a check."""

    path: str
    """As the user (or the policy's pattern) named it."""
    family: Family
    """What it is."""
    verdict: Verdict
    """Of all gates on this input; unjudged where it could not be read."""
    result: GainResult | LogResult | None
    """What was measured; None where it could not be read."""
    error: str
    """Why it could not be read, in one line; empty where it could."""
    sha256: str
    """Of the file's bytes; empty where they were not all read (a large checkpoint, standard input, a folder)."""
    health: HealthResult | None = None
    """Of a checkpoint, where a gate asks for it."""
    weights: WeightsResult | None = None
    """Of a checkpoint: what a scan of all weights found, or why there was none."""

    @classmethod
    def unread(cls, path: str, family: Family, why: str) -> "CheckedInput":
        """One that could not be read."""
        return cls(path=path, family=family, verdict=Verdict.UNJUDGED, result=None, error=why, sha256="")


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class CheckReport(Presented):
    """The outcome of one check over all its inputs."""

    verdict: Verdict
    """Fail if any gate of severity error failed, else unjudged if any could not be judged, else pass."""
    exit_code: int
    """What the command ends with: the verdict's, or 0 under `--exit-zero`."""
    outcomes: tuple[GateOutcome, ...]
    """Every gate on every input it applies to, in the order of inputs, then of the policy."""
    inputs: tuple[CheckedInput, ...]
    """Every input, in the order given."""
    allowed: tuple[AllowedEvent, ...]
    """Events that the allow-list left out."""
    policy: str
    """The policy file as the user would name it; "built-in policy" where there was none."""
    baseline: str | None
    """The baseline file; None where none was given."""
    strict: bool
    """Whether warnings, assumptions and skipped parts count."""
    version: str
    """Version of mhcdiag."""
    created: str
    """When, as ISO 8601 in UTC; taken from SOURCE_DATE_EPOCH where that is set."""

    def _headline(self) -> str:
        verdicts = [outcome.verdict for outcome in self.outcomes]
        counts = [f"{verdicts.count(verdict)} {verdict}" for verdict in Verdict if verdict in verdicts]
        return f"{self.verdict}, exit code {self.exit_code}; gates: {', '.join(counts) or 'none'}"

    def outcomes_of(self, checked: CheckedInput) -> tuple[GateOutcome, ...]:
        """Return the outcomes of one input, in the order of the policy."""
        return tuple(one for one in self.outcomes if one.path == checked.path and one.family is checked.family)

    @property
    def evidence(self) -> GainEvidence | None:
        """The weakest that any number rests on; None where none is one of mappings."""
        return weakest(one.evidence for one in self.outcomes)

    @property
    def decided_by(self) -> GateOutcome | None:
        """The outcome that made the verdict what it is; None for a pass."""
        if self.verdict is Verdict.PASS:
            return None
        counted = [one for one in self.outcomes if self.strict or one.severity is GateSeverity.ERROR]
        return next((one for one in counted if one.verdict is self.verdict), None)


def report_time() -> str:
    """Return the time of the report; SOURCE_DATE_EPOCH makes reports of the same input the same bytes."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH", "")
    try:
        moment = datetime.fromtimestamp(int(epoch), UTC) if epoch else datetime.now(UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise SettingError(f"SOURCE_DATE_EPOCH={epoch}: expected seconds since 1970") from error
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")

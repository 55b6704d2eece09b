"""One policy over all inputs: measure, judge, and keep what could not be read beside what could."""

import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from mhcdiag.errors import SettingError
from mhcdiag.metrics import Document
from mhcdiag.policies.baseline import Baseline, refuse_other_model
from mhcdiag.policies.gates import gates_for, judge_gate, overall, unjudged, without_allowed
from mhcdiag.policies.inputs import Input
from mhcdiag.policies.policy import Policy
from mhcdiag.policies.verdicts import SpikeGate, judge
from mhcdiag.results.check import AllowedEvent, CheckedInput, CheckReport, Family, GateOutcome
from mhcdiag.results.documents.gain import gain_document
from mhcdiag.results.documents.health import health_document
from mhcdiag.results.documents.spikes import spikes_document
from mhcdiag.results.gain import GainResult
from mhcdiag.results.health import HealthResult
from mhcdiag.results.judged import Unreadable, readable
from mhcdiag.results.spikes import LogResult
from mhcdiag.results.verdict import EXIT_CODES, Verdict, combine
from mhcdiag.version import __version__

WHOLE_FILE = 1 << 28
"""Largest file in bytes that is hashed: reading a large checkpoint for its hash would take longer than all the rest."""

_NO_KINDS = SpikeGate(fail_on=frozenset())


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What a check is to do."""

    policy: Policy
    """Gates and known events."""
    policy_name: str
    """What reports call it."""
    inputs: Sequence[Input]
    """What to look at."""
    measure: Callable[[str], GainResult]
    """Measure a checkpoint."""
    examine: Callable[[str], HealthResult]
    """Examine the health of a checkpoint; done only where a gate asks for it."""
    read: Callable[[str], LogResult]
    """Find the events of a log."""
    baseline: Baseline | None
    """Earlier report."""
    strict: bool
    """Whether warnings, assumptions and skipped parts count."""
    exit_zero: bool
    """Whether to end with 0 whatever is found."""
    jobs: int
    """Inputs worked on at the same time."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Judged:
    checked: CheckedInput
    outcomes: tuple[GateOutcome, ...] = ()
    allowed: tuple[AllowedEvent, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """What came of one input."""

    result: GainResult | LogResult | Unreadable
    health: HealthResult | None = None
    """Where a gate asks for it."""


def run_check(plan: Plan) -> CheckReport:
    """Measure and judge every input.

    Arguments: plan: policy and inputs. Returns: the report; an input that cannot be read is an entry in it.
    Raises: InputError for a baseline of another model.
    """
    return judge_all(plan, look_at_all(plan))


def judge_all(plan: Plan, results: Sequence[Found]) -> CheckReport:
    """Judge what was found, input by input. Raises: InputError for a baseline of another model."""
    judged = [_judge(plan, one, result) for one, result in zip(plan.inputs, results, strict=True)]
    outcomes = tuple(outcome for one in judged for outcome in one.outcomes)
    verdicts = [one.checked.verdict for one in judged]
    # An input on which only warnings failed has passed; one that could not be read has not.
    verdict = combine(verdicts)
    return CheckReport(
        verdict=verdict,
        exit_code=0 if plan.exit_zero else EXIT_CODES[verdict],
        outcomes=outcomes,
        inputs=tuple(one.checked for one in judged),
        allowed=tuple(event for one in judged for event in one.allowed),
        policy=plan.policy_name,
        baseline=None if plan.baseline is None else plan.baseline.path,
        strict=plan.strict,
        version=__version__,
        created=_now(),
    )


def look_at_all(plan: Plan) -> list[Found]:
    """Measure every checkpoint and read every log, in the order of the plan."""

    def look(one: Input) -> Found:
        if one.error:
            return Found(result=Unreadable(path=one.path, reason=one.error))
        if one.family is Family.LOG:
            return Found(result=readable(one.path, plan.read))
        result = readable(one.path, plan.measure)
        if isinstance(result, Unreadable) or not _asks_for_health(plan, one):
            return Found(result=result)
        health = readable(one.path, plan.examine)
        return Found(result=health) if isinstance(health, Unreadable) else Found(result=result, health=health)

    if plan.jobs == 1 or len(plan.inputs) == 1:
        return [look(one) for one in plan.inputs]
    with ThreadPoolExecutor(max_workers=plan.jobs) as pool:
        return list(pool.map(look, plan.inputs))


def _asks_for_health(plan: Plan, one: Input) -> bool:
    return any(gate.metric.startswith("health.") for gate in gates_for(plan.policy.gates, one.family, one.path))


def _judge(plan: Plan, one: Input, found: Found) -> _Judged:
    result = found.result
    if isinstance(result, Unreadable):
        unread = CheckedInput(
            path=one.path, family=one.family, verdict=Verdict.UNJUDGED, result=None, error=result.reason, sha256=""
        )
        return _Judged(checked=unread)
    document: Document = gain_document(result) if isinstance(result, GainResult) else spikes_document(result)
    if found.health is not None:
        document = {**document, "health": health_document(found.health)}
    document, allowed = (
        without_allowed(document, plan.policy.allow) if isinstance(result, LogResult) else (document, ())
    )
    baseline = None if plan.baseline is None else plan.baseline.find(one.family, one.path)
    if baseline is not None and one.family is Family.LOG:
        baseline, _ = without_allowed(baseline, plan.policy.allow)
    if plan.baseline is not None and baseline is not None and isinstance(result, GainResult):
        refuse_other_model(plan.baseline, baseline, document)
    gates = list(gates_for(plan.policy.gates, one.family, one.path))
    outcomes = [judge_gate(gate, document, baseline) for gate in gates]
    outcomes += [unjudged(one.path, one.family, why) for why in _doubts(result, judged=bool(gates), strict=plan.strict)]
    checked = CheckedInput(
        path=one.path,
        family=one.family,
        verdict=overall(outcomes, strict=plan.strict),
        result=result,
        error="",
        sha256=_sha256(one.path),
        health=found.health,
    )
    return _Judged(checked=checked, outcomes=tuple(outcomes), allowed=allowed)


def _doubts(result: GainResult | LogResult, *, judged: bool, strict: bool) -> list[str]:
    """Return why an input cannot pass, whatever its gates say."""
    doubts = []
    if not judged:
        word = "checkpoints" if isinstance(result, GainResult) else "logs"
        doubts.append(f"no gate of the policy applies to it: add one for {word}")
    if isinstance(result, LogResult):
        reason = judge(result, _NO_KINDS).reason
        doubts += [reason] if reason else []
    elif strict and (result.assumed or result.skipped):
        count = len(result.assumed) + len(result.skipped)
        doubts.append(f"--strict, and {count} thing(s) were assumed or skipped")
    return doubts


def _sha256(path: str) -> str:
    if not os.path.isfile(path) or os.path.getsize(path) > WHOLE_FILE:
        return ""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _now() -> str:
    """Return the time of the report; SOURCE_DATE_EPOCH makes reports of the same input the same bytes."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH", "")
    try:
        moment = datetime.fromtimestamp(int(epoch), UTC) if epoch else datetime.now(UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise SettingError(f"SOURCE_DATE_EPOCH={epoch}: expected seconds since 1970") from error
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")

"""Checks to render: real measurements with outcomes of gates that a test chooses."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import mhcdiag
from mhcdiag.results.check import AllowedEvent, CheckedInput, CheckReport, Family, GateOutcome, GateSeverity, ValuePlace
from mhcdiag.results.gain import Definition, Direction, GainResult
from mhcdiag.results.numbers import Number, within
from mhcdiag.results.spikes import EventKind, LogResult
from mhcdiag.results.verdict import EXIT_CODES, Relation, Verdict, combine
from mhcdiag.usecases.spikes import spikes

SAMPLES = Path(__file__).parents[2] / "sample_checkpoints"
CREATED = "2026-02-03T04:05:06Z"


@cache
def sample_gain(name: str) -> GainResult:
    return mhcdiag.gain(SAMPLES / name)


@cache
def sample_log(name: str) -> LogResult:
    return spikes(str(SAMPLES / "logs" / name))


def outcome(path: str, value: Number | None, limit: float | None = 1000.0, **changed) -> GateOutcome:
    """One outcome; its verdict follows from value and limit, unless it is given."""
    passed = value is not None and limit is not None and within(value, limit)
    facts = {
        "gate": "worst-gain",
        "metric": "gain.worst.backward.norm",
        "series": None,
        "verdict": Verdict.UNJUDGED if value is None else Verdict.PASS if passed else Verdict.FAIL,
        "severity": GateSeverity.ERROR,
        "relation": Relation.AT_MOST,
        "baseline": None,
        "finding": "" if passed else "above its limit",
        "reason": "",
        "place": None,
    }
    return GateOutcome(path=path, value=value, limit=limit, **(facts | changed))


def checked(result: GainResult | LogResult, verdict: Verdict = Verdict.PASS, *, sha256: str = "") -> CheckedInput:
    family = Family.CHECKPOINT if isinstance(result, GainResult) else Family.LOG
    return CheckedInput(path=result.path, family=family, verdict=verdict, result=result, error="", sha256=sha256)


def unreadable(path: str, error: str, family: Family = Family.CHECKPOINT) -> CheckedInput:
    return CheckedInput(path=path, family=family, verdict=Verdict.UNJUDGED, result=None, error=error, sha256="")


def check_of(
    inputs: Sequence[CheckedInput],
    outcomes: Sequence[GateOutcome] = (),
    *,
    allowed: Sequence[AllowedEvent] = (),
    strict: bool = False,
) -> CheckReport:
    counted = [one.verdict for one in outcomes if strict or one.severity is GateSeverity.ERROR]
    verdict = combine([*counted, *(one.verdict for one in inputs if one.error)])
    return CheckReport(
        verdict=verdict,
        exit_code=EXIT_CODES[verdict],
        outcomes=tuple(outcomes),
        inputs=tuple(inputs),
        allowed=tuple(allowed),
        policy="mhcdiag.toml",
        baseline=None,
        strict=strict,
        version="0.0.0",
        created=CREATED,
    )


def gain_outcomes(result: GainResult) -> list[GateOutcome]:
    """The default gate on both directions."""
    found = []
    for direction in Direction:
        span = result.worst[direction, Definition.NORM]
        found.append(
            outcome(
                result.path,
                span.value,
                gate=f"worst-{direction}",
                metric=f"gain.worst.{direction}.norm",
                reason="the level at which the paper calls a model exploded",
                place=ValuePlace(text=f"{span.from_site} to {span.to_site}"),
            )
        )
    return found


def log_outcomes(log: LogResult) -> list[GateOutcome]:
    """No NaN and no divergence, and a warning on spikes."""
    found = []
    for kind, severity in (
        (EventKind.NAN, GateSeverity.ERROR),
        (EventKind.DIVERGENCE, GateSeverity.ERROR),
        (EventKind.SPIKE, GateSeverity.WARNING),
    ):
        events = [event for event in log.series["loss"].events if event.kind is kind]
        place = ValuePlace(text=f"step {events[0].start:,.0f}", line=events[0].line) if events else None
        facts = {"gate": f"no-{kind}", "metric": f"spikes.count.{kind}", "series": "loss", "severity": severity}
        found.append(outcome(log.path, float(len(events)), 0.0, place=place, **facts))
    return found


def samples_report() -> CheckReport:
    """Both sample checkpoints and both sample logs under the usual gates."""
    results = [
        sample_gain("hc.safetensors"),
        sample_gain("deepseek_v4"),
        sample_log("spiky.jsonl"),
        sample_log("diverged.log"),
    ]
    inputs, outcomes = [], []
    for result in results:
        found = gain_outcomes(result) if isinstance(result, GainResult) else log_outcomes(result)
        verdict = combine(one.verdict for one in found if one.severity is GateSeverity.ERROR)
        inputs.append(checked(result, verdict, sha256="ab" * 32))
        outcomes += found
    return check_of(inputs, outcomes)

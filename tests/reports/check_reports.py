"""Outcomes of a check of our own making, for the tests of its report formats."""

import math
from dataclasses import replace

from mhcdiag.results.check import AllowedEvent, CheckedInput, CheckReport, Family, GateOutcome, GateSeverity, ValuePlace
from mhcdiag.results.gain import (
    Bound,
    Definition,
    Direction,
    GainResult,
    Kind,
    Reduction,
    WorstSpan,
)
from mhcdiag.results.numbers import Huge
from mhcdiag.results.spikes import BinnedCurve, LogResult, RunSpan, SeriesResult, SpikeScore
from mhcdiag.results.verdict import EXIT_CODES, Relation, Skipped, Verdict, combine

CHECKPOINT, LOG = "checkpoints/step_100", "logs/run.jsonl"
NASTY = "a|b`c`<script>*x*\x1b[31m\r\n]]>&\x00\ufffe\U0001f525[t](u){0},d:e%0A::error::_é"
"""Every character that means something to a terminal, Markdown, HTML, XML, CSV or a workflow command."""


def gain_result(path: str = CHECKPOINT, **changes: object) -> GainResult:
    sites = ("0.attn", "0.ffn", "1.attn")
    curves = {
        (kind, direction, definition, reduction): (1.0, 1.5, 2.0)
        for kind in Kind
        for direction in Direction
        for definition in Definition
        for reduction in (Reduction.MEAN, Reduction.MAX)
    }
    result = GainResult(
        path=path, layout="deepseek-v4", model="deepseek_v4", streams=2, sites=sites, tensors=("a", "b", "c"),
        inputs="random", tokens=31, span_tokens=31, dtype="float64", device="cpu", kernel="plain",
        bytes_read=1234, bytes_total=56789, assumed=("rms_norm_eps is 1e-6",),
        skipped=(Skipped(what="2.attn", reason="no bias"),), excluded=("head",), notes=("inputs are random",),
        nonfinite=(), gain=curves,
        worst={
            (direction, definition): WorstSpan(value=2.0, from_site="0.attn", to_site="1.attn")
            for direction in Direction
            for definition in Definition
        },
        spans={},
        bound={one: Bound(single=None, prefix=None, suffix=None, worst=None, why="none") for one in Direction},
        sinkhorn=None,
    )  # fmt: skip
    return replace(result, **changes)  # type: ignore[arg-type]


def log_result(path: str = LOG) -> LogResult:
    score = SpikeScore(olmo2=math.nan, olmo_core=0.001)
    curve = BinnedCurve(run=(0,), step=(0.0,), low=(2.0,), high=(3.0,))
    series = SeriesResult(source_name="train/loss", points=997, spike_score=score, events=(), curve=curve)
    return LogResult(
        path=path, format="jsonl", rule="excursions", lines=1009, loss_lines=997, unreadable_lines=3,
        runs=(RunSpan(first_step=0.0, last_step=12040.0, points=997),), series={"loss": series},
        notes=("a resume at step 500",),
    )  # fmt: skip


def outcome(**changes: object) -> GateOutcome:
    """A gate on the checkpoint that passes, but for what is changed."""
    passed = GateOutcome(
        gate="max-gain", metric="gain.worst.backward.norm", series=None, path=CHECKPOINT, verdict=Verdict.PASS,
        severity=GateSeverity.ERROR, value=2.0, relation=Relation.AT_MOST, limit=1000.0, baseline=None, finding="",
        reason="the paper calls 1000 exploded", place=ValuePlace(text="0.attn to 1.attn"),
    )  # fmt: skip
    return replace(passed, **changes)  # type: ignore[arg-type]


def nan_outcome(**changes: object) -> GateOutcome:
    """A gate on the log that fails, but for what is changed."""
    failed = outcome(
        gate="no-nan", metric="spikes.count.nan", series="loss", path=LOG, verdict=Verdict.FAIL, value=3.0,
        limit=0.0, finding="the loss is NaN", reason="", place=ValuePlace(text="step 12,040", line=1007),
    )  # fmt: skip
    return replace(failed, **changes)  # type: ignore[arg-type]


def read_input(
    path: str = CHECKPOINT, verdict: Verdict = Verdict.PASS, family: Family = Family.CHECKPOINT
) -> CheckedInput:
    result = gain_result(path) if family is Family.CHECKPOINT else log_result(path)
    sha256 = "" if family is Family.CHECKPOINT else "0a" * 32
    return CheckedInput(path=path, family=family, verdict=verdict, result=result, error="", sha256=sha256)


def broken_input(path: str = "checkpoints/broken", error: str = "4 bytes, shorter than a header") -> CheckedInput:
    return CheckedInput(
        path=path, family=Family.CHECKPOINT, verdict=Verdict.UNJUDGED, result=None, error=error, sha256=""
    )


def report(*outcomes: GateOutcome, **changes: object) -> CheckReport:
    """A report over these outcomes; its inputs and verdict follow from them, but for what is changed."""
    made: dict[str, object] = {"inputs": inputs_of(outcomes), "strict": False, **changes}
    counted = [one.verdict for one in outcomes if made["strict"] or one.severity is GateSeverity.ERROR]
    counted += [one.verdict for one in made["inputs"] if one.result is None]  # type: ignore[attr-defined]
    verdict = combine(counted) if counted or not outcomes else Verdict.PASS
    made = {
        "verdict": verdict, "outcomes": outcomes, "allowed": (), "policy": "mhcdiag.toml", "baseline": None,
        "version": "0.1.0", "created": "2026-01-02T03:04:05+00:00", **made,
    }  # fmt: skip
    made.setdefault("exit_code", EXIT_CODES[made["verdict"]])  # type: ignore[index]
    return CheckReport(**made)  # type: ignore[arg-type]


def inputs_of(outcomes: tuple[GateOutcome, ...]) -> tuple[CheckedInput, ...]:
    found: dict[str, list[GateOutcome]] = {}
    for one in outcomes:
        found.setdefault(one.path, []).append(one)
    return tuple(
        read_input(
            path,
            combine(one.verdict for one in ones),
            Family.LOG if ones[0].metric.startswith("spikes") else Family.CHECKPOINT,
        )
        for path, ones in found.items()
    )


def healthy() -> CheckReport:
    return report(outcome(), nan_outcome(verdict=Verdict.PASS, value=0.0, finding="", place=None))


def failing() -> CheckReport:
    """Something of everything: two pass, one warns, two fail, one cannot be judged; the last is the most severe."""
    return report(
        outcome(),
        outcome(gate="spread", verdict=Verdict.FAIL, severity=GateSeverity.WARNING, value=28345.2, finding="above"),
        outcome(gate="ratio", verdict=Verdict.UNJUDGED, limit=None, finding="the baseline has no such number"),
        nan_outcome(gate="blips", verdict=Verdict.PASS, value=0.0, finding="", place=None),
        nan_outcome(),
        outcome(gate="exploded", path="checkpoints/step_200", verdict=Verdict.FAIL, value=Huge(4880.5)),
        allowed=(allowed_event(),),
        baseline="baseline.json",
    )


def warning() -> CheckReport:
    return report(outcome(), nan_outcome(severity=GateSeverity.WARNING))


def unjudged() -> CheckReport:
    return report(
        outcome(), nan_outcome(verdict=Verdict.UNJUDGED, value=None, place=None, finding="7 points are too few")
    )


def unreadable() -> CheckReport:
    """One input that could not be read beside a healthy one; no gate stands for it."""
    return report(outcome(), inputs=(broken_input(), read_input()))


def nothing_checked() -> CheckReport:
    return report()


def nasty() -> CheckReport:
    """Names and findings that try to break out of every format."""
    return report(
        nan_outcome(
            gate=NASTY, path=NASTY, series=NASTY, finding=NASTY, reason=NASTY, place=ValuePlace(text=NASTY, line=7)
        ),
        outcome(gate="x" * 100_003, path="y" * 100_003, verdict=Verdict.FAIL, finding="z" * 100_003),
        inputs=(
            read_input(NASTY, Verdict.FAIL, Family.LOG),
            broken_input(f"{NASTY}2", NASTY),
            read_input("y" * 100_003),
        ),
        allowed=(allowed_event(path=NASTY, series=NASTY, reason=NASTY),),
        policy=NASTY,
        baseline=NASTY,
    )


def allowed_event(**changes: object) -> AllowedEvent:
    event = AllowedEvent(
        path=LOG, series="loss", kind="spike", step=12000.0, line=401, reason="the data of this week are noisy"
    )
    return replace(event, **changes)  # type: ignore[arg-type]


def many(count: int = 5003) -> CheckReport:
    """So many failed gates on one log, after one that passed."""
    return report(
        outcome(),
        *(
            nan_outcome(gate=f"gate-{one}", place=ValuePlace(text=f"step {one}", line=one))
            for one in range(1, count + 1)
        ),
    )


EVERY = (healthy, failing, warning, unjudged, unreadable, nothing_checked, nasty)
"""Every kind of report."""

"""How the outcome of `mhcdiag check` is put into words: one place for all formats, so that none says it otherwise.

Everything returned here is one line of printable text; each format escapes it in its own way.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from mhcdiag.reports.text import in_bytes, printable
from mhcdiag.results.check import AllowedEvent, CheckedInput, CheckReport, GateOutcome, GateSeverity
from mhcdiag.results.evidence import bound_words
from mhcdiag.results.gain import GainResult
from mhcdiag.results.numbers import Number, order, text, text_beside
from mhcdiag.results.spikes import LogResult
from mhcdiag.results.verdict import GainEvidence, Relation, Verdict
from mhcdiag.results.wording import counted, step_text


class Standing(StrEnum):
    """What an outcome means for the whole check, the worst first; the value is its word on the screen."""

    FAILED = "FAIL"
    UNJUDGED = "UNJUDGED"
    WARNED = "warning"
    """It does not pass, and does not count."""
    PASSED = "pass"


@dataclass(frozen=True, kw_only=True, slots=True)
class Tally:
    """How many outcomes there are of each standing."""

    failed: int
    """Gates that failed."""
    unjudged: int
    """Gates that could not be judged."""
    warned: int
    """Gates that do not pass and do not count."""
    passed: int
    """Gates that passed."""
    unreadable: int
    """Inputs that could not be read."""


def standing(outcome: GateOutcome, *, strict: bool) -> Standing:
    """Return what an outcome means for the check; `strict` lets warnings count."""
    if outcome.verdict is Verdict.PASS:
        return Standing.PASSED
    if outcome.severity is GateSeverity.WARNING and not strict:
        return Standing.WARNED
    return Standing.FAILED if outcome.verdict is Verdict.FAIL else Standing.UNJUDGED


def worst_first(report: CheckReport) -> list[GateOutcome]:
    """Return all outcomes: failed, unjudged, warned, passed, and in the report's order among equals."""
    order = list(Standing)
    return sorted(report.outcomes, key=lambda one: order.index(standing(one, strict=report.strict)))


def tally(report: CheckReport) -> Tally:
    """Count the outcomes by standing, and the inputs that could not be read."""
    found = [standing(one, strict=report.strict) for one in report.outcomes]
    return Tally(
        failed=found.count(Standing.FAILED),
        unjudged=found.count(Standing.UNJUDGED),
        warned=found.count(Standing.WARNED),
        passed=found.count(Standing.PASSED),
        unreadable=sum(one.result is None for one in report.inputs),
    )


def tally_text(report: CheckReport) -> str:
    """Return the counts that are not zero: "1 failed, 2 passed, 1 input unreadable"."""
    count = tally(report)
    parts = [
        f"{number} {word}"
        for number, word in (
            (count.failed, "failed"),
            (count.unjudged, "unjudged"),
            (count.warned, "warned"),
            (count.passed, "passed"),
            (count.unreadable, "input unreadable" if count.unreadable == 1 else "inputs unreadable"),
        )
        if number
    ]
    return ", ".join(parts) or "no gate was checked"


SAMPLED = "on sampled inputs only"
"""What a pass says that is neither proved nor measured on real tokens."""


def is_sampled(outcomes: Iterable[GateOutcome]) -> bool:
    """Whether any of these passed on a sample: then all of them together are no plain pass."""
    return any(one.verdict is Verdict.PASS and one.evidence is GainEvidence.SAMPLED for one in outcomes)


def verdict_word(report: CheckReport) -> str:
    """Return the verdict with what it rests on: "FAIL", "PASS", "PASS on sampled inputs only"."""
    plain = report.verdict is not Verdict.PASS or not is_sampled(report.outcomes)
    return report.verdict.upper() if plain else f"{report.verdict.upper()} {SAMPLED}"


def verdict_text(report: CheckReport) -> str:
    """Return the verdict, the counts and the exit code in one line."""
    trial = " (--exit-zero)" if report.exit_code == 0 and report.verdict is not Verdict.PASS else ""
    return f"{verdict_word(report)}: {tally_text(report)}; exit code {report.exit_code}{trial}"


def evidence_text(outcome: GateOutcome) -> str:
    """Return what a number rests on, with its bound: "sampled, bound 8.0e6"; empty where it is none of mappings."""
    if outcome.evidence is None:
        return ""
    return str(outcome.evidence) if outcome.bound is None else f"{outcome.evidence}, {bound_words(outcome.bound)}"


def decision_text(report: CheckReport) -> str:
    """Return what made the verdict what it is: an outcome, an unreadable input, or that nothing was checked."""
    if report.verdict is Verdict.PASS:
        return "no gate that counts failed" + (f", {SAMPLED}" if is_sampled(report.outcomes) else "")
    decided = report.decided_by
    if decided is not None:
        return f"{printable(decided.gate)}: {sentence(decided)}"
    unreadable = next((one for one in report.inputs if one.result is None), None)
    if unreadable is not None:
        return f"{printable(unreadable.path)} could not be read: {printable(unreadable.error) or 'no reason known'}"
    if not report.outcomes:
        return "nothing was checked"
    unjudged = next((one for one in report.inputs if one.verdict is not Verdict.PASS), None)
    return "no single gate" if unjudged is None else f"{printable(unjudged.path)} could not be judged as a whole"


def sentence(outcome: GateOutcome) -> str:
    """Return one outcome in words: what, value against limit, where, and why it does not pass."""
    finding = f": {printable(outcome.finding)}" if outcome.finding else ""
    if outcome.value is None and outcome.limit is None and outcome.finding:
        return f"{place_text(outcome)}{finding}"  # nothing was measured and held against nothing
    evidence = f" ({evidence_text(outcome)})" if outcome.evidence is not None else ""
    return f"{metric_text(outcome)} {measured_text(outcome)}{evidence}, {place_text(outcome)}{finding}"


def metric_text(outcome: GateOutcome) -> str:
    """Return what was measured: the metric, and its series for a log."""
    words = {None: "", "*": " of every series"}.get(outcome.series, f" of {printable(outcome.series or '')}")
    return f"{printable(outcome.metric)}{words}"


def place_text(outcome: GateOutcome) -> str:
    """Return the input, with the line and the site or step where they are known."""
    path, place = printable(outcome.path), outcome.place
    if place is None:
        return path
    line = "" if place.line is None else f":{place.line}"
    return f"{path}{line} ({printable(place.text)})" if place.text else f"{path}{line}"


def measured_text(outcome: GateOutcome) -> str:
    """Return value against limit: "28345 > 1000", "nan, not <= 1000", "missing, limit <= 1000"."""
    compared = _compared(outcome.value, outcome.relation, outcome.limit)
    return f"{compared} (baseline {number_text(outcome.baseline)})" if outcome.baseline is not None else compared


def allowed_text(event: AllowedEvent) -> str:
    """Return an event that the policy leaves out: "spike of loss at step 12,000, a.jsonl:401, allowed: why"."""
    where = f"at step {step_text(event.step)}, {printable(event.path)}:{event.line}"
    return f"{printable(event.kind)} of {printable(event.series)} {where}, allowed: {printable(event.reason)}"


def number_text(number: Number | None) -> str:
    """Return a number for people: whole ones below a million as such, else four significant digits.

    >>> number_text(3.0), number_text(264.61), number_text(None), number_text(Huge(4880.5))
    ('3', '264.6', 'missing', '3.162e4880')
    """
    return "missing" if number is None else _shown(number, 4)


def texts_beside(number: Number, limit: float) -> tuple[str, str]:
    """Return number and limit with as many digits as it takes to see which is larger, whole ones without decimals.

    >>> texts_beside(1000.00001, 1000.0), texts_beside(0.12346, 0.12345), texts_beside(2.0, 2.0)
    (('1000.00001', '1000'), ('0.12346', '0.12345'), ('2', '2'))
    """
    return text_beside(number, limit, shown=_shown)


def _compared(value: Number | None, relation: Relation, limit: float | None) -> str:
    if limit is None:
        return f"{number_text(value)}, {_limit(relation, limit)}"
    if value is None:
        return f"missing, limit {_limit(relation, limit)}"
    shown, shown_limit = texts_beside(value, limit)
    held = order(value, limit)
    if held is None:
        return f"{shown}, not {relation} {shown_limit}"
    holds = held <= 0 if relation is Relation.AT_MOST else held >= 0
    opposite = ">" if relation is Relation.AT_MOST else "<"
    return f"{shown} {relation if holds else opposite} {shown_limit}"


def _limit(relation: Relation, limit: float | None) -> str:
    return "no limit: the baseline's number is missing" if limit is None else f"{relation} {_shown(limit, 4)}"


def _shown(number: Number, digits: int) -> str:
    if isinstance(number, float | int) and math.isfinite(number) and number == int(number) and abs(number) < 1e6:
        return str(int(number))
    return text(number, digits=digits)


def shortened(words: str, most: int) -> str:
    """Return at most so many characters: the middle gives way, because names differ at their ends.

    >>> shortened("checkpoints/step_100", 9)
    'che...100'
    """
    if len(words) <= most:
        return words
    tail = (most - 3) // 2
    return f"{words[: most - 3 - tail]}...{words[len(words) - tail :]}"


def input_facts(one: CheckedInput) -> str:
    """Return in one line what an input was read as, or why it could not be read."""
    if one.result is None:
        return f"could not be read: {printable(one.error) or 'no reason known'}"
    return printable(_gain_facts(one.result) if isinstance(one.result, GainResult) else _log_facts(one.result))


def input_remarks(one: CheckedInput) -> tuple[str, ...]:
    """Return what was assumed, skipped, found broken or is worth knowing about an input: one line each."""
    if one.result is None:
        return ()
    remarks = _gain_remarks(one.result) if isinstance(one.result, GainResult) else _log_remarks(one.result)
    return tuple(printable(remark) for remark in remarks)


def _gain_facts(result: GainResult) -> str:
    model = f" ({result.model})" if result.model and result.model != result.layout else ""
    tokens = "" if result.inputs == "static" else f": {result.tokens:,} tokens"
    tie = f" of {result.tied_to}" if result.tied_to else ""
    return (
        f"{result.layout}{model}, {counted(len(result.sites), 'site')}, {counted(result.streams, 'stream')}; "
        f"inputs {result.inputs}{tokens}{tie}; {result.dtype} on {result.device}; "
        f"read {in_bytes(result.bytes_read)} of {in_bytes(result.bytes_total)}"
    )


def _gain_remarks(result: GainResult) -> list[str]:
    return [
        *(f"broken: site {each.site}: {each.found}" for each in result.nonfinite),
        *(f"skipped: {each.what}: {each.reason}" for each in result.skipped),
        *(f"assumed: {what}" for what in result.assumed),
        *(f"note: {note}" for note in result.notes),
    ]


def _log_facts(result: LogResult) -> str:
    facts = [f"{result.format}, {counted(result.lines, 'line')}, {counted(len(result.runs), 'run')}"]
    if result.runs:
        first, last = min(run.first_step for run in result.runs), max(run.last_step for run in result.runs)
        facts.append(f"steps {step_text(first)} to {step_text(last)}")
    facts += [f"{name}: {counted(series.points, 'point')}" for name, series in result.series.items()]
    return "; ".join([*facts, f"rule {result.rule}"])


def _log_remarks(result: LogResult) -> list[str]:
    unreadable = f"unreadable: {result.unreadable_lines:,} of {counted(result.loss_lines, 'line')} with a loss"
    return [*([unreadable] if result.unreadable_lines else []), *(f"note: {note}" for note in result.notes)]

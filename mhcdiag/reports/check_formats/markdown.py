"""The outcome of `mhcdiag check` as Markdown, for job summaries, pull requests and wikis."""

import re
from collections.abc import Iterable, Sequence

from mhcdiag.reports.check_formats.interface import ReportFormat
from mhcdiag.reports.check_words import (
    Standing,
    decision_text,
    evidence_text,
    input_facts,
    input_remarks,
    measured_text,
    metric_text,
    place_text,
    shortened,
    standing,
    tally_text,
    verdict_word,
    worst_first,
)
from mhcdiag.reports.text import printable
from mhcdiag.results.check import AllowedEvent, CheckedInput, CheckReport, GateOutcome
from mhcdiag.results.verdict import Verdict
from mhcdiag.results.wording import step_text

MOST_CHARACTERS = 1000
"""Of one name or clause; longer ones lose their middle, so that no cell makes the table unreadable."""

# An underscore inside a word is no emphasis in GitHub's and GitLab's Markdown, and `step_100` reads better without a
# backslash. `~` and `$` are theirs alone: struck out text and formulas.
SPECIAL = re.compile(r"[\\`*\[\]|~$!#]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


def check_markdown(report: CheckReport) -> str:
    """Return the report: the verdict, what decided it, gates (failed ones first), inputs, and where all comes from."""
    parts = [
        f"# mhcdiag check: {verdict_word(report)}",
        _decision(report),
        f"{tally_text(report)}; exit code {report.exit_code}",
        *_gates(report),
        *_inputs(report.inputs),
        *_allowed(report.allowed),
        *_provenance(report),
    ]
    return "\n\n".join(parts) + "\n"


MARKDOWN = ReportFormat(name="markdown", suffixes=(".md",), about="merge requests, wikis", render=check_markdown)


def escaped(text: str) -> str:
    r"""Return text that Markdown shows as it stands: no table cell, code, emphasis, link or HTML can begin in it.

    >>> escaped("step_100 | <b> `x`")
    'step_100 \\| &lt;b&gt; \\`x\\`'
    """
    plain = shortened(printable(text), MOST_CHARACTERS)
    return "".join(ENTITIES.get(c, c) for c in SPECIAL.sub(lambda found: "\\" + found.group(), plain))


def _decision(report: CheckReport) -> str:
    if report.verdict is Verdict.PASS:
        return f"**{decision_text(report).capitalize()}.**"
    return f"**Decided by** {escaped(decision_text(report))}"


def _gates(report: CheckReport) -> list[str]:
    if not report.outcomes:
        return ["## Gates", "No gate was checked."]
    rows = [_gate(one, standing(one, strict=report.strict)) for one in worst_first(report)]
    return [
        "## Gates",
        _table(("verdict", "gate", "metric", "value and limit", "evidence", "where", "finding", "reason"), rows),
    ]


def _gate(one: GateOutcome, found: Standing) -> list[str]:
    word = f"**{found}**" if found in (Standing.FAILED, Standing.UNJUDGED) else str(found)
    measured = (metric_text(one), measured_text(one), evidence_text(one))
    cells = (one.gate, *measured, place_text(one), one.finding, one.reason)
    return [word, *map(escaped, cells)]


def _inputs(inputs: Sequence[CheckedInput]) -> list[str]:
    if not inputs:
        return ["## Inputs", "There were none."]
    rows = [
        [escaped(one.path), str(one.family), str(one.verdict), escaped(input_facts(one)), escaped(one.sha256)]
        for one in inputs
    ]
    remarks = [f"- {escaped(one.path)}: {escaped(remark)}" for one in inputs for remark in input_remarks(one)]
    table = _table(("input", "kind", "verdict", "read as", "SHA-256"), rows)
    return ["## Inputs", table, *(["\n".join(remarks)] if remarks else [])]


def _allowed(allowed: Sequence[AllowedEvent]) -> list[str]:
    if not allowed:
        return []
    rows = [
        [escaped(one.path), f"{one.line:,}", step_text(one.step), *map(escaped, (one.series, one.kind, one.reason))]
        for one in allowed
    ]
    table = _table(("log", "line", "step", "series", "event", "reason"), rows)
    return ["## Allowed events", "The policy leaves these out of all counts.", table]


def _provenance(report: CheckReport) -> list[str]:
    facts = {
        "mhcdiag": report.version,
        "policy": report.policy,
        "baseline": report.baseline or "none",
        "strict": "yes" if report.strict else "no",
        "created": report.created,
    }
    return ["## Provenance", "\n".join(f"- {name}: {escaped(fact)}" for name, fact in facts.items())]


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)

"""What a check says about each of its inputs: what it was read as, and what its reader must know."""

from mhcdiag.reports.escaping import printable
from mhcdiag.reports.sizes import in_bytes
from mhcdiag.reports.spikes_words import step_text
from mhcdiag.results.check import CheckedInput
from mhcdiag.results.gain import GainResult
from mhcdiag.results.spikes import LogResult


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
    return (
        f"{result.layout}{model}, {_counted(len(result.sites), 'site')}, {_counted(result.streams, 'stream')}; "
        f"inputs {result.inputs}{tokens}; {result.dtype} on {result.device}; "
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
    facts = [f"{result.format}, {_counted(result.lines, 'line')}, {_counted(len(result.runs), 'run')}"]
    if result.runs:
        first, last = min(run.first_step for run in result.runs), max(run.last_step for run in result.runs)
        facts.append(f"steps {step_text(first)} to {step_text(last)}")
    facts += [f"{name}: {_counted(series.points, 'point')}" for name, series in result.series.items()]
    return "; ".join([*facts, f"rule {result.rule}"])


def _log_remarks(result: LogResult) -> list[str]:
    unreadable = f"unreadable: {result.unreadable_lines:,} of {_counted(result.loss_lines, 'line')} with a loss"
    return [*([unreadable] if result.unreadable_lines else []), *(f"note: {note}" for note in result.notes)]


def _counted(number: int, word: str) -> str:
    return f"{number:,} {word}" if number == 1 else f"{number:,} {word}s"

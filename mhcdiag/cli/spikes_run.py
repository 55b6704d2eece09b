"""One command over all its logs."""

from collections.abc import Sequence
from dataclasses import dataclass

from mhcdiag.cli.output import or_unreadable
from mhcdiag.cli.spikes_output import log_paths
from mhcdiag.detectors.advice import advice
from mhcdiag.errors import SettingError
from mhcdiag.policies.verdicts import SpikeGate, judge, mostly_unreadable
from mhcdiag.ranks import Alone, Ranks, deal
from mhcdiag.results.judged import Unreadable
from mhcdiag.results.spikes import JudgedLog, SpikesReport
from mhcdiag.results.verdict import EXIT_CODES, Verdict, combine
from mhcdiag.usecases.spikes import LogOptions, compare, spikes


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """What the command line asks for."""

    logs: tuple[str, ...]
    """Files, folders, or `-`."""
    options: LogOptions
    """How to read and judge them."""
    gate: SpikeGate
    """Limits."""
    against: str | None = None
    """Log to compare with."""
    advice: bool = False
    """Whether to advise on events that did not recover."""


def run_spikes(request: Request, ranks: Ranks | None = None) -> SpikesReport:
    """Judge all logs, dealt out to the ranks. Raises: SettingError, LogError when there is nothing to compare."""
    if request.against is not None and len(request.logs) != 1:
        raise SettingError("--against compares one log with another: name one LOG")
    request.options.published_rule()

    def judged_of(paths: Sequence[str | Unreadable]) -> list[JudgedLog | Unreadable]:
        return [
            path
            if isinstance(path, Unreadable)
            else or_unreadable(path, lambda path: judge(spikes(path, request.options), request.gate))
            for path in paths
        ]

    return make_report(request, deal(log_paths(request.logs), judged_of, ranks or Alone()))


def make_report(request: Request, logs: list[JudgedLog | Unreadable]) -> SpikesReport:
    """Return the report of the command, with advice and comparison where asked for."""
    judged = [log for log in logs if isinstance(log, JudgedLog)]
    comparison = None
    if request.against is not None and judged:
        comparison = compare(request.logs[0], request.against, request.options)
    return SpikesReport(
        verdict=combine(log.verdict for log in logs),
        logs=tuple(logs),
        advice=tuple(one for log in judged for one in advice(log.result)) if request.advice else (),
        comparison=comparison,
    )


def exit_code(report: SpikesReport, *, followed: bool) -> int:
    """Return the exit code: a log that was followed and tripped nothing ends with 0, if it could be read."""
    readable = all(
        isinstance(log, JudgedLog) and log.result.runs and not mostly_unreadable(log.result) for log in report.logs
    )
    if followed and report.verdict is Verdict.UNJUDGED and readable:
        return 0
    return EXIT_CODES[report.verdict]

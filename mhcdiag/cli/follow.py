"""`mhcdiag spikes --follow`: one line per event of a log that grows, and a command at the first failed gate."""

import json
import signal
import subprocess
import sys
from contextlib import suppress

from mhcdiag.cli.main import environment_of_others
from mhcdiag.cli.output import complain
from mhcdiag.errors import SettingError
from mhcdiag.policies.verdicts import SpikeGate, tripping_event
from mhcdiag.reports.spikes_words import event_line
from mhcdiag.reports.text import printable
from mhcdiag.results.documents.spikes import event_document
from mhcdiag.results.judged import Unreadable
from mhcdiag.results.spikes import JudgedLog, SpikesReport
from mhcdiag.results.verdict import Verdict
from mhcdiag.usecases.follow import watch
from mhcdiag.usecases.live_log import Change
from mhcdiag.usecases.spikes import SpikesRequest, report_on


def follow_log(request: SpikesRequest, *, on_fail: str | None, idle_timeout: float | None, quiet: bool) -> SpikesReport:
    """Follow one log until a gate fails, it stands still, or the process is told to end.

    Parameters
    ----------
    request
        With one log.
    on_fail
        Command for the shell.
    idle_timeout
        Seconds without a new byte after which it ends; None: never.
    quiet
        Print no lines for events.

    Raises
    ------
    SettingError
        The request has not one log, or its options cannot be used.
    LogError
        The log cannot be followed.
    """
    if len(request.logs) != 1:
        raise SettingError("--follow reads one log: name one LOG")
    stopped = _until_terminated()

    def show(change: Change) -> None:
        if not quiet:
            print(printable(event_line(change.series, change.event, opened=change.opened)), flush=True)  # noqa: T201

    judged = watch(
        request.logs[0],
        request.options,
        request.gate,
        on_change=show,
        idle_timeout=idle_timeout,
        stopped=lambda: bool(stopped),
    )
    if isinstance(judged, Unreadable):
        complain(judged.reason)
    elif judged.verdict is Verdict.FAIL and on_fail is not None:
        _run_command(on_fail, judged, request.gate)
    return report_on(request, [judged])


def _run_command(command: str, judged: JudgedLog, gate: SpikeGate) -> None:
    """Run the command as typed; text of the log reaches it only through its environment."""
    announced: dict[str, object] = {"path": judged.result.path, "reason": judged.reason}
    tripped = tripping_event(judged.result, gate)
    if tripped is not None:
        series, event = tripped
        announced |= {"series": series, **event_document(event)}
    environment = {**environment_of_others(), "MHCDIAG_EVENT": json.dumps(announced, allow_nan=False)}
    sys.stdout.flush()
    done = subprocess.run(command, shell=True, env=environment, check=False)
    if done.returncode:
        complain(f"--on-fail: the command ended with {done.returncode}")


def _until_terminated() -> list[int]:
    """Collect SIGTERM in a list instead of dying, so that the summary is still printed.

    For the rest of the process: when training has been ended by --on-fail, a job's script ends this process too, and
    must still get the exit code of the gate.
    """
    received: list[int] = []
    with suppress(ValueError):  # not the main thread: signals are somebody else's
        signal.signal(signal.SIGTERM, lambda number, _frame: received.append(number))
    return received

"""`mhcdiag spikes --follow`: a log that grows, one line per event, and an end at the first failed gate."""

import json
import signal
import subprocess
import sys
from contextlib import suppress

from mhcdiag.cli.main import environment_of_others
from mhcdiag.cli.output import complain
from mhcdiag.cli.spikes_output import Request, make_report
from mhcdiag.errors import LogError, SettingError
from mhcdiag.policies.verdicts import SpikeGate, judge, tripping_event
from mhcdiag.reports.spikes_words import event_line
from mhcdiag.reports.text import printable
from mhcdiag.results.documents.spikes import event_document
from mhcdiag.results.judged import Unreadable
from mhcdiag.results.spikes import JudgedLog, SpikesReport
from mhcdiag.results.verdict import Verdict
from mhcdiag.usecases.follow import Change, LiveLog, tail


def follow_log(request: Request, *, on_fail: str | None, idle_timeout: float | None, quiet: bool) -> SpikesReport:
    """Follow one log until a gate fails, it stands still, or the process is told to end.

    Arguments: request: with one log; on_fail: command for the shell; idle_timeout: seconds; quiet: print no
    lines for events. Raises: SettingError.
    """
    if len(request.logs) != 1:
        raise SettingError("--follow reads one log: name one LOG")
    path = request.logs[0]
    live = LiveLog(path, request.options)
    stopped = _until_terminated()
    for block in tail(path, idle_timeout=idle_timeout, stopped=lambda: bool(stopped)):
        if block and _tell(live, live.feed(block), request, on_fail=on_fail, quiet=quiet):
            return make_report(request, [judge(live.result(), request.gate)])
    try:
        _tell(live, live.close(), request, on_fail=on_fail, quiet=quiet)
    except LogError as error:
        complain(str(error))
        return make_report(request, [Unreadable(path=path, reason=str(error))])
    return make_report(request, [judge(live.result(), request.gate)])


def _tell(live: LiveLog, changes: list[Change], request: Request, *, on_fail: str | None, quiet: bool) -> bool:
    """Print the changes; run the command and return True when a gate has failed."""
    for change in changes:
        if not quiet:
            print(printable(event_line(change.series, change.event, opened=change.opened)), flush=True)  # noqa: T201
    # A spike score grows without any event, so that the gate is asked about every block.
    judged = judge(live.result(), request.gate)
    if judged.verdict is not Verdict.FAIL:
        return False
    if on_fail is not None:
        _run_command(on_fail, judged, request.gate)
    return True


def _run_command(command: str, judged: JudgedLog, gate: SpikeGate) -> None:
    """Run the command as typed; text of the log reaches it only through its environment."""
    told: dict[str, object] = {"path": judged.result.path, "reason": judged.reason}
    tripped = tripping_event(judged.result, gate)
    if tripped is not None:
        series, event = tripped
        told |= {"series": series, **event_document(event)}
    environment = {**environment_of_others(), "MHCDIAG_EVENT": json.dumps(told, allow_nan=False)}
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

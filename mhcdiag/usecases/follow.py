"""A training log followed while it is written: `mhcdiag.follow`, and the loop of `mhcdiag spikes --follow`."""

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Self

from mhcdiag.errors import LogError
from mhcdiag.policies.verdicts import SpikeGate, judge
from mhcdiag.results.judged import Unreadable
from mhcdiag.results.spikes import JudgedLog, LogResult
from mhcdiag.results.verdict import Verdict
from mhcdiag.usecases.live_log import Change, LiveLog
from mhcdiag.usecases.options import OURS, LogOptions, refuse_less


def _never() -> bool:
    return False


def follow(
    path: str | os.PathLike[str],
    *,
    log_format: str | None = None,
    loss_key: str | None = None,
    step_key: str | None = None,
    regex: str | None = None,
    series: Sequence[str] = (),
    steps: tuple[float, float] | None = None,
    rule: str = OURS,
    z: float | None = None,
    min_rise: float | None = None,
    window: int | None = None,
    warmup: int | None = None,
    idle_timeout: float | None = None,
    stopped: Callable[[], bool] = _never,
) -> "Following":
    """Follow one log while it grows: each change is an event that has just opened or closed.

    After `log = mhcdiag.follow("train.jsonl")`, `for change in log` waits for changes, and `log.result` is at any time
    what `mhcdiag.spikes` finds in what was read so far.

    Parameters
    ----------
    path
        The log, which need not be there yet, or `-` for standard input.
    log_format, loss_key, step_key, regex, series, steps, rule, z, min_rise, window, warmup
        As for `mhcdiag.spikes`.
    idle_timeout
        Seconds without a new byte after which it ends; None: never.
    stopped
        Asked some times a second whether to end.

    Raises
    ------
    mhcdiag.MhcdiagError
        The log cannot be read or followed, or an option cannot be used.
    """
    options = LogOptions(
        log_format=log_format,
        loss_key=loss_key,
        step_key=step_key,
        regex=regex,
        series=tuple(series),
        steps=steps,
        rule=rule,
        z=z,
        min_rise=min_rise,
        window=window,
        warmup=warmup,
    )
    refuse_less(0, idle_timeout=idle_timeout)
    return Following(os.fspath(path), options, idle_timeout=idle_timeout, stopped=stopped)


class Following(Iterator[Change]):
    """The changes of a growing log, one by one, as they happen."""

    def __init__(
        self, path: str, options: LogOptions, *, idle_timeout: float | None, stopped: Callable[[], bool]
    ) -> None:
        self._log = LiveLog(path, options)
        self._changes = self._followed(tail(path, idle_timeout=idle_timeout, stopped=stopped))

    def _followed(self, blocks: Iterator[bytes]) -> Iterator[Change]:
        for block in blocks:
            if block:
                yield from self._log.feed(block)
        yield from self._log.close()

    def __iter__(self) -> Self:
        """Return itself: a log is followed once."""
        return self

    def __next__(self) -> Change:
        """Wait for the next change."""
        return next(self._changes)

    @property
    def result(self) -> LogResult:
        """The result of what was read so far; of the whole log when there are no more changes."""
        return self._log.result()


def watch(
    path: str,
    options: LogOptions,
    gate: SpikeGate,
    *,
    on_change: Callable[[Change], None],
    idle_timeout: float | None = None,
    stopped: Callable[[], bool] = _never,
) -> JudgedLog | Unreadable:
    """Follow one log until a gate fails, it stands still, or it is told to stop.

    Parameters
    ----------
    path
        The log, or `-` for standard input.
    options
        How to read and judge it.
    gate
        Limits.
    on_change
        Called with each event that opens or closes, before the gate is asked.
    idle_timeout
        Seconds without a new byte after which it ends; None: never.
    stopped
        Asked some times a second whether to end.

    Raises
    ------
    SettingError
        The options name what there is not.
    LogError
        The file cannot be read while it grows, or its format cannot be followed.
    """
    log = LiveLog(path, options)
    for block in tail(path, idle_timeout=idle_timeout, stopped=stopped):
        if not block:
            continue
        for change in log.feed(block):
            on_change(change)
        # A spike score grows without any event, so that the gate is asked about every block.
        judged = judge(log.result(), gate)
        if judged.verdict is Verdict.FAIL:
            return judged
    try:
        last = log.close()
    except LogError as error:
        return Unreadable(path=path, reason=str(error))
    for change in last:
        on_change(change)
    return judge(log.result(), gate)


BLOCK = 1 << 18
"""Bytes that are read at once."""
POLL = 0.2
"""Seconds between two looks at a file that stands still."""


def tail(
    path: str,
    *,
    idle_timeout: float | None = None,
    stopped: Callable[[], bool] = _never,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[bytes]:
    """Yield the bytes of a file as they are written, `b""` while there are none.

    A file that is not there yet is waited for: a job's log appears when the job starts. One that shrinks or is replaced
    (a rotated log, a job that started again) is read from its start; a line that was half written is ended before, so
    that no line is made of two.

    Parameters
    ----------
    path
        The file, `-` for standard input.
    idle_timeout
        Seconds without new bytes after which to end; None: never.
    stopped
        Asked between two blocks whether to end.
    clock, sleep
        Of the machine.

    Raises
    ------
    LogError
        The file cannot be read.
    """
    source = _Source(path)
    last = clock()
    try:
        while not stopped():
            block = source.read()
            if block is None:
                return
            if block:
                last = clock()
            elif idle_timeout is not None and clock() - last >= idle_timeout:
                return
            yield block
            if not block:
                sleep(min(POLL, idle_timeout or POLL))
    finally:
        source.close()


class _Source:
    """The file under its name, reopened when another one stands there."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._file: BinaryIO | None = sys.stdin.buffer if path == "-" else None

    def read(self) -> bytes | None:
        """Return the next bytes; empty when there are none yet, None when there will be no more."""
        try:
            return self._read()
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise LogError(self._path, found=reason, expected="a file that can be read while it grows") from error

    def _read(self) -> bytes | None:
        if self._path == "-":
            assert self._file is not None
            # Not `read`, which waits until BLOCK bytes have come: hours of a log in a pipe.
            return os.read(self._file.fileno(), BLOCK) or None
        if self._file is None and not self._open():
            return b""
        assert self._file is not None
        block = self._file.read(BLOCK)
        if block or not self._replaced():
            return block
        self.close()
        return b"\n"  # ends a line that the old file left half written

    def close(self) -> None:
        """Close the file, but not standard input."""
        if self._file is not None and self._path != "-":
            self._file.close()
            self._file = None

    def _open(self) -> bool:
        try:
            self._file = Path(self._path).open("rb")  # noqa: SIM115 - closed by close()
        except FileNotFoundError:
            return False
        return True

    def _replaced(self) -> bool:
        assert self._file is not None
        try:
            now = os.stat(self._path)
        except FileNotFoundError:
            return False  # moved away: the next one will come under the same name
        mine = os.fstat(self._file.fileno())
        other = (now.st_dev, now.st_ino) != (mine.st_dev, mine.st_ino)
        return other or now.st_size < self._file.tell()

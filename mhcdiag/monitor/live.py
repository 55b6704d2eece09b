"""`Monitor`: composite gains while a model trains."""

import os
import time
from collections.abc import Callable, Sequence
from typing import Any, Self

from torch import Tensor, distributed, nn

from mhcdiag.errors import SettingError
from mhcdiag.livepasses.stacks import LiveStack
from mhcdiag.monitor.alarm import Alarm, AlarmAction, logger
from mhcdiag.monitor.catching import MapCatcher
from mhcdiag.monitor.reducing import agreed_stacks, is_distributed, live_gains
from mhcdiag.monitor.sinks import JsonLines, Sink, TensorBoard, WeightsAndBiases
from mhcdiag.results.gain import LiveGains


class Monitor:
    """Measures the composite gain of a model in training, every so many steps.

    It never changes the run: hooks read what a forward pass computed, draw no random number, and register neither
    parameter nor buffer; one that fails is taken away with one warning, and never ends the run. Nothing waits for the
    device but a report.

    Every call of every site counts, in the order in which they ran: a module that runs three times counts three times.
    Stacks that do not share their streams, such as an encoder and a decoder, are told apart by the streams that pass
    from block to block, or by names, and each has gains of its own.

    ::

        with Monitor(model, every=10, jsonl="gains.jsonl", max_gain=1000) as monitor:
            for batch in batches:
                train_on(batch)
                monitor.step()

    Parameters
    ----------
    model
        The model; modules that mix streams are found by what they hold. None where `observe` is called instead.
    every
        Steps between two reports; the first step is reported.
    tokens
        Most tokens per rank and report, spread over batch and positions of the first forward pass of the step.
    stacks
        Beginnings of sites' paths, such as ("encoder", "decoder"): the sites under each are one stack, whatever was
        found out otherwise.
    jsonl
        File to which reports are appended, one line each, by rank 0.
    tensorboard, wandb
        A `SummaryWriter`, a run of Weights & Biases.
    steps_done
        Steps that were done before, where a run is resumed: reports count on from there.
    max_gain, max_growth
        Limits: the largest token mean of any single, prefix or suffix product, and its factor between two reports.
    on_alarm
        `log`, `stop` (`step` raises), or a function of the report and the reason.

    Raises
    ------
    mhcdiag.MhcdiagError
        The model holds no module whose mappings are known, an option means nothing, or the file cannot be written.
    """

    def __init__(
        self,
        model: nn.Module | None = None,
        *,
        every: int = 10,
        tokens: int = 256,
        stacks: Sequence[str] = (),
        jsonl: str | os.PathLike[str] | None = None,
        tensorboard: Any = None,
        wandb: Any = None,
        steps_done: int = 0,
        max_gain: float | None = None,
        max_growth: float | None = None,
        on_alarm: str | Callable[[LiveGains, str], None] = AlarmAction.LOG,
    ) -> None:
        if every < 1 or tokens < 1 or steps_done < 0:
            raise SettingError(f"every={every}, tokens={tokens}, steps_done={steps_done}: expected at least 1, 1 and 0")
        _refuse_limits(max_gain=max_gain, max_growth=max_growth)
        self._every = every
        self._catcher = MapCatcher(model, tokens, (stacks,) if isinstance(stacks, str) else stacks)
        self._alarm = Alarm(max_gain=max_gain, max_growth=max_growth, action=_action(on_alarm))
        self._sinks: list[Sink] = []
        self._sinks += [] if jsonl is None or (is_distributed() and distributed.get_rank()) else [JsonLines(jsonl)]
        self._sinks += [] if tensorboard is None else [TensorBoard(tensorboard)]
        self._sinks += [] if wandb is None else [WeightsAndBiases(wandb)]
        self._started_at = self._step = steps_done
        self.last: LiveGains | None = None
        """The newest report."""
        self.seconds = 0.0
        """Time spent in hooks and reports so far; a report waits for what the device still has to do."""

    def __enter__(self) -> Self:
        """Hook the model; the first step will be reported."""
        self._catcher.watch()
        self._catcher.arm()
        return self

    def __exit__(self, *_error: object) -> None:
        """Remove all hooks."""
        self._catcher.release()
        self._catcher.unwatch()

    def observe(self, site: str, maps: Tensor, *, stack: str = "") -> None:
        """Hand over H_res of one site, where no hook can: [..., n, n] in the convention x_new = H x.

        Sites of one stack are composed in the order in which they are handed over. Costs nothing at steps that are not
        reported.

        Parameters
        ----------
        site
            Name of the site. Where all sites come again in the same order within one step, those are further
            micro-batches, and the first counts.
        maps
            H_res of every token.
        stack
            Name of the streams that it mixes, where the model has several kinds.

        Raises
        ------
        mhcdiag.MhcdiagError
            `maps` are no square matrices of real numbers.
        """
        self._catcher.observe(site, maps, stack)

    def step(self) -> LiveGains | None:
        """Say that one training step is over; gives the report where one was due.

        Raises
        ------
        mhcdiag.errors.GainAlarmError
            A limit was crossed, and `on_alarm` is `stop`.
        """
        self._step += 1
        found = self._report() if self._catcher.armed else None
        if (self._step - self._started_at) % self._every == 0:
            self._catcher.arm()
        return found

    def _report(self) -> LiveGains | None:
        started = time.perf_counter()
        stacks = agreed_stacks(self._catcher.release(), step=self._step)
        if not stacks:
            return None
        found = self._gains_of(stacks)
        if found is None:
            return None
        before, self.last = self.last, found
        self.seconds += time.perf_counter() - started + self._catcher.seconds
        self._catcher.reset_seconds()
        if not (is_distributed() and distributed.get_rank()):
            self._write(found)
        reason = self._alarm.reason(found, before)
        if reason is not None:
            self._alarm.raise_alarm(found, reason)
        return found

    def _gains_of(self, stacks: tuple[LiveStack, ...]) -> LiveGains | None:
        unread = tuple(self._catcher.unread)
        if is_distributed():  # the other ranks wait for this one's part
            return live_gains(stacks, step=self._step, unread=unread)
        try:
            return live_gains(stacks, step=self._step, unread=unread)
        except Exception as error:  # noqa: BLE001 - whatever tensors hooks may see, a report must not end the training
            logger.warning("step %d: no report of gains: %s: %s", self._step, type(error).__name__, error)
            return None

    def _write(self, found: LiveGains) -> None:
        for sink in self._sinks:
            try:
                sink.write(found)
            except Exception as error:  # noqa: BLE001 - a full disk or a tracker's server must not end the training
                logger.warning("step %d: report not written: %s", self._step, error)


def _refuse_limits(**limits: float | None) -> None:
    for name, limit in limits.items():
        if limit is not None and not (isinstance(limit, int | float) and limit > 0):
            raise SettingError(f"{name}={limit!r}: expected a number above 0")


def _action(wanted: str | Callable[[LiveGains, str], None]) -> AlarmAction | Callable[[LiveGains, str], None]:
    if callable(wanted):
        return wanted
    try:
        return AlarmAction(wanted)
    except ValueError as error:
        raise SettingError(f"on_alarm={wanted!r}: expected log, stop or a function") from error

"""`Monitor` inside the Trainer of Lightning.

A file of its own, as `hf_trainer` is: importing it imports lightning, and nothing else of this package needs that.
"""

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from mhcdiag.errors import GainAlarmError
from mhcdiag.monitor.alarm import logger
from mhcdiag.monitor.live import Monitor


class GainCallback(Callback):  # type: ignore[misc]  # may not be installed where types are checked
    """Measures gains while Lightning trains; `on_alarm="stop"` ends the training in good order.

    Parameters
    ----------
    options
        As for `Monitor`; the model is the trainer's.
    """

    def __init__(self, **options: Any) -> None:
        self._options = options
        self._steps = 0
        self.monitor: Monitor | None = None
        """The monitor of the current run."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Hook the model; a resumed run counts on."""
        self._steps = trainer.global_step
        self.monitor = Monitor(pl_module, steps_done=self._steps, **self._options).__enter__()

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """Count one step where the optimizer took one: not at every batch where gradients are accumulated."""
        assert self.monitor is not None
        # Lightning calls this for every micro-batch.
        if trainer.global_step == self._steps:
            return
        self._steps = trainer.global_step
        try:
            self.monitor.step()
        except GainAlarmError as error:
            logger.error("%s; training stops", error)
            trainer.should_stop = True

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Remove the hooks."""
        self.on_train_end(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Remove the hooks."""
        if self.monitor is not None:
            self.monitor.__exit__()

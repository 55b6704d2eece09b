"""`Monitor` inside the Trainer of transformers.

A file of its own, as `lightning` is: importing it imports transformers, and nothing else of this package needs that.
"""

from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from mhcdiag.errors import GainAlarmError
from mhcdiag.monitor.alarm import logger
from mhcdiag.monitor.live import Monitor


class GainCallback(TrainerCallback):
    """Measures gains while a Trainer trains; `on_alarm="stop"` ends the training in good order.

    Parameters
    ----------
    options
        As for `Monitor`; the model is the Trainer's.
    """

    def __init__(self, **options: Any) -> None:
        self._options = options
        self.monitor: Monitor | None = None
        """The monitor of the current run."""

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, model: Any = None, **_: Any
    ) -> None:
        """Hook the model; a resumed run counts on."""
        if self.monitor is not None:  # of a run that ended in an error
            self.monitor.__exit__()
        self.monitor = Monitor(model, steps_done=state.global_step, **self._options).__enter__()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Count one optimizer step."""
        assert self.monitor is not None
        try:
            self.monitor.step()
        except GainAlarmError as error:
            # The exception itself would end the script; this way the Trainer ends the training in good order.
            logger.error("%s; training stops", error)
            control.should_training_stop = True

    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Remove the hooks."""
        if self.monitor is not None:
            self.monitor.__exit__()

"""Which NaN a run produced, and which value the log only left out: NaN seldom stands there as "nan"."""

import math
from dataclasses import dataclass

from mhcdiag.runlogs.interface import NanFamily

_NOT_METRICS = frozenset({"epoch", "step", "time"})
_TINY = 0.01
"""A loss below it may reach 0.0 by itself: whisper fine-tunes go down to 1e-4 and are well."""


@dataclass(frozen=True, kw_only=True, slots=True)
class JudgedRecord:
    """A record after the rules: what was recorded, and which of it is an event."""

    values: dict[str, float]
    """Series by name; what was not recorded is left out."""
    nan: frozenset[str]
    """Series that are NaN or infinite because the run made them so."""


class NanRules:
    """The rules of one pass; every record goes through `judge` in the order of the log.

    Parameters
    ----------
    family
        Habits of the format. `golden`: Megatron's golden values write "nan" for "not recorded". `megatron`: the loss is
        left out when it is NaN (`if avg >= 0.0` in training.py, d98e8a64). `huggingface`: a NaN loss is printed as 0.0
        (the Trainer's logging_nan_inf_filter).
    """

    def __init__(self, family: NanFamily) -> None:
        self.family = family
        self.empty = 0
        """Records whose every metric was NaN, taken as not recorded."""
        self._last_loss = math.nan
        self._zeros = 0
        self._scale = math.nan

    def notes(self, losses: int) -> list[str]:
        """Return what the user should know.

        Parameters
        ----------
        losses
            Records with a loss.
        """
        found = [f"{self.empty:,} records whose every metric is NaN: taken as not recorded"] if self.empty else []
        # Where the filter is on there is nothing left to find: the user should know that silence proves little.
        if self.family == "huggingface" and losses:
            found.append(
                "the Trainer replaces NaN losses by default (logging_nan_inf_filter): a NaN may be hidden here"
            )
        return found

    def judge(self, values: dict[str, float]) -> JudgedRecord:
        """Separate events from gaps in one record of series by name, canonical names where there are any."""
        strange = {name for name, value in values.items() if not math.isfinite(value)}
        if strange and self._nothing_recorded(values):
            self.empty += 1
            kept = {name: value for name, value in values.items() if name in _NOT_METRICS}
            return JudgedRecord(values=kept, nan=frozenset())
        if self.family == "golden":
            strange &= {"loss", "grad_norm"}
            values = {k: v for k, v in values.items() if math.isfinite(v) or k in strange}
        elif self.family == "megatron":
            values, strange = self._left_out(values, strange)
        return self._zero_loss(values, strange)

    def _nothing_recorded(self, values: dict[str, float]) -> bool:
        # Elsewhere a record of nothing but NaN is that of a run that has died: loss, perplexity and norm go together.
        metrics = [value for name, value in values.items() if name not in _NOT_METRICS]
        return self.family == "golden" and bool(metrics) and all(map(math.isnan, metrics))

    def _left_out(self, values: dict[str, float], strange: set[str]) -> tuple[dict[str, float], set[str]]:
        scale = values.get("loss_scale", math.nan)
        scaling = scale < self._scale or (values.get("skipped", 0.0) > 0 and scale > 1)
        self._scale = scale if not math.isnan(scale) else self._scale
        if "loss" in values or "eval_loss" in values:
            return values, strange
        if scaling:  # the fp16 scaler found its overflow and skipped the step: no event
            return {k: v for k, v in values.items() if k not in strange}, set()
        if "grad_norm" in strange:
            return {**values, "loss": math.nan}, strange | {"loss"}
        return values, strange

    def _zero_loss(self, values: dict[str, float], strange: set[str]) -> JudgedRecord:
        loss = values.get("loss")
        if loss == 0.0 and self.family == "huggingface":
            self._zeros += 1
            # A NaN norm beside the zero settles it. Where no norm is logged, three zeros in a row after a loss that was
            # nowhere near zero do.
            died = "grad_norm" in strange
            silent = "grad_norm" not in values and self._zeros >= 3 and self._last_loss > _TINY
            if died or silent:
                values, strange = {**values, "loss": math.nan}, strange | {"loss"}
        elif loss is not None:
            self._zeros, self._last_loss = 0, loss
        return JudgedRecord(values=values, nan=frozenset(strange))

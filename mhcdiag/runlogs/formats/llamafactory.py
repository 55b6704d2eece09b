"""`trainer_log.jsonl` of LLaMA-Factory."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from mhcdiag.runlogs.formats.jsonl import JsonLineParser
from mhcdiag.runlogs.interface import Keys, NanFamily, Record


@dataclass(frozen=True, kw_only=True, slots=True)
class LlamaFactory:
    """JSON lines with `current_steps` and `total_steps`."""

    name: str = "llamafactory"
    """Name on the command line and in reports."""
    title: str = "trainer_log.jsonl (LLaMA-Factory)"
    """What the format is, in a few words."""
    preferred: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: {"loss": ("loss",)})
    """Canonical name -> names in the log, best first."""
    nan_family: NanFamily = "huggingface"
    """It logs what the Hugging Face Trainer reports."""

    def parser(self, keys: Keys) -> "TrainerLogParser":
        """Return the state for one pass.

        Arguments: keys: what the user said about names.
        """
        return TrainerLogParser(keys)


class TrainerLogParser:
    """Reads one object a line."""

    def __init__(self, keys: Keys) -> None:
        self._json = JsonLineParser(keys)
        self._step = keys.step or "current_steps"

    def feed(self, line: int, text: str) -> Record | None:
        """Return the record of a line, or None.

        Arguments: line: 1-based; text: without prefix and line end.
        """
        if '"current_steps"' not in text:
            return None
        record = self._json.feed(line, text)
        if record is None or self._step not in record.values:
            return record
        values = dict(record.values)
        step, total = values.pop(self._step), values.pop("total_steps", None)
        return Record(line=line, step=step, total_steps=total, values=values, garbled=record.garbled)

    def finish(self) -> Record | None:
        """Return None: no record is longer than its line."""
        return None


LLAMAFACTORY = LlamaFactory()

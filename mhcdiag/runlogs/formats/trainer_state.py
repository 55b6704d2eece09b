"""`trainer_state.json` of the Hugging Face Trainer."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mhcdiag.errors import LogError
from mhcdiag.runlogs.builder import TableBuilder
from mhcdiag.runlogs.documents import objects_of_list, opens_document, read_document
from mhcdiag.runlogs.interface import NanFamily, Record, Sample
from mhcdiag.runlogs.records import numbers_of, parse_json
from mhcdiag.runlogs.sources import LogSource


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainerState:
    """The list `log_history`, evaluations between the training records."""

    name: str = "trainer_state"
    """Name on the command line and in reports."""
    title: str = "trainer_state.json (Hugging Face Trainer)"
    """What the format is, in a few words."""
    preferred: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: {"loss": ("loss",)})
    """Canonical name -> names in the log, best first."""
    nan_family: NanFamily = "huggingface"
    """A NaN loss is printed as 0.0."""

    def fits(self, sample: Sample) -> bool:
        """Say whether a file is in this format.

        Arguments: sample: of the file.
        """
        if not opens_document(sample):
            return False
        return any(b'"log_history"' in piece for piece in (sample.head, *sample.pieces))

    def read(self, source: LogSource, table: TableBuilder) -> None:
        """Read a whole file; of one that is cut short, the records before the cut.

        Arguments: source: the opened file; table: takes the records. Raises: LogError.
        """
        data = read_document(source)
        for number, entry in enumerate(_history(source.path, data, table), start=1):
            if isinstance(entry, dict):
                table.add(Record(line=number, values=numbers_of(entry), garbled=_lost_loss(entry)))
        table.lines = table.rows


def _history(path: str, data: bytes, table: TableBuilder) -> list[Any]:
    try:
        state = parse_json(data)
    except ValueError:
        found = list(objects_of_list(data, '"log_history"'))
        if not found:
            raise LogError(path, found="broken JSON", expected="a whole trainer_state.json") from None
        table.notes.append(f"the JSON is cut short or damaged: {len(found):,} records before that are read")
        return list(found)
    history = state.get("log_history") if isinstance(state, dict) else None
    if not isinstance(history, list):
        raise LogError(path, found="no list 'log_history'", expected="a trainer_state.json")
    return history


def _lost_loss(entry: dict[str, Any]) -> bool:
    return "loss" in entry and entry["loss"] is not None and "loss" not in numbers_of({"loss": entry["loss"]})


TRAINER_STATE = TrainerState()

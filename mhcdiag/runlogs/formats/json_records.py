"""A JSON document that is a list of records, or lists of values by name (a Keras history)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mhcdiag.errors import LogError
from mhcdiag.runlogs.builder import TableBuilder
from mhcdiag.runlogs.documents import load_document, objects_of_list, opens_document, read_document
from mhcdiag.runlogs.interface import NanFamily, Record, Sample
from mhcdiag.runlogs.records import lost_loss, numbers_of
from mhcdiag.runlogs.sources import LogSource


@dataclass(frozen=True, kw_only=True, slots=True)
class JsonRecords:
    """Any JSON document: the largest list of records in it, or its lists of equal length."""

    name: str = "json"
    """Name on the command line and in reports."""
    title: str = "a JSON document with a list of records"
    """What the format is, in a few words."""
    preferred: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """No names are fixed: words decide."""
    nan_family: NanFamily = "plain"
    """NaN stand as they are."""

    def fits(self, sample: Sample) -> bool:
        """Say whether a file is in this format.

        Arguments: sample: of the file.
        """
        return opens_document(sample)

    def read(self, source: LogSource, table: TableBuilder) -> None:
        """Read a whole file.

        Arguments: source: the opened file; table: takes the records. Raises: LogError.
        """
        data = read_document(source)
        rescued = list(objects_of_list(data, "")) if data[:1] == b"[" else []
        if rescued and not data.rstrip().endswith(b"]"):
            table.notes.append(f"the JSON is cut short: {len(rescued):,} records before that are read")
            records = rescued
        else:
            records = _records(load_document(source, data))
        if not records:
            raise LogError(
                source.path,
                found="a JSON document without training records",
                expected="a list of records, or a trainer_state.json",
            )
        for number, record in enumerate(records, start=1):
            table.add(Record(line=number, values=numbers_of(record), garbled=lost_loss(record)))
        table.lines = len(records)


def _records(document: Any) -> list[dict[str, Any]]:
    if isinstance(document, list):
        return [entry for entry in document if isinstance(entry, dict)]
    if not isinstance(document, dict):
        return []
    lists = [value for value in document.values() if isinstance(value, list)]
    inner = max((_records(value) for value in lists), key=len, default=[])
    if inner:
        return inner
    length = max(map(len, lists), default=0)
    columns = {key: value for key, value in document.items() if isinstance(value, list) and len(value) == length}
    return [{key: values[row] for key, values in columns.items()} for row in range(length)]


JSON_RECORDS = JsonRecords()

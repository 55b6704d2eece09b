"""An earlier report to compare with: what it holds for an input of now."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from mhcdiag.errors import InputError
from mhcdiag.metrics import Examined, Record
from mhcdiag.results.check import CheckedInput, Family
from mhcdiag.results.documents import Json, read_table, read_text
from mhcdiag.results.documents.check import FORMAT_VERSION, inputs_of
from mhcdiag.results.documents.gain import gain_of
from mhcdiag.results.documents.spikes import spikes_of
from mhcdiag.results.gain import GainResult
from mhcdiag.results.health import HealthResult
from mhcdiag.results.spikes import LogResult
from mhcdiag.results.weights import WeightsResult

_HINT = "`mhcdiag check --update-baseline` writes a new one"


@dataclass(frozen=True, kw_only=True, slots=True)
class Baseline:
    """The measurements of an earlier report."""

    path: str
    """The file, as the user named it."""
    records: Mapping[tuple[Family, str], Record]
    """What it holds, by kind of input and path."""

    def find(self, family: Family, path: str) -> Record | None:
        """Return what it holds for an input; None if there is nothing.

        The same path is best, then the same file name, then the only record of its kind: later checkpoints of a run
        are compared with one early one.
        """
        of_family = {name: record for (kind, name), record in self.records.items() if kind is family}
        if path in of_family:
            return of_family[path]
        same_name = [record for name, record in of_family.items() if Path(name).name == Path(path).name]
        if len(same_name) == 1:
            return same_name[0]
        return next(iter(of_family.values())) if len(of_family) == 1 else None


def read_baseline(path: Path) -> Baseline:
    """Return the measurements of an earlier report of `check`, `gain` or `spikes`.

    Raises
    ------
    InputError
        The file is no such report, is of another format version, or a part of it is broken: somebody edited it.
    """
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(path, found=error.strerror or str(error), expected="a baseline", hint=_HINT) from error
    except (ValueError, RecursionError) as error:
        raise InputError(path, found=f"not a JSON report: {error}", expected="a baseline", hint=_HINT) from error
    command = report.get("command") if isinstance(report, dict) else None
    if command not in ("check", "gain", "spikes") or not isinstance(report.get("results"), list):
        raise InputError(path, found="JSON that is no report of mhcdiag", expected="a baseline", hint=_HINT)
    if report.get("format_version") != FORMAT_VERSION:
        found = f"format version {report.get('format_version')!r}"
        raise InputError(path, found=found, expected=f"format version {FORMAT_VERSION}", hint=_HINT)
    try:
        records = records_of(inputs_of(report)) if command == "check" else _of_command(command, report)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        found = f"a report with a broken part: {error}"
        raise InputError(path, found=found, expected="a baseline", hint=_HINT) from error
    return Baseline(path=str(path), records=records)


def records_of(inputs: Iterable[CheckedInput]) -> dict[tuple[Family, str], Record]:
    """Return what gates judge of the inputs of a check; what could not be read is left out."""
    records: dict[tuple[Family, str], Record] = {}
    for checked in inputs:
        if checked.result is not None:
            records[checked.family, checked.path] = record_of(checked.result, checked.health, checked.weights)
    return records


def record_of(
    result: GainResult | LogResult, health: HealthResult | None, weights: WeightsResult | None = None
) -> Record:
    """Return what gates judge of one input."""
    return Examined(gain=result, health=health, weights=weights) if isinstance(result, GainResult) else result


def _of_command(command: str, report: Json) -> dict[tuple[Family, str], Record]:
    records: dict[tuple[Family, str], Record] = {}
    for entry in report["results"]:
        result = read_table(entry)
        path = read_text(result["path"])
        # What could not be read then is nothing to compare with now.
        if command == "gain" and result.get("gain"):
            records[Family.CHECKPOINT, path] = Examined(gain=gain_of(result))
        elif command == "spikes" and result.get("series"):
            records[Family.LOG, path] = spikes_of(result)
    return records


def refuse_other_model(baseline: Baseline, before: GainResult, now: GainResult) -> None:
    """Refuse to compare checkpoints of different models.

    Raises
    ------
    InputError
        The models differ; it names what does.
    """
    pairs: tuple[tuple[str, object, object], ...] = (
        ("layout", before.layout, now.layout),
        ("model", before.model, now.model),
        ("streams", before.streams, now.streams),
    )
    differing = [f"{word} {was}, here {is_now}" for word, was, is_now in pairs if was != is_now]
    if before.sites != now.sites:
        differing.append(f"sites {len(before.sites)} sites, here {len(now.sites)}")
    if differing:
        found = f"a baseline of another model: {differing[0]}"
        raise InputError(baseline.path, found=found, expected="a baseline of the same model", hint=_HINT)

"""An earlier report to compare with: what it holds for an input of now."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mhcdiag.errors import InputError
from mhcdiag.metrics import METRICS, Document, Question
from mhcdiag.metrics.spikes import EVERY
from mhcdiag.results.check import CheckReport, Family
from mhcdiag.results.documents.check import FORMAT_VERSION, check_document

_HINT = "`mhcdiag check --update-baseline` writes a new one"
_FAMILIES = {Family.CHECKPOINT: "gain", Family.LOG: "spikes"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Baseline:
    """The documents of an earlier report."""

    path: str
    """The file, as the user named it."""
    documents: Mapping[tuple[Family, str], Document]
    """What it holds, by kind of input and path."""

    def find(self, family: Family, path: str) -> Document | None:
        """Return the document for an input; None if there is none.

        The same path is best, then the same file name, then the only document of its kind: later checkpoints of a run
        are compared with one early one.
        """
        of_family = {name: document for (kind, name), document in self.documents.items() if kind is family}
        if path in of_family:
            return of_family[path]
        same_name = [document for name, document in of_family.items() if Path(name).name == Path(path).name]
        if len(same_name) == 1:
            return same_name[0]
        return next(iter(of_family.values())) if len(of_family) == 1 else None


def read_baseline(path: Path) -> Baseline:
    """Return the documents of an earlier report of `check`, `gain` or `spikes`.

    Raises: InputError for a file that is none, or of another format version.
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
        documents = dict(pair for result in report["results"] for pair in _documents(command, result))
        for (family, _), document in documents.items():
            _try_all(family, document)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise InputError(path, found=f"a report with a broken part: {error}", expected="a baseline", hint=_HINT) from (
            error
        )
    return Baseline(path=str(path), documents=documents)


def baseline_of(report: CheckReport, path: str) -> Baseline:
    """Return what a report would be as a baseline.

    Arguments: report: of now; path: the file that it will stand in.
    """
    results = check_document(report)["results"]
    return Baseline(path=path, documents=dict(pair for result in results for pair in _documents("check", result)))


def refuse_other_model(baseline: Baseline, before: Document, now: Document) -> None:
    """Refuse to compare checkpoints of different models.

    Arguments: before, now: documents of checkpoints. Raises: InputError, naming what differs.
    """
    for key, word in (("layout", "layout"), ("model", "model"), ("streams", "streams"), ("sites", "sites")):
        was, is_now = before.get(key), now.get(key)
        if was != is_now:
            if isinstance(was, list) and isinstance(is_now, list):
                was, is_now = f"{len(was)} sites", f"{len(is_now)}"
            found = f"a baseline of another model: {word} {was}, here {is_now}"
            raise InputError(baseline.path, found=found, expected="a baseline of the same model", hint=_HINT)


def _try_all(family: Family, document: Document) -> None:
    """Read every metric once: a file that somebody edited is refused as a whole, and not in the middle of a check."""
    if family is Family.LOG and not isinstance(document["series"], dict):
        raise TypeError("series")
    for metric in METRICS.values():
        if metric.family is family:
            metric.read(document, Question(series=EVERY, baseline=document))


def _documents(command: str, result: dict[str, Any]) -> list[tuple[tuple[Family, str], Document]]:
    path = str(result["path"])
    if command == "check":
        of_health = {"health": result["health"]} if result.get("health") is not None else {}
        return [
            ((family, path), result[key] | (of_health if family is Family.CHECKPOINT else {}))
            for family, key in _FAMILIES.items()
            if result.get(key) is not None
        ]
    family = Family.CHECKPOINT if command == "gain" else Family.LOG
    readable = "gain" if family is Family.CHECKPOINT else "series"
    # What could not be read then is nothing to compare with now.
    return [((family, path), result)] if result.get(readable) else []

"""The allow-list: known events of a log, left out of all counts and named in every report."""

import math
from collections.abc import Sequence
from fnmatch import fnmatchcase

from mhcdiag.metrics import Document
from mhcdiag.policy.record import ANY, Allow
from mhcdiag.results.check import AllowedEvent


def without_allowed(document: Document, allowed: Sequence[Allow]) -> tuple[Document, tuple[AllowedEvent, ...]]:
    """Return the document of a log without its known events, and those events.

    Arguments: document: of `spikes_document`; allowed: the policy's list.
    """
    path = str(document["path"])
    left_out: list[AllowedEvent] = []
    series = {}
    for name, one in document["series"].items():
        kept = []
        for event in one["events"]:
            entry = next((entry for entry in allowed if _matches(entry, path, name, event)), None)
            if entry is None:
                kept.append(event)
                continue
            left_out.append(
                AllowedEvent(
                    path=path,
                    series=name,
                    kind=event["kind"],
                    step=math.nan if event["start"] is None else float(event["start"]),
                    line=event["line"],
                    reason=entry.reason,
                )
            )
        series[name] = {**one, "events": kept}
    return {**document, "series": series}, tuple(left_out)


def applies(pattern: str, path: str) -> bool:
    """Say whether a pattern of a policy covers a path, which it may match from any folder on."""
    return pattern == ANY or fnmatchcase(path, pattern) or fnmatchcase(path, f"*/{pattern}")


def _matches(entry: Allow, path: str, series: str, event: Document) -> bool:
    if event["start"] is None:
        return False
    return (
        entry.kind in (ANY, event["kind"])
        and entry.series in (ANY, series)
        and entry.steps[0] <= event["start"] <= entry.steps[1]
        and applies(entry.paths, path)
    )

"""The outcome of `mhcdiag check` as JSON, for scripts; also what `--baseline` reads."""

import json

from mhcdiag.reports.check_formats.interface import ReportFormat
from mhcdiag.results.check import CheckReport
from mhcdiag.results.documents.check import check_document


def check_json(report: CheckReport) -> str:
    """Return the report as text, ending in a newline; a later `--baseline` reads it."""
    return json.dumps(check_document(report), indent=1, allow_nan=False, ensure_ascii=False) + "\n"


JSON = ReportFormat(
    name="json",
    suffixes=(".json",),
    about="scripts and baselines; schemas (also of `gain`, `spikes`, `health` and `trend`) are part of the package",
    render=check_json,
)

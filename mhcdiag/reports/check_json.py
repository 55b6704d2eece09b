"""The outcome of `mhcdiag check` as strict JSON; its keys stand in `contracts/check.py`."""

import json

from mhcdiag.results.check import CheckReport
from mhcdiag.results.documents.check import check_document


def check_json(report: CheckReport) -> str:
    """Return the report as text, ending in a newline; a later `--baseline` reads it."""
    return json.dumps(check_document(report), indent=1, allow_nan=False, ensure_ascii=False) + "\n"

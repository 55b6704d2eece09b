"""The outcome of `mhcdiag check` as strict JSON; its keys stand in `contracts/check.py`."""

import json

from mhcdiag.contracts.check import check_document
from mhcdiag.results.check import CheckReport


def check_json(report: CheckReport) -> str:
    """Return the report as text, ending in a newline; a later `--baseline` reads it."""
    return json.dumps(check_document(report), indent=1, allow_nan=False, ensure_ascii=False) + "\n"

"""The report formats of `mhcdiag check` that go into files: one a file; `interface.py` has the rules.

The report on the terminal is not among them: it has colours and a width (`mhcdiag.reports.check_console`).
"""

from mhcdiag.reports.check_formats.csv_table import CSV
from mhcdiag.reports.check_formats.github import GITHUB
from mhcdiag.reports.check_formats.html_page import HTML
from mhcdiag.reports.check_formats.interface import ReportFormat
from mhcdiag.reports.check_formats.json_document import JSON
from mhcdiag.reports.check_formats.junit import JUNIT
from mhcdiag.reports.check_formats.markdown import MARKDOWN
from mhcdiag.reports.check_formats.sarif import SARIF

REPORT_FORMATS: tuple[ReportFormat, ...] = (JSON, MARKDOWN, CSV, HTML, JUNIT, SARIF, GITHUB)
"""All of them, in the order of `mhcdiag check --help`."""

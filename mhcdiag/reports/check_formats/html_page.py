"""The outcome of `mhcdiag check` as one HTML page with figures; the page itself is made in `mhcdiag.reports.html`."""

from mhcdiag.reports.check_formats.interface import ReportFormat
from mhcdiag.results.check import CheckReport


def check_html(report: CheckReport) -> str:
    """Return the page, with its pictures inside."""
    # matplotlib and jinja2 take longer to import than a check of logs takes to run.
    from mhcdiag.reports.html.check_page import check_page

    return check_page(report)


HTML = ReportFormat(
    name="html",
    suffixes=(".html", ".htm"),
    about="people: one file with verdict, figures, tables and provenance; no network, no script",
    render=check_html,
    needs=("matplotlib", "jinja2"),
)

"""The HTML report of a check: one file, readable without network, script or plug-in."""

from mhcdiag.reports.html.appendix import definitions, files_table, run_facts
from mhcdiag.reports.html.gates import gate_table, headline, input_link
from mhcdiag.reports.html.input_view import InputView, input_view
from mhcdiag.reports.html.parts import Link, Picture, Pictures, Table, columns, environment
from mhcdiag.reports.html.pictures import draw_pictures
from mhcdiag.results.check import CheckReport, Family, GateOutcome, GateSeverity
from mhcdiag.results.verdict import Verdict

FEW = 6
"""Inputs up to which all are shown in full."""
MOST_IN_FULL = 1
MOST_PICTURED = 6
"""Inputs that get at least one picture, where there are more than a few."""
MOST_OPEN = 4
"""Inputs up to which all of them are unfolded; of more, only the one that decided."""
MOST_NOT_PASSED = 12
"""Outcomes that did not pass which stand at the top; the others are folded below them."""


def check_page(report: CheckReport) -> str:
    """The report as one HTML document, with all its pictures inside; equal reports give equal text."""
    return page_with(report, draw_pictures(report, full=_in_full(report), some=_pictured(report)))


def page_with(report: CheckReport, pictures: Pictures) -> str:
    """The report as one HTML document; equal arguments give equal text.

    Parameters
    ----------
    report
        The check.
    pictures
        What was drawn of its inputs, in their order; missing ones are left out.

    Returns
    -------
    str
        A page in UTF-8 that loads nothing: its policy of contents forbids it.
    """
    full = _in_full(report)
    views = [
        input_view(report, place, _of_input(pictures, place), full=place in full) for place in range(len(report.inputs))
    ]
    not_passed = sorted((one for one in report.outcomes if one.verdict is not Verdict.PASS), key=_gravity)
    return environment().get_template("check.html").render(
        command="mhcdiag check",
        version=report.version,
        report=report,
        headline=headline(report),
        unreadable=[one for one in report.inputs if one.error],
        not_passed=_first_and_rest(gate_table(not_passed, report, caption="What did not pass")),
        overview=_overview(views),
        overview_pictures=pictures.overview,
        views=views,
        open_inputs=_open(report),
        shortened=len(full) < len(views),
        allowed=_allowed(report),
        outcomes=gate_table(report.outcomes, report, caption="All gates"),
        definitions=definitions(report),
        run_facts=run_facts(report),
        files=files_table(report),
    )  # fmt: skip


def _in_full(report: CheckReport) -> frozenset[int]:
    """Positions of the inputs that get all pictures and numbers: all of a few, else what decided."""
    return _worst(report, MOST_IN_FULL)


def _pictured(report: CheckReport) -> frozenset[int]:
    """Positions of the inputs that get at least one picture."""
    return _worst(report, MOST_PICTURED)


def _worst(report: CheckReport, most: int) -> frozenset[int]:
    places = range(len(report.inputs))
    if len(places) <= FEW:
        return frozenset(places)
    decided = report.decided_by
    order = [Verdict.FAIL, Verdict.UNJUDGED, Verdict.PASS]

    def rank(place: int) -> tuple[bool, int, int]:
        one = report.inputs[place]
        return (decided is None or one.path != decided.path, order.index(one.verdict), place)

    measured = [place for place in places if report.inputs[place].result is not None]
    return frozenset(sorted(measured, key=rank)[:most])


def _gravity(one: GateOutcome) -> tuple[bool, bool]:
    """Orders what did not pass: failures, then what could not be judged, then warnings."""
    return (one.severity is GateSeverity.WARNING, one.verdict is Verdict.UNJUDGED)


def _of_input(pictures: Pictures, place: int) -> tuple[Picture, ...]:
    return pictures.of_inputs[place] if place < len(pictures.of_inputs) else ()


def _first_and_rest(table: Table) -> tuple[Table, Table]:
    parts = (table.rows[:MOST_NOT_PASSED], table.rows[MOST_NOT_PASSED:])
    first, rest = (Table(caption=table.caption, columns=table.columns, rows=rows) for rows in parts)
    return first, rest


def _overview(views: list[InputView]) -> Table:
    rows = tuple(
        (view.pill, Link(text=view.name, target=view.anchor), view.family, view.measured, view.gates_text)
        for view in views
    )
    return Table(caption="Inputs", columns=columns("verdict", "input", "what", "found", "gates passed"), rows=rows)


def _open(report: CheckReport) -> frozenset[int]:
    if len(report.inputs) <= MOST_OPEN:
        return frozenset(range(len(report.inputs)))
    decided = report.decided_by
    return frozenset(i for i, one in enumerate(report.inputs) if decided in report.outcomes_of(one))


def _allowed(report: CheckReport) -> Table:
    rows = tuple(
        (one.kind, one.series, input_link(one.path, Family.LOG, report), f"{one.step:g}", f"{one.line:,}", one.reason)
        for one in report.allowed
    )
    labels = ("event", "series", "log", "step", "line", "why it is allowed")
    return Table(caption="Allowed events", columns=columns(*labels, numeric=("step", "line")), rows=rows)

"""What `mhcdiag trend` measures, writes and prints."""

import sys
from collections.abc import Sequence
from pathlib import Path

from mhcdiag.cli.output import complain, console, save_figure, write_text
from mhcdiag.errors import MhcdiagError
from mhcdiag.policies.verdicts import TrendGate, judge_trend
from mhcdiag.ranks import Ranks
from mhcdiag.results.judged import Unreadable
from mhcdiag.results.trend import JudgedTrend
from mhcdiag.results.verdict import EXIT_CODES


def measured(
    paths: Sequence[str],
    gate: TrendGate,
    ranks: Ranks,
    *,
    log: str | None,
    inputs: str | None,
    fit_from: float | None,
    stream_rms: float | None,
) -> JudgedTrend | Unreadable:
    """Measure and judge; what gives no trend is a record, and one line on stderr."""
    from mhcdiag.usecases.trend import TrendOptions, trend

    options = TrendOptions(log=log, inputs=inputs, fit_from=fit_from, stream_rms=stream_rms)
    try:
        return judge_trend(trend(paths, options, ranks=ranks), gate)
    except MhcdiagError as error:
        complain(str(error))
        return Unreadable(path=paths[0], reason=str(error))


def write_figures(judged: JudgedTrend | Unreadable, *, plot: Path | None, html: Path | None) -> None:
    """Write what was asked for; nothing where there is no trend."""
    if isinstance(judged, Unreadable) or (plot is None and html is None):
        return
    from mhcdiag.plots.trend_figure import trend_figure

    figure = trend_figure(judged.result)
    if plot is not None:
        save_figure(figure, plot)
    if html is not None:
        from mhcdiag.plots.inline_svg import inline_svg
        from mhcdiag.reports.html.picture import Picture, Place
        from mhcdiag.reports.html.trend_page import trend_page

        picture = Picture(
            place=Place.TREND,
            title="",
            alt="gain, and gradient norm and loss where a log was given, over steps",
            caption="Dashed: the fitted line; dotted: gains of 3, 30 and 1000. Coloured bands are events of the log.",
            svg=inline_svg(figure, prefix="trend"),
        )
        write_text(html, trend_page(judged, picture), option="--html")


def print_trend(judged: JudgedTrend | Unreadable, path: str, *, as_json: bool, quiet: bool) -> None:
    """Print the report and the verdict."""
    if as_json:
        from mhcdiag.reports.trend_json import trend_json

        sys.stdout.write(trend_json(judged))
        return
    from mhcdiag.reports.trend_console import trend_report, trend_verdict

    if isinstance(judged, Unreadable):
        return  # what is wrong stands on stderr
    out = console()
    if not quiet:
        unicode = (out.encoding or "").lower().startswith("utf")
        out.print(trend_report(judged, width=out.width, unicode=unicode))
    out.print(trend_verdict(judged, path), soft_wrap=True)


def exit_code(judged: JudgedTrend | Unreadable) -> int:
    """The exit code of the verdict."""
    return EXIT_CODES[judged.verdict]

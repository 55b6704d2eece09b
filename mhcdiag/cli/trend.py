"""`mhcdiag trend`: from the checkpoints or the log of one run to growth, projections and a verdict."""

import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mhcdiag.cli import options
from mhcdiag.cli.output import check_figure_path, check_writable, complain, console, save_figure, write_text
from mhcdiag.errors import MhcdiagError
from mhcdiag.results.bands import DEFAULT_MAX_GAIN
from mhcdiag.results.judged import Unreadable
from mhcdiag.results.verdict import EXIT_CODES

if TYPE_CHECKING:
    from mhcdiag.policies.verdicts import TrendGate
    from mhcdiag.ranks import Ranks
    from mhcdiag.results.trend import JudgedTrend

PROJECTION = "Fit and projection"


def _a_number(value: float | None) -> float | None:
    if value is not None and not math.isfinite(value):
        raise typer.BadParameter(f"{value}: expected a finite number")
    return value


def _above_zero(value: float | None) -> float | None:
    if value is not None and not 0 < value < math.inf:
        raise typer.BadParameter(f"{value}: expected a number above 0")
    return value


Paths = Annotated[
    list[str],
    typer.Argument(
        metavar="PATH",
        help="Checkpoints of one run, a folder of them, or one log with gain columns.",
        show_default=False,
    ),
]
Log = Annotated[
    str | None,
    typer.Option("--log", metavar="LOG", help="Training log of the run.", rich_help_panel=options.INPUT),
]
FitFrom = Annotated[
    float | None,
    typer.Option(
        metavar="STEP",
        help="First step of the fit (default: the later half).",
        rich_help_panel=PROJECTION,
        show_default=False,
    ),
]
StreamRms = Annotated[
    float | None,
    typer.Option(
        help="Root mean square of the streams at the last step, for the limits of fp16 and fp32.",
        callback=_above_zero,
        rich_help_panel=PROJECTION,
        show_default=False,
    ),
]
GainKey = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME",
        help="Judge this gain column of a log (repeatable; default: composite before single, worst before mean).",
        rich_help_panel=options.INPUT,
        show_default=False,
    ),
]
MaxGain = Annotated[
    float, typer.Option(min=0.0, help="Fail above this gain at any step.", rich_help_panel=options.GATE)
]
MaxRate = Annotated[
    float | None,
    typer.Option(
        "--max-doubling-rate",
        help="Fail above so many doublings in 1000 steps.",
        callback=_a_number,
        rich_help_panel=options.GATE,
        show_default=False,
    ),
]
NoCrossing = Annotated[
    float | None,
    typer.Option(
        metavar="STEP",
        help="Fail if the gain passes 1000 before this step, measured or projected.",
        rich_help_panel=options.GATE,
        show_default=False,
    ),
]
Html = Annotated[
    Path | None, typer.Option("--html", metavar="FILE", help="Write an HTML page.", rich_help_panel=options.OUTPUT)
]
PlotOption = Annotated[
    Path | None,
    typer.Option("--plot", metavar="FILE", help="Draw gain, norm and loss.", rich_help_panel=options.OUTPUT),
]


def trend(
    paths: Paths,
    log: Log = None,
    inputs: options.Inputs = None,
    text: options.TextFile = None,
    fit_from: FitFrom = None,
    stream_rms: StreamRms = None,
    gain_key: GainKey = None,
    max_gain: MaxGain = DEFAULT_MAX_GAIN,
    max_doubling_rate: MaxRate = None,
    no_crossing_before: NoCrossing = None,
    strict: options.Strict = False,
    as_json: options.AsJson = False,
    plot: PlotOption = None,
    html: Html = None,
    quiet: options.Quiet = False,
) -> None:
    """How fast the gain of a run grows over its steps, and when it may cross which limit.

    Judged is the worst composite (norm) of checkpoints, or the gain columns of a log, which are of real tokens and win
    over checkpoints on made-up inputs. A projection is no promise.
    Exit codes: 0 within the limits, 1 outside, 2 no trend: one point only, steps missing or equal.

    [bold]Examples[/bold]

      mhcdiag trend runs/hc --log runs/hc/train.jsonl --plot trend.png
      mhcdiag trend runs/hc --inputs text
      mhcdiag trend step_*.safetensors --max-doubling-rate 5
      mhcdiag trend train.jsonl --no-crossing-before 50000
    """
    check_figure_path(plot)
    if html is not None:
        check_writable(html, option="--html")
    from mhcdiag.policies.verdicts import TrendGate
    from mhcdiag.ranks import joined_ranks

    gate = TrendGate(
        max_gain=max_gain,
        max_doubling_rate=max_doubling_rate,
        no_crossing_before=no_crossing_before,
        strict=strict,
    )
    with joined_ranks() as ranks:
        judged = _measured(
            paths,
            gate,
            ranks,
            log=log,
            inputs=inputs,
            text=text,
            fit_from=fit_from,
            stream_rms=stream_rms,
            gain_keys=gain_key or (),
        )
        if not ranks.rank:
            _write_figures(judged, plot=plot, html=html)
            _print_trend(judged, paths[0], as_json=as_json, quiet=quiet)
        ranks.wait()
    raise typer.Exit(EXIT_CODES[judged.verdict])


def _measured(
    paths: Sequence[str],
    gate: "TrendGate",
    ranks: "Ranks",
    *,
    log: str | None,
    inputs: str | None,
    text: str | None,
    fit_from: float | None,
    stream_rms: float | None,
    gain_keys: Sequence[str],
) -> "JudgedTrend | Unreadable":
    """Measure and judge; what gives no trend is a record, and one line on stderr."""
    from mhcdiag.policies.verdicts import judge_trend
    from mhcdiag.usecases.trend import trend

    try:
        found = trend(
            paths,
            log=log,
            inputs=inputs,
            text=text,
            fit_from=fit_from,
            stream_rms=stream_rms,
            gain_keys=gain_keys,
            ranks=ranks,
        )
        return judge_trend(found, gate)
    except MhcdiagError as error:
        complain(str(error))
        return Unreadable(path=paths[0], reason=str(error))


def _write_figures(judged: "JudgedTrend | Unreadable", *, plot: Path | None, html: Path | None) -> None:
    """Write what was asked for; nothing where there is no trend."""
    if isinstance(judged, Unreadable):
        return
    if plot is not None:
        from mhcdiag.plots.trend_figure import trend_figure

        save_figure(trend_figure(judged.result), plot)
    if html is not None:
        from mhcdiag.reports.html.trend_page import trend_page

        write_text(html, trend_page(judged), option="--html")


def _print_trend(judged: "JudgedTrend | Unreadable", path: str, *, as_json: bool, quiet: bool) -> None:
    """Print the report and the verdict."""
    if as_json:
        from mhcdiag.reports.json_documents import trend_json

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

"""Records in a notebook: the terminal's report as HTML, and the command's figure.

`results.presented` calls these two functions by name, for records stand below reports and must not import them.
"""

import io
from functools import singledispatch
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group, RenderableType
from rich.text import Text

from mhcdiag.policies.verdicts import SpikeGate, TrendGate, judge, judge_gain, judge_trend
from mhcdiag.results.check import CheckReport
from mhcdiag.results.gain import GainResult
from mhcdiag.results.health import HealthResult
from mhcdiag.results.spikes import LogResult
from mhcdiag.results.trend import TrendResult

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDTH = 100
"""Columns: what a notebook's cell shows without scrolling."""

_PAGE = "<pre style=\"font-family:Menlo,'DejaVu Sans Mono',Consolas,monospace;line-height:1.3\">{code}</pre>"


def html_of(record: object) -> str:
    """Return a record as the terminal shows it, as one `<pre>` with inline styles."""
    console = Console(record=True, width=WIDTH, file=io.StringIO(), highlight=False, legacy_windows=False)
    console.print(_report(record))
    return console.export_html(inline_styles=True, code_format=_PAGE)


@singledispatch
def _report(record: object) -> RenderableType:
    raise TypeError(f"the terminal has no report of a {type(record).__name__}")


# The verdict of a default gate would say more than was asked: `mhcdiag.gain` measures, and judges nothing. The reports
# below take a judged record and leave the verdict to a line of its own, which is not printed here.


@_report.register(GainResult)
def _(record: GainResult) -> RenderableType:
    from mhcdiag.reports.gain_console import gain_report

    return gain_report([judge_gain(record)], width=WIDTH)


@_report.register(LogResult)
def _(record: LogResult) -> RenderableType:
    from mhcdiag.reports.spikes_console import log_report

    return log_report(judge(record, SpikeGate()), width=WIDTH)


@_report.register(TrendResult)
def _(record: TrendResult) -> RenderableType:
    from mhcdiag.reports.trend_console import trend_report

    return trend_report(judge_trend(record, TrendGate()), width=WIDTH)


@_report.register(HealthResult)
def _(record: HealthResult) -> RenderableType:
    from mhcdiag.reports.health_text import health_text

    return Text(health_text(record, width=WIDTH))


@_report.register(CheckReport)
def _(record: CheckReport) -> RenderableType:
    from mhcdiag.reports.check_console import check_report, decision

    return Group(check_report(record, details=True), *decision(record))


@singledispatch
def figure_of(record: object, **_options: Any) -> "Figure":
    """Return what the record's command draws."""
    raise TypeError(f"there is no figure of a {type(record).__name__}")


@figure_of.register(GainResult)
def _(record: GainResult, *, heatmap: bool = False) -> "Figure":
    from mhcdiag.plots.gain_figure import gain_figure

    return gain_figure([record], heatmap=heatmap)


@figure_of.register(LogResult)
def _(record: LogResult, *, log_scale: bool = False) -> "Figure":
    from mhcdiag.plots.timeline import timeline_figure

    return timeline_figure([record], log_scale=log_scale)


@figure_of.register(TrendResult)
def _(record: TrendResult) -> "Figure":
    from mhcdiag.plots.trend_figure import trend_figure

    return trend_figure(record)

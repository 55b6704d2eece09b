"""The terminal report of `mhcdiag trend`."""

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from mhcdiag.reports.gain_console import STYLES
from mhcdiag.reports.sparkline import ASCII_BLOCKS, BLOCKS, log_range, sparkline
from mhcdiag.reports.trend_words import (
    crossing_words,
    driver_words,
    events_of_log,
    growth_words,
    limit_words,
    worst_risk,
)
from mhcdiag.results.bands import DIRECTION_WORDS
from mhcdiag.results.gain import Direction
from mhcdiag.results.judged import Unreadable
from mhcdiag.results.numbers import text, text_beside
from mhcdiag.results.trend import MEASURED, JudgedTrend, TrendResult
from mhcdiag.results.verdict import Verdict

MOST_POINTS = 12
"""Points that are listed; of more, evenly spaced ones."""


def trend_report(judged: JudgedTrend, *, width: int, unicode: bool = True) -> RenderableType:
    """Everything but the verdict.

    Arguments: width: columns of the terminal; unicode: whether block characters can be shown.
    """
    result = judged.result
    parts: list[RenderableType] = [Text(result.path, style="bold"), _indented(_facts(result)), Text()]
    parts += [_indented(_points(result)), Text()]
    parts += [_indented(_curves(result, width=width, blocks=BLOCKS if unicode else ASCII_BLOCKS)), Text()]
    parts += [_indented(_projections(result)), Text()]
    parts += [_indented(line) for line in _remarks(result)]
    return Group(*parts, Text())


def trend_verdict(judged: JudgedTrend | Unreadable, path: str) -> Text:
    """The verdict with every number and its limit."""
    line = Text.assemble((judged.verdict.upper(), STYLES[judged.verdict]), "  ", path)
    if isinstance(judged, Unreadable):
        return line.append(f"  {judged.reason.removeprefix(path).lstrip(': ')}")
    for limit in judged.limits:
        value, most = text_beside(limit.value, limit.limit)
        if limit.metric.endswith("crossing"):
            line.append(f"  {limit.metric} {value} {'>=' if limit.passed else '<'} {most}")
        else:
            line.append(f"  {limit.metric} {value} {'<=' if limit.passed else '>'} {most}")
    return line.append(f"  ({judged.reason})" if judged.verdict is Verdict.UNJUDGED else "")


def _indented(part: RenderableType) -> RenderableType:
    return Padding(part, (0, 0, 0, 2))


def _facts(result: TrendResult) -> Table:
    table = Table.grid(padding=(0, 2))
    steps = [point.step for point in result.points]
    table.add_row("steps", f"{steps[0]:,.0f} to {steps[-1]:,.0f}, {len(steps)} points")
    table.add_row("gain", MEASURED[result.source])
    growth = result.trends[Direction.FORWARD].growth
    table.add_row("fit", f"ln(gain) over steps {growth.first_step:,.0f} to {growth.last_step:,.0f}, 95 % interval")
    return table


def _points(result: TrendResult) -> Table:
    table = Table(box=None, padding=(0, 3, 0, 0), header_style="bold")
    table.add_column("step", justify="right")
    for direction in Direction:
        table.add_column(f"{direction} ({DIRECTION_WORDS[direction]})", justify="right")
    count = len(result.points)
    shown = range(count) if count <= MOST_POINTS else [round(i * (count - 1) / 11) for i in range(MOST_POINTS)]
    for at in shown:
        point = result.points[at]
        table.add_row(f"{point.step:,.0f}", *(text(point.gain[direction]) for direction in Direction))
    return table


def _curves(result: TrendResult, *, width: int, blocks: str) -> Table:
    curves = {direction: tuple(point.gain[direction] for point in result.points) for direction in Direction}
    low, high = log_range(list(curves.values()))
    grid = Table.grid(padding=(0, 2))
    for direction, curve in curves.items():
        drawn = sparkline(curve, width=max(10, width - 16), low=low, high=high, blocks=blocks)
        grid.add_row(str(direction), Text(drawn, style="cyan"))
    return grid


def _projections(result: TrendResult) -> Table:
    table = Table(box=None, padding=(0, 3, 0, 0), header_style="bold")
    table.add_column("")
    for direction in Direction:
        table.add_column(str(direction), overflow="fold")
    table.add_row("growth", *(growth_words(result.trends[direction].growth) for direction in Direction))
    names = [crossing.name for crossing in result.trends[Direction.FORWARD].crossings]
    for name in names:
        found = [
            next(each for each in result.trends[direction].crossings if each.name == name) for direction in Direction
        ]
        table.add_row(limit_words(name), *(crossing_words(each) for each in found))
    if any(result.drivers.values()):
        table.add_row(
            "driven by", *(escape(driver_words(result.drivers.get(direction, ()))) for direction in Direction)
        )
    return table


def _remarks(result: TrendResult) -> list[Text]:
    lines = [Text.assemble(("risk: ", "bold"), worst_risk(result))]
    lines += [Text(f"note: {note}") for note in result.notes]
    lines += [Text(f"skipped: {each.what}: {each.reason}", style="yellow") for each in result.skipped]
    if result.log is not None:
        events = [f"{event.kind} of {name} at {event.start:,.0f}" for name, event in events_of_log(result)]
        lines.append(Text(f"log {result.log.path}: {', '.join(events) or 'no events'}"))
    return lines

"""The terminal report of `mhcdiag trend`."""

import math
from collections.abc import Sequence
from itertools import pairwise

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from mhcdiag.reports.console import (
    ASCII_BLOCKS,
    BLOCKS,
    SAMPLED_STYLE,
    VERDICT_STYLES,
    compared_text,
    indented,
    log_range,
    sparkline,
)
from mhcdiag.reports.text import reason_beside
from mhcdiag.results.bands import DIRECTION_WORDS, LEAST_RUNS, RISK, risk_of
from mhcdiag.results.evidence import weakest
from mhcdiag.results.gain import Direction
from mhcdiag.results.judged import Unreadable
from mhcdiag.results.numbers import Number, is_finite, text
from mhcdiag.results.spikes import Event, EventKind
from mhcdiag.results.trend import (
    Crossing,
    Driver,
    Growth,
    JudgedTrend,
    Source,
    TrendPoint,
    TrendResult,
    qualification_of_trend,
)
from mhcdiag.results.verdict import Verdict
from mhcdiag.results.wording import counted

RISK_NOTE = "a level of risk, not a countdown: gain did not tell when an event came, and toys are not large models"


def growth_words(growth: Growth) -> str:
    """Rate in doublings per 1000 steps with its interval, and the doubling time."""
    if not math.isfinite(growth.rate):
        return f"unknown: {growth.points} usable point(s)"
    rate = growth.doublings_per_1000()
    interval = ""
    if math.isfinite(growth.low):
        factor = rate / growth.rate if growth.rate else 1000 / math.log(2)
        interval = f" ({growth.low * factor:.3g} to {growth.high * factor:.3g})"
    if growth.grows():
        return f"{rate:.3g}{interval} doublings per 1000 steps: doubles every {growth.doubling_steps():,.0f} steps"
    return f"{rate:.3g}{interval} doublings per 1000 steps: no growth that stands out"


def crossing_words(crossing: Crossing, growth: Growth) -> str:
    """When a limit was or may be passed.

    Parameters
    ----------
    growth
        Of the gain. A step beside "no growth that stands out" would be taken for a date, so that none is given then,
        not even of the ranges of streams whose own size grows.
    """
    if crossing.passed is not None:
        return f"passed at step {crossing.passed:,.0f}"
    if crossing.expected is None:
        return "not at this rate"
    if crossing.earliest is not None and crossing.latest is None:
        return "no growth that stands out"
    if not growth.grows():
        return "no growth of the gain that stands out, though the streams grow"
    if crossing.earliest is None or crossing.latest is None:
        return f"step {crossing.expected:,.0f}"
    return f"step {crossing.expected:,.0f} ({crossing.earliest:,.0f} to {crossing.latest:,.0f})"


def risk_words(gain: Number) -> str:
    """What our study saw of runs that had reached such a gain; of few it says nothing."""
    band = risk_of(gain)
    lower = next((each.upto for each, other in pairwise(RISK) if other is band), 0.0)
    span = f"up to {band.upto:g}" if math.isfinite(band.upto) else f"above {lower:g}"
    if lower and math.isfinite(band.upto):
        span = f"{lower:g} to {band.upto:g}"
    named = text(gain) if is_finite(gain) else "not finite"
    if band.runs < LEAST_RUNS:
        return f"gain {named}: not known: {counted(band.runs, 'run')} of our toy study in the band {span}, too few"
    seen = f"in our toy study {band.events} of {band.runs} runs in the band {span} had a loss event"
    return f"gain {named}: {seen}; {RISK_NOTE}"


def limit_words(name: str) -> str:
    """A limit that gains or streams may pass, by its name."""
    return f"above {name}" if name[0].isdigit() else f"{name} overflows"


def driver_words(drivers: Sequence[Driver]) -> str:
    """The sites that drive the growth, with their shares."""
    return ", ".join(f"{each.site} {100 * each.share:.0f} %" for each in drivers) or "nobody"


OTHER_MEASURE = "not known: our toy study is about gains that `mhcdiag toy` logs, and these are measured in another way"


def worst_risk(result: TrendResult) -> str:
    """What our study saw of runs with the larger peak of both directions, where that is the same measure."""
    if not result.is_of_study:
        return OTHER_MEASURE
    peaks = [result.trends[direction].peak for direction in Direction]
    known = [peak for peak in peaks if is_finite(peak)]
    return risk_words(max(known) if known else peaks[0])


def events_of_log(result: TrendResult) -> list[tuple[str, Event]]:
    """Series and event, blips left out; empty where there is no log."""
    return [
        (name, event)
        for name, series in (result.log.series.items() if result.log is not None else ())
        for event in series.events
        if event.kind is not EventKind.BLIP
    ]


MOST_POINTS = 12
"""Points that are listed; of more, evenly spaced ones."""


def trend_report(judged: JudgedTrend, *, width: int, unicode: bool = True) -> RenderableType:
    """Everything but the verdict.

    Parameters
    ----------
    judged
        The trend and its limits.
    width
        Columns of the terminal.
    unicode
        Whether block characters can be shown.
    """
    result = judged.result
    parts: list[RenderableType] = [Text(result.path, style="bold"), indented(_run_facts(result)), Text()]
    parts += [indented(_points(result.points)), Text()]
    if result.beside is not None:
        parts += [
            indented(Text(f"beside it: {result.beside.measured}")),
            indented(_points(result.beside.points)),
            Text(),
        ]
    parts += [indented(_curves(result, width=width, blocks=BLOCKS if unicode else ASCII_BLOCKS)), Text()]
    parts += [indented(_projections(result)), Text()]
    parts += [indented(line) for line in _remarks(result)]
    return Group(*parts, Text())


def trend_verdict(judged: JudgedTrend | Unreadable, path: str) -> Text:
    """The verdict with every number and its limit."""
    word, style = judged.verdict.upper(), VERDICT_STYLES[judged.verdict]
    if isinstance(judged, JudgedTrend) and (sampled := sampled_words(judged)):
        word, style = f"{word} {sampled}", SAMPLED_STYLE
    line = Text.assemble((word, style), "  ", path)
    if isinstance(judged, Unreadable):
        return line.append(f"  {reason_beside(path, judged.reason)}")
    for limit in judged.limits:
        # A crossing is a step: the later the gain passes 1000, the better.
        line.append(f"  {compared_text(limit, at_least=limit.metric.endswith('crossing'))}")
    evidence = weakest(limit.evidence for limit in judged.limits)
    if judged.verdict is Verdict.PASS and evidence is not None and not sampled_words(judged):
        line.append(f"  ({evidence})")
    return line.append(f"  ({judged.reason})" if judged.verdict is Verdict.UNJUDGED else "")


def sampled_words(judged: JudgedTrend) -> str:
    """What stands behind PASS where the gains are merely sampled; empty for every other verdict."""
    return qualification_of_trend(judged.result, judged.limits) if judged.verdict is Verdict.PASS else ""


def _run_facts(result: TrendResult) -> Table:
    table = Table.grid(padding=(0, 2))
    steps = [point.step for point in result.points]
    table.add_row("steps", f"{steps[0]:,.0f} to {steps[-1]:,.0f}, {len(steps)} points")
    of_log = f": {escape(result.points[0].source)}" if result.source is Source.LOG else ""
    table.add_row("gain", result.measured + of_log)
    growth = result.trends[Direction.FORWARD].growth
    table.add_row("fit", f"ln(gain) over steps {growth.first_step:,.0f} to {growth.last_step:,.0f}, 95 % interval")
    return table


def _points(points: Sequence[TrendPoint]) -> Table:
    table = Table(box=None, padding=(0, 3, 0, 0), header_style="bold")
    table.add_column("step", justify="right")
    for direction in Direction:
        table.add_column(f"{direction} ({DIRECTION_WORDS[direction]})", justify="right")
    count = len(points)
    shown = range(count) if count <= MOST_POINTS else [round(i * (count - 1) / 11) for i in range(MOST_POINTS)]
    for at in shown:
        point = points[at]
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
        ways = [result.trends[direction] for direction in Direction]
        found = [next(each for each in way.crossings if each.name == name) for way in ways]
        words = (crossing_words(each, way.growth) for each, way in zip(found, ways, strict=True))
        table.add_row(limit_words(name), *words)
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

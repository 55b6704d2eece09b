"""The HTML report of a trend, on the same templates as that of a check."""

from collections.abc import Sequence
from dataclasses import dataclass

from mhcdiag.reports.check_words import SAMPLED
from mhcdiag.reports.html.gates import VERDICT_WORDS
from mhcdiag.reports.html.parts import Cell, Pill, Table, columns, environment
from mhcdiag.reports.html.pictures import draw_trend
from mhcdiag.reports.trend_console import (
    crossing_words,
    driver_words,
    events_of_log,
    growth_words,
    limit_words,
    sampled_words,
    worst_risk,
)
from mhcdiag.results.bands import DIRECTION_WORDS
from mhcdiag.results.evidence import bound_words
from mhcdiag.results.gain import Direction
from mhcdiag.results.numbers import text, text_beside
from mhcdiag.results.trend import JudgedTrend, TrendPoint, TrendResult
from mhcdiag.results.verdict import EXIT_CODES, Limit
from mhcdiag.version import __version__


@dataclass(frozen=True, kw_only=True, slots=True)
class TrendHeadline:
    """The verdict in words."""

    word: str
    """Pass, Pass on sampled inputs only, Fail, Could not judge."""
    tone: str
    """Class of its colours."""
    summary: str
    """What was measured, where and over which steps."""


def trend_page(judged: JudgedTrend) -> str:
    """The trend as one HTML document that loads nothing, with its picture inside."""
    result = judged.result
    steps = [point.step for point in result.points]
    sampled = sampled_words(judged)
    headline = TrendHeadline(
        word=f"{VERDICT_WORDS[judged.verdict]} {SAMPLED}" if sampled else VERDICT_WORDS[judged.verdict],
        tone="warning" if sampled else str(judged.verdict),
        summary=f"{result.path}: {len(steps)} points, steps {steps[0]:,.0f} to {steps[-1]:,.0f}",
    )
    return (
        environment()
        .get_template("trend.html")
        .render(
            command="mhcdiag trend",
            version=__version__,
            headline=headline,
            exit_text=f"exit code {EXIT_CODES[judged.verdict]}",
            reason=judged.reason or sampled,
            limits=_limits(judged),
            picture=draw_trend(result),
            growth=_growth(result),
            points=_points(result.points, "Gain by step"),
            beside=None
            if result.beside is None
            else _points(result.beside.points, f"Beside it: {result.beside.measured}"),
            risk=worst_risk(result),
            events=_events(result),
            remarks=_remarks(result),
        )
    )


def _limits(judged: JudgedTrend) -> Table:
    rows = tuple(
        (_pill(limit), limit.metric, *text_beside(limit.value, limit.limit), _evidence(limit))
        for limit in judged.limits
    )
    labels = ("verdict", "metric", "value", "limit", "evidence")
    note = (
        "A crossing is the step of the first gain above 1000, measured or projected: it passes at the limit or later."
    )
    return Table(
        caption="Gates",
        columns=columns(*labels, numeric=("value", "limit")),
        rows=rows,
        note=note if any(limit.metric.endswith("crossing") for limit in judged.limits) else "",
    )


def _pill(limit: Limit) -> Pill:
    return Pill(word="pass", tone="pass") if limit.passed else Pill(word="FAIL", tone="fail")


def _evidence(limit: Limit) -> str:
    if limit.evidence is None:
        return ""
    return str(limit.evidence) if limit.bound is None else f"{limit.evidence}, {bound_words(limit.bound)}"


def _growth(result: TrendResult) -> Table:
    ways = [result.trends[way] for way in Direction]
    rows: list[tuple[Cell, ...]] = [
        ("growth", *(growth_words(way.growth) for way in ways)),
        ("largest gain", *(f"{text(way.peak)} at step {way.peak_step:,.0f}" for way in ways)),
        ("newest gain", *(text(way.newest) for way in ways)),
    ]
    for name in (crossing.name for crossing in ways[0].crossings):
        found = [next(each for each in way.crossings if each.name == name) for way in ways]
        words = (crossing_words(each, way.growth) for each, way in zip(found, ways, strict=True))
        rows.append((limit_words(name), *words))
    if any(result.drivers.values()):
        rows.append(("driven by", *(driver_words(result.drivers.get(way, ())) for way in Direction)))
    fit = ways[0].growth
    return Table(
        caption="Growth and projection",
        columns=columns("", *(f"{way} ({DIRECTION_WORDS[way]})" for way in Direction)),
        rows=tuple(rows),
        note=f"Gain: {result.measured}. A line through ln(gain) over steps {fit.first_step:,.0f} to "
        f"{fit.last_step:,.0f}, with its 95 % interval; crossings if it goes on like that.",
    )


def _points(points: Sequence[TrendPoint], caption: str) -> Table:
    rows = tuple(
        (f"{point.step:,.0f}", point.source, *(text(point.gain[way]) for way in Direction)) for point in points
    )
    labels = ("step", "from", *map(str, Direction))
    return Table(caption=caption, columns=columns(*labels, numeric=("step", *map(str, Direction))), rows=rows)


def _events(result: TrendResult) -> Table:
    rows = tuple(
        (f"{event.start:,.0f}", str(event.kind), name, text(event.value)) for name, event in events_of_log(result)
    )
    labels = ("step", "event", "series", "value")
    return Table(caption="Events of the log", columns=columns(*labels, numeric=("step", "value")), rows=rows)


def _remarks(result: TrendResult) -> tuple[str, ...]:
    log = () if result.log is None else (f"log {result.log.path}",)
    return (*log, *result.notes, *(f"skipped: {each.what}: {each.reason}" for each in result.skipped))

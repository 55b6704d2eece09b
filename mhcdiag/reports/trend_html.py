"""A trend as a section of an HTML page, and as a page of its own."""

from html import escape

from mhcdiag.reports.trend_words import RISK_NOTE, crossing_words, growth_words, risk_words
from mhcdiag.results.gain import Direction
from mhcdiag.results.numbers import text, text_beside
from mhcdiag.results.trend import MEASURED, JudgedTrend

STYLE = (
    "body{font:14px sans-serif;margin:2em auto;max-width:60em}table{border-collapse:collapse}"
    "td,th{padding:.2em .8em;text-align:left;border-bottom:1px solid #ddd}svg{max-width:100%;height:auto}"
    ".fail{color:#c00000}.pass{color:#007020}"
)


def trend_section(judged: JudgedTrend, *, figure: str) -> str:
    """Verdict, growth, crossings and the figure, as one `section` element.

    Arguments: figure: the figure as SVG markup of our own making.
    """
    result = judged.result
    rows = [("growth", *(growth_words(result.trends[way].growth) for way in Direction))]
    for at, crossing in enumerate(result.trends[Direction.FORWARD].crossings):
        other = result.trends[Direction.BACKWARD].crossings
        match = next((each for each in other if each.name == crossing.name), other[at])
        rows.append((f"above {crossing.name}", crossing_words(crossing), crossing_words(match)))
    rows.append(("newest", *(text(result.trends[way].newest) for way in Direction)))
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    limits = "".join(
        f"<li class={'pass' if limit.passed else 'fail'}>{escape(limit.metric)} "
        f"{', limit '.join(map(escape, text_beside(limit.value, limit.limit)))}</li>"
        for limit in judged.limits
    )
    worst = max((result.trends[way].peak for way in Direction), key=float)
    return (
        f'<section id="trend"><h2>Gain over steps: {escape(result.path)}</h2>'
        f"<p class={judged.verdict}>{judged.verdict.upper()} {escape(judged.reason)}</p><ul>{limits}</ul>"
        f"<p>{escape(MEASURED[result.source])}; {len(result.points)} points</p>{figure}"
        f"<table><tr><th></th><th>forward</th><th>backward</th></tr>{body}</table>"
        f"<p>{escape(risk_words(worst))}; {escape(RISK_NOTE)}.</p></section>"
    )


def trend_page(judged: JudgedTrend, *, figure: str) -> str:
    """The section as a page that needs no network."""
    section = trend_section(judged, figure=figure)
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>mhcdiag trend</title>'
        f"<style>{STYLE}</style></head><body>{section}</body></html>\n"
    )

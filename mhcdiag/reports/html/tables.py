"""The numbers of one checkpoint and the events of one log as tables."""

import math

from mhcdiag.reports.html.parts import Column, Table, columns
from mhcdiag.reports.spikes_words import detail_text, outcome_text, score_text, span_text, value_text
from mhcdiag.results.bands import DIRECTION_WORDS, reading_of
from mhcdiag.results.check import AllowedEvent
from mhcdiag.results.gain import Definition, Direction, GainResult, Kind, Reduction, blame
from mhcdiag.results.numbers import text
from mhcdiag.results.spikes import KINDS_BY_SEVERITY, Event, LogResult
from mhcdiag.results.wording import badness, step_text

MOST_SPANS = 10
KIND_WORDS = {
    Kind.SINGLE: "of each site alone, P(l,l)",
    Kind.PREFIX: "from the first site to site l, P(1,l)",
    Kind.SUFFIX: "from site l to the last, P(l,L)",
}


def gain_summary(result: GainResult) -> Table:
    """Worst site, worst stretch, whole model and bound, in both directions and definitions."""
    rows = []
    for direction in Direction:
        for definition in Definition:
            single = result.gain[Kind.SINGLE, direction, definition, Reduction.MEAN]
            peak = max(range(len(single)), key=lambda site: badness(single[site]))
            worst = result.worst[direction, definition]
            bound = result.bound[direction].worst
            rows.append(
                (
                    f"{direction} ({DIRECTION_WORDS[direction]})",
                    str(definition),
                    f"{text(single[peak])} at {result.sites[peak]}",
                    text(worst.value),
                    worst.from_site if worst.from_site == worst.to_site else f"{worst.from_site} to {worst.to_site}",
                    text(result.gain[Kind.PREFIX, direction, definition, Reduction.MEAN][-1]),
                    "none" if bound is None or definition is Definition.AMAX else text(bound),
                    reading_of(result, direction).word,
                )
            )
    labels = ("direction", "definition", "worst site", "worst stretch", "of sites", "whole model", "bound", "reading")
    return Table(
        caption="Gain (token means)",
        columns=columns(*labels, numeric=("worst stretch", "whole model", "bound")),
        rows=tuple(rows),
        note="Bound (definition norm): "
        + "; ".join(dict.fromkeys(f"{result.bound[direction].why}" for direction in Direction)),
    )


def worst_spans(result: GainResult, direction: Direction) -> Table:
    """The stretches of sites with the largest gain."""
    norms = result.spans.get((direction, Definition.NORM), ())
    amaxes = result.spans.get((direction, Definition.AMAX), norms)
    cells = [(a, b) for a in range(len(norms)) for b in range(a, len(norms))]
    cells.sort(key=lambda ab: (-badness(norms[ab[0]][ab[1]]), ab[1] - ab[0], ab[0]))
    rows = tuple(
        (
            str(place),
            result.sites[a],
            result.sites[b],
            str(b - a + 1),
            text(norms[a][b], digits=6),
            text(amaxes[a][b], digits=6),
        )
        for place, (a, b) in enumerate(cells[:MOST_SPANS], 1)
    )
    labels = ("", "from site a", "to site b", "sites", "norm", "amax")
    return Table(
        caption=f"Worst stretches, {direction}",
        columns=columns(*labels, numeric=("", "sites", "norm", "amax")),
        rows=rows,
    )


def per_site(result: GainResult, kind: Kind) -> Table:
    """Every gain of one kind of product, site by site."""
    keys = [
        key for key in ((d, definition, r) for d in Direction for definition in Definition for r in Reduction)
        if (kind, *key) in result.gain
    ]  # fmt: skip
    heads = tuple(
        Column(label=str(reduction).replace("_", " "), group=f"{direction}, {definition}", numeric=True)
        for direction, definition, reduction in keys
    )
    curves = [[text(gain) for gain in result.gain[kind, *key]] for key in keys]
    return Table(
        caption=f"Gain {KIND_WORDS[kind]}",
        columns=(Column(label="site"), *heads),
        rows=tuple(zip(result.sites, *curves, strict=True)),
    )


def site_means(result: GainResult) -> Table:
    """What each site is: its tensor, its share of the log-gain, and its own residuals."""
    shares = {direction: blame(result, direction) for direction in Direction}
    heads = [Column(label="site"), Column(label="tensor that defines it")]
    cells: list[list[str]] = [list(result.sites), list(result.tensors)]
    for direction in Direction:
        heads.append(Column(label=f"share of log-gain, {direction}", numeric=True))
        cells.append([f"{100 * share:.1f} %" for share in shares[direction]])
    if result.sinkhorn is not None:
        for label, curve in (("row", result.sinkhorn.row_residual), ("column", result.sinkhorn.column_residual)):
            heads.append(Column(label=f"{label} sums off by", numeric=True))
            cells.append([text(value) for value in curve])
    for direction in Direction:
        bound = result.bound[direction].single
        if bound is not None:
            heads.append(Column(label=f"bound, {direction}", numeric=True))
            cells.append([text(value) for value in bound])
    return Table(caption="Sites", columns=tuple(heads), rows=tuple(zip(*cells, strict=True)))


def sinkhorn_words(result: GainResult) -> str:
    """How far the iteration stayed from doubly stochastic, in a sentence; empty where there was none."""
    quality = result.sinkhorn
    if quality is None:
        return ""
    inexact = quality.column_residual if quality.exact_side is Direction.FORWARD else quality.row_residual
    factor = text(math.exp(quality.log_sum_max)) if quality.log_sum_max < 700 else "more than 1e300"
    return (
        f"The {quality.exact_side} sums are 1 by construction. The sums of the other side are off by up to "
        f"{text(max(inexact, key=badness))} at one site (token mean); over the whole model the largest |ln sum| is "
        f"{text(quality.log_sum_mean)} in the token mean and {text(quality.log_sum_max)} at most, a factor of {factor}."
    )


MOST_EVENTS = 200


def events_table(log: LogResult, allowed: tuple[AllowedEvent, ...]) -> Table:
    """All events, the most severe first."""
    found = [(name, event) for name, series in log.series.items() for event in series.events]
    found.sort(key=lambda pair: (KINDS_BY_SEVERITY.index(pair[1].kind), pair[1].run, pair[1].start))
    known = {(one.series, one.kind, one.line) for one in allowed if one.path == log.path}
    rows = tuple(
        (
            str(event.kind) + (" (allowed)" if (name, event.kind, event.line) in known else ""),
            name,
            *_numbers(event),
            outcome_text(event),
            detail_text(event),
        )
        for name, event in found[:MOST_EVENTS]
    )
    numbers = ("run", "line", "steps", "points", "value", "baseline", "deviations", "duration", "area")
    more = len(found) - MOST_EVENTS
    return Table(
        caption="Events",
        columns=columns("event", "series", *numbers, "then", "gradient norm and notes", numeric=numbers),
        rows=rows,
        note=f"And {more:,} more, which the JSON and CSV reports list." if more > 0 else "",
    )


def series_table(log: LogResult) -> Table:
    """The judged series with their published spike scores."""
    rows = tuple(
        (
            name,
            series.source_name,
            f"{series.points:,}",
            score_text(series.spike_score.olmo2),
            score_text(series.spike_score.olmo_core),
            str(len(series.events)),
        )
        for name, series in log.series.items()
    )
    labels = ("series", "name in the log", "points", "spike score, OLMo 2", "spike score, OLMo-core", "events")
    return Table(caption="Series", columns=columns(*labels, numeric=labels[2:]), rows=rows)


def runs_table(log: LogResult) -> Table:
    """The runs inside the log."""
    rows = tuple(
        (str(place), step_text(run.first_step), step_text(run.last_step), f"{run.points:,}")
        for place, run in enumerate(log.runs, 1)
    )
    labels = ("run", "first step", "last step", "points with a loss")
    return Table(caption="Runs", columns=columns(*labels, numeric=labels), rows=rows)


def event_counts(log: LogResult) -> str:
    """How many events of which kind, in words."""
    kinds = [event.kind for series in log.series.values() for event in series.events]
    counts = [f"{kinds.count(kind)} {kind}" for kind in KINDS_BY_SEVERITY if kind in kinds]
    return ", ".join(counts) or "no events"


def _numbers(event: Event) -> tuple[str, ...]:
    return (
        str(event.run + 1),
        f"{event.line:,}",
        span_text(event),
        f"{event.points:,}",
        value_text(event.value),
        value_text(event.baseline),
        "" if math.isnan(event.z) else f"{event.z:.1f}",
        step_text(event.duration),
        value_text(event.area),
    )

"""The numbers of one checkpoint as tables."""

import math

from mhcdiag.reports.html.parts import Column, Table, columns
from mhcdiag.results.bands import DIRECTION_WORDS, band_of
from mhcdiag.results.gain import Definition, Direction, GainResult, Kind, Reduction, blame
from mhcdiag.results.numbers import text
from mhcdiag.results.wording import badness

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
                    band_of(worst.value).word,
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

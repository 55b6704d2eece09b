"""One panel of the gain figure: curves over depth, the lines they are read against, and sites that are broken."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from mhcdiag.plots.axes import EXPLODED, exponents, log_limits, set_log_axis
from mhcdiag.plots.sheet import PANEL_WIDTH, fitted, gain_text
from mhcdiag.plots.style import (
    DASHED,
    DIRECTION_COLOURS,
    DIRECTION_LABELS,
    DIRECTION_WIDTHS,
    DOTTED,
    GREY,
    RED,
    SMALL_SIZE,
)
from mhcdiag.results.gain import Curve, Definition, Direction, GainResult, Kind
from mhcdiag.results.numbers import is_finite

VISIBLE = 0.015
"""Share of the axis by which `norm` must leave `amax` to be drawn: below, the two lines would touch."""
BROKEN_ROOM = 0.28
"""Share of the axis kept free of curves, at the top, where broken sites are marked."""
MOST_NAMED = 3
"""BrokenSite sites that are named; more would not fit."""


class GainPanel(StrEnum):
    """What a panel shows, as in Figures 3 and 7 of arXiv 2512.24880."""

    SINGLE = "single"
    """Every site alone."""
    COMPOSITE = "composite"
    """Forward the sites up to l, backward those from l on: what signals and gradients have passed at site l."""

    def kind(self, direction: Direction) -> Kind:
        """The product of mappings that this panel shows in a direction."""
        if self is GainPanel.SINGLE:
            return Kind.SINGLE
        return Kind.PREFIX if direction is Direction.FORWARD else Kind.SUFFIX


@dataclass(frozen=True, kw_only=True, slots=True)
class BrokenSite:
    """A site that brings NaN or infinity into a curve."""

    index: int
    """Position in the stack, from 0."""
    label: str
    """Its name, and what stands there."""


def panel_limits(
    results: Iterable[GainResult], panel: GainPanel, definitions: Sequence[Definition]
) -> tuple[float, float]:
    """Ends of the gain axis, as decimal logarithms, that suits all results."""
    shown = [
        result.curve(panel.kind(direction), direction, definition)
        for result in results
        for direction in Direction
        for definition in definitions
    ]
    low, high = log_limits(shown)
    broken = any(not is_finite(number) for curve in shown for number in curve)
    return low, high + (BROKEN_ROOM * (high - low) if broken else 0.0)


def prepare_panel(axes: Axes, *, sites: int, limits: tuple[float, float]) -> None:
    """Give a panel its range, its gain axis and the lines to read it by."""
    margin = max(0.5, 0.02 * sites)
    axes.set_xlim(1 - margin, sites + margin)
    axes.set_ylim(*limits)
    set_log_axis(axes.yaxis, *limits)
    axes.grid(axis="y")
    axes.tick_params(axis="y", which="minor", length=1.5)
    axes.axhline(0.0, color=GREY, linewidth=0.8, zorder=1.5, label="gain 1")
    if limits[0] <= EXPLODED <= limits[1]:
        axes.axhline(EXPLODED, color="black", linewidth=0.9, linestyle=DOTTED, zorder=1.5, label="exploded")


def draw_directions(axes: Axes, result: GainResult, panel: GainPanel) -> None:
    """Draw both directions of one result: `amax`, and `norm` where it can be told from it."""
    low, high = axes.get_ylim()
    for direction in Direction:
        kind = panel.kind(direction)
        amax = result.curve(kind, direction, Definition.AMAX)
        norm = result.curve(kind, direction, Definition.NORM)
        colour = DIRECTION_COLOURS[direction]
        if _differ(amax, norm, by=VISIBLE * (high - low)):
            label = f"{direction} norm"
            draw_curve(axes, norm, label=label, color=colour, linewidth=0.8, linestyle=DASHED, fillstyle="none")
        draw_curve(axes, amax, label=f"{direction} amax", color=colour, linewidth=DIRECTION_WIDTHS[direction])


def draw_curve(axes: Axes, curve: Curve, *, label: str, **line: Any) -> None:
    """Draw one curve over the sites; NaN, infinity and 0 leave gaps, and zeros a mark at the bottom."""
    numbers = range(1, len(curve) + 1)
    logs = exponents(curve)
    gaps = [True, *map(math.isnan, logs), True]
    alone = [i for i in range(len(logs)) if gaps[i] and gaps[i + 2]]
    # A site between two gaps has no line to show it. Its dot grows with the line, so that equal ones show as a ring.
    dots = {"marker": "o", "markersize": 3 + 1.5 * line["linewidth"], "markevery": alone} if alone else {}
    axes.plot(numbers, logs, label=label, **line, **dots)
    zeros = [number for number, gain in zip(numbers, curve, strict=True) if gain == 0]
    if zeros:
        bottom = axes.get_xaxis_transform()
        axes.plot(zeros, [0.03] * len(zeros), "v", color=line["color"], markersize=4, transform=bottom, label="zero")


def broken_sites(result: GainResult, panel: GainPanel, *, prefix: str = "") -> list[BrokenSite]:
    """Sites that bring NaN or infinity into the `amax` curves of a panel, in depth order.

    A composite is broken from the first such site on; only the site where that begins is named.
    """
    found: dict[int, BrokenSite] = {}
    for direction in Direction:
        kind = panel.kind(direction)
        curve = result.curve(kind, direction, Definition.AMAX)
        single = result.curve(Kind.SINGLE, direction, Definition.AMAX)
        before = {Kind.SINGLE: None, Kind.PREFIX: -1, Kind.SUFFIX: 1}[kind]
        for index, number in enumerate(curve):
            if is_finite(number) or (before is not None and not _finite_at(curve, index + before)):
                continue
            # The site's own value says more than that of the composite, in which infinity soon turns into NaN.
            shown = number if is_finite(single[index]) else single[index]
            found.setdefault(index, BrokenSite(index=index, label=f"{prefix}{result.sites[index]} {gain_text(shown)}"))
    return [found[index] for index in sorted(found)]


def mark_broken(axes: Axes, broken: Sequence[BrokenSite]) -> None:
    """Mark broken sites by red triangles at the top and name the first few below them."""
    if not broken:
        return
    top = axes.get_xaxis_transform()
    numbers = [each.index + 1 for each in broken]
    axes.plot(numbers, [0.95] * len(broken), "^", color=RED, markersize=5, transform=top, label="broken", zorder=5)
    names = ", ".join(each.label for each in broken[:MOST_NAMED])
    more = f", {len(broken) - MOST_NAMED} more" if len(broken) > MOST_NAMED else ""
    left, right = axes.get_xlim()
    share = (numbers[0] - left) / (right - left)
    line = fitted(names + more, width=PANEL_WIDTH * max(share, 1 - share), size=SMALL_SIZE)
    side = "left" if share < 0.5 else "right"
    axes.text(numbers[0], 0.88, line, color=RED, ha=side, va="top", size=SMALL_SIZE, transform=top, parse_math=False)


def shade_broken(axes: Axes, curves: Iterable[Curve]) -> None:
    """Shade the sites at which any of the curves has no number, so that a gap is not read as the end of the model."""
    by_site = zip(*curves, strict=True)
    for number, gains in enumerate(by_site, 1):
        if not all(is_finite(gain) for gain in gains):
            axes.axvspan(number - 0.5, number + 0.5, color=RED, alpha=0.08, linewidth=0, zorder=0.5)


def peak(curve: Curve) -> str:
    """The largest gain of a curve, for people."""
    return gain_text(max(curve)) if all(is_finite(number) for number in curve) else "not finite"


def legend_entries(panels: Iterable[Axes]) -> list[Line2D]:
    """Legend handles for what the panels of one figure show."""
    drawn = {str(line.get_label()) for axes in panels for line in axes.get_lines()}
    entries = {
        **{
            f"{each} amax": _line(
                DIRECTION_LABELS[each], color=DIRECTION_COLOURS[each], linewidth=DIRECTION_WIDTHS[each]
            )
            for each in Direction
        },
        "norm": _line("norm, where it differs", color=GREY, linewidth=0.9, linestyle=DASHED),
        "exploded": _line(f"gain {10**EXPLODED:.0f}", color="black", linewidth=0.9, linestyle=DOTTED),
        "zero": _line("gain 0", color=GREY, marker="v", markersize=4, linestyle="none"),
        "broken": _line("NaN or infinity", color=RED, marker="^", markersize=5, linestyle="none"),
    }
    drawn |= {"norm"} if any(label.endswith(" norm") for label in drawn) else set()
    return [entry for key, entry in entries.items() if key in drawn]


def _line(label: str, *, color: str, **line: Any) -> Line2D:
    return Line2D([], [], label=label, color=color, **line)


def _differ(one: Curve, other: Curve, *, by: float) -> bool:
    pairs = zip(exponents(one), exponents(other), strict=True)
    return any(abs(a - b) > by for a, b in pairs if not math.isnan(a - b))


def _finite_at(curve: Curve, index: int) -> bool:
    return not 0 <= index < len(curve) or is_finite(curve[index])

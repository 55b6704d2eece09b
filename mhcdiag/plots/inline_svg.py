"""A figure as SVG that stands inside an HTML page: small, in the page's own colours and letters, with tooltips."""

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from matplotlib import rc_context
from matplotlib.figure import Figure

from mhcdiag.plots.style import DIRECTION_COLOURS, GREY, LIGHT_GREY, RED, house_style
from mhcdiag.results.gain import Direction

MOST_BANDS = 120
"""Bands across one panel of a long series: narrower ones could not be pointed at."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Tip:
    """A rectangle in the coordinates of its axes, with the text that belongs to it."""

    left: float
    """Where it begins."""
    right: float
    """Where it ends; a rectangle too narrow to be hit is widened when drawn."""
    text: str
    """What it says, over one or several lines."""
    low: float | None = None
    """Lower end; None for the bottom of the axes."""
    high: float | None = None
    """Upper end; None for the top of the axes."""
    axes: int = 0
    """Which axes of the figure, from 0."""


POINTS_PER_INCH = 72.0
NARROWEST = 2.0
"""Points; a tooltip's rectangle is at least that wide."""

VARIABLES = {
    DIRECTION_COLOURS[Direction.FORWARD]: "blue",
    DIRECTION_COLOURS[Direction.BACKWARD]: "vermilion",
    "#009E73": "green",
    "#CC79A7": "pink",
    "#E69F00": "orange",
    "#56B4E9": "sky",
    RED: "red",
    GREY: "muted",
    LIGHT_GREY: "rule",
    "#000000": "ink",
}
"""Custom property of the page (`--blue`) by colour: a page with a dark ground sets lighter ones."""

_COLOURS = {colour.lower(): f"var(--{name}, {colour.lower()})" for colour, name in VARIABLES.items()}
_TAG = re.compile(r"<[^>]+>")
_LONG_NUMBER = re.compile(r"\d+\.\d{3,}")
_NOT_FOR_A_PAGE = re.compile(r"<\?xml.*?\?>|<!DOCTYPE.*?>|<metadata>.*?</metadata>|<!--.*?-->", re.DOTALL)


def inline_svg(figure: Figure, *, prefix: str, tips: Sequence[Tip] = ()) -> str:
    """The figure as one `<svg>` element.

    Letters stay text, so that the page chooses their font; colours of our palette become custom properties with the
    printed colour as fallback; the ground is left out.

    Parameters
    ----------
    figure
        A figure of this package.
    prefix
        Begins every identifier: two figures on one page must not share any.
    tips
        What to say at which places.
    """
    buffer = io.StringIO()
    # Files get their letters as paths, to look the same everywhere; a page has a font of its own.
    with house_style(), rc_context({"svg.fonttype": "none"}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    bare = _NOT_FOR_A_PAGE.sub("", buffer.getvalue())
    body = _TAG.sub(lambda tag: _page_tag(tag[0]), bare[bare.index(">", bare.index("<svg")) + 1 :])
    body = _own_identifiers(body[: body.rindex("</svg>")], prefix)
    width, height = (POINTS_PER_INCH * inches for inches in figure.get_size_inches())
    drawn_tips = "".join(_tip(figure, tip) for tip in tips)
    layer = f'<g class="tips" fill="none" pointer-events="all">{drawn_tips}</g>' if drawn_tips else ""
    return f'<svg viewBox="0 0 {width:.6g} {height:.6g}" width="{width:.0f}" height="{height:.0f}">{body}{layer}</svg>'


def _page_tag(tag: str) -> str:
    """One tag with coordinates to a hundredth of a point, and with the page's colours."""
    shorter = _LONG_NUMBER.sub(lambda number: f"{float(number[0]):.2f}".rstrip("0").rstrip("."), tag)
    return re.sub(r"#[0-9a-f]{6}\b", lambda colour: _COLOURS.get(colour[0], colour[0]), shorter)


def _own_identifiers(body: str, prefix: str) -> str:
    """Identifiers that are referred to, with a prefix; the others are dropped."""
    # Identifiers hold for the whole page: where two figures use one, the browser takes the first.
    used = set(re.findall(r'(?:url\(#|href="#)([^)"]+)', body))
    body = re.sub(r' id="([^"]+)"', lambda found: f' id="{prefix}-{found[1]}"' if found[1] in used else "", body)
    body = re.sub(r'(url\(#|href="#)', rf"\g<1>{prefix}-", body)
    return re.sub(r"\n\s*", "\n", body)


def _tip(figure: Figure, tip: Tip) -> str:
    axes = figure.axes[tip.axes]
    low, high = sorted(axes.get_ylim())
    bottom, top = (low if tip.low is None else tip.low), (high if tip.high is None else tip.high)
    # SVG counts downwards from the top, in points of 1/72 inch; matplotlib upwards, in dots.
    corners = axes.transData.transform([(tip.left, bottom), (tip.right, top)]) * POINTS_PER_INCH / figure.dpi
    (left, right), (lower, upper) = sorted(corners[:, 0]), sorted(corners[:, 1])
    widened = max(0.0, NARROWEST - (right - left)) / 2
    x, width = left - widened, right - left + 2 * widened
    y = POINTS_PER_INCH * figure.get_size_inches()[1] - upper
    box = f'x="{x:.4g}" y="{y:.4g}" width="{width:.3g}" height="{upper - lower:.4g}"'
    return f"<rect {box}><title>{escape(tip.text, quote=False)}</title></rect>"

"""One row of the gain figure: a heading above two panels of curves."""

from collections.abc import Sequence

from matplotlib.axes import Axes

from mhcdiag.plots.fitted_text import fitted
from mhcdiag.plots.gain_panel import Panel, prepare_panel
from mhcdiag.plots.sheet import LEFT, PANEL_LEFTS, PANEL_WIDTH, RIGHT, WIDTH, Sheet
from mhcdiag.plots.site_axis import set_site_axis
from mhcdiag.plots.style import GREY, LABEL_SIZE, TITLE_SIZE

CURVES_TOP = 0.38
"""Inches above the first row, for the legend."""
HEADING_HEIGHT = 0.63
PANEL_HEIGHT = 1.75
CURVES_HEIGHT = HEADING_HEIGHT + PANEL_HEIGHT + 0.66
"""Inches of a row with its heading above and its tick and axis labels below."""


def draw_heading(sheet: Sheet, name: str, facts: str, *, top: float) -> None:
    """Write the name of a row, and below it what a reader must know of its numbers."""
    width = WIDTH - LEFT - RIGHT
    shown = fitted(name, width=width, size=TITLE_SIZE, weight="bold")
    sheet.text(shown, left=LEFT, top=top, size=TITLE_SIZE, weight="bold")
    sheet.text(fitted(facts, width=width, size=LABEL_SIZE), left=LEFT, top=top + 0.19, size=LABEL_SIZE, color=GREY)


def curve_axes(
    sheet: Sheet, panel: Panel, *, top: float, sites: int, names: Sequence[str], limits: tuple[float, float]
) -> Axes:
    """An empty panel of the row that begins at `top`: the single-site one left, the composite one right.

    Parameters
    ----------
    sites
        Number of sites.
    names
        Their names; empty where checkpoints differ in them.
    limits
        Ends of the gain axis as decimal logarithms.
    """
    left = PANEL_LEFTS[list(Panel).index(panel)]
    axes = sheet.axes(left=left, top=top + HEADING_HEIGHT, width=PANEL_WIDTH, height=PANEL_HEIGHT)
    prepare_panel(axes, sites=sites, limits=limits)
    set_site_axis(axes.xaxis, sites, length=PANEL_WIDTH, names=names)
    if panel is Panel.SINGLE:
        axes.set_title("single site", loc="left", weight="bold")
        axes.set_xlabel("site $l$")
        axes.set_ylabel("gain (amax, token mean)")
    else:
        axes.set_title("composite", loc="left", weight="bold")
        axes.set_xlabel(f"site $l$ (forward: 1 to $l$, backward: $l$ to {sites})" if names else "site $l$")
    axes.yaxis.set_label_coords(-0.5 / PANEL_WIDTH, 0.5)
    return axes

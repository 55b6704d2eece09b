"""How all figures look: palette, fonts, line widths, and what makes the bytes of a saved figure reproducible."""

from contextlib import AbstractContextManager
from typing import Any

import matplotlib
from matplotlib import colormaps
from matplotlib.colors import to_hex

from mhcdiag.results.bands import DIRECTION_WORDS
from mhcdiag.results.gain import Direction

FONT = "DejaVu Sans"
"""Comes with matplotlib, so that a figure is the same on every machine."""

DIRECTION_COLOURS = {Direction.FORWARD: "#0072B2", Direction.BACKWARD: "#D55E00"}
"""Blue and vermilion of Okabe and Ito: told apart with every kind of colour vision, and in grey by lightness."""
DIRECTION_LABELS = {each: f"{each} ({DIRECTION_WORDS[each]})" for each in Direction}
"""Their names in legends."""
DIRECTION_WIDTHS = {Direction.FORWARD: 1.9, Direction.BACKWARD: 1.1}
"""Points. Backward is drawn on top of forward: where both are equal, the wider line still shows at its sides."""
CHECKPOINT_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""The palette of Okabe and Ito without its yellow, which white paper swallows."""
CHECKPOINT_COLOURMAP = "viridis"
"""For more checkpoints than the palette holds: usually steps of one run, whose order the colours then show."""
HEAT_COLOURMAP = "cividis"
"""Perceptually uniform, made to look the same with deficient colour vision."""
DASHED = (0, (3, 1.5))
DOTTED = (0, (1, 2))
"""Lengths of ink and gap, in widths of the line."""
RED = "#C00000"
"""NaN and infinity only."""
GREY = "#606060"
LIGHT_GREY = "#DDDDDD"

TITLE_SIZE = 9.0
LABEL_SIZE = 8.0
SMALL_SIZE = 7.0
"""Points at 8 inches; printed at 6.5 inches, the text width of a page, the smallest letters are 5.7 points."""

DOTS_PER_INCH = 200
"""8 inches are 1600 pixels."""

RC: dict[str, Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": GREY,
    "axes.labelcolor": "black",
    "axes.labelsize": LABEL_SIZE,
    "axes.linewidth": 0.7,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": LABEL_SIZE,
    "font.family": FONT,
    "font.size": LABEL_SIZE,
    "grid.color": LIGHT_GREY,
    "grid.linewidth": 0.5,
    "legend.fontsize": LABEL_SIZE,
    "legend.frameon": False,
    "lines.solid_capstyle": "round",
    "mathtext.fontset": "dejavusans",
    "pdf.fonttype": 42,
    "svg.fonttype": "path",
    "svg.hashsalt": "mhcdiag",
    "text.parse_math": True,
    "text.usetex": False,
    "xtick.color": GREY,
    "xtick.labelcolor": "black",
    "xtick.labelsize": SMALL_SIZE,
    "ytick.color": GREY,
    "ytick.labelcolor": "black",
    "ytick.labelsize": SMALL_SIZE,
}

SAVE_OPTIONS: dict[str, dict[str, Any]] = {
    ".png": {},
    ".svg": {"metadata": {"Date": None}},
    ".pdf": {"metadata": {"CreationDate": None}},
}
"""Keyword arguments of `Figure.savefig` by suffix: without the date, equal results give equal bytes."""


def house_style() -> AbstractContextManager[None]:
    """The style while a figure is made or saved; the caller's own settings stand again afterwards.

    It begins from matplotlib's defaults, because a reader's matplotlibrc must not change a figure of ours.
    """
    # The backend belongs to the caller: naming it here would switch it.
    settings: Any = {key: value for key, value in matplotlib.rcParamsDefault.items() if not key.startswith("backend")}
    return matplotlib.rc_context(settings | RC)


def checkpoint_colours(count: int) -> list[str]:
    """One colour per checkpoint: told apart where the palette suffices, else in their order."""
    if count <= len(CHECKPOINT_COLOURS):
        return list(CHECKPOINT_COLOURS[:count])
    colourmap = colormaps[CHECKPOINT_COLOURMAP]
    # Its last tenth is too light a yellow for lines on white.
    return [to_hex(colourmap(0.9 * i / (count - 1))) for i in range(count)]

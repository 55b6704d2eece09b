"""How logs are read, in words for `mhcdiag explain formats`."""

from mhcdiag.detectors.nonfinite import OVERFLOWS, REACH
from mhcdiag.detectors.other_series import BLANK_SHARE, IN_A_ROW, OVERDUE
from mhcdiag.detectors.ranks import FACTOR, LEAST, NAMELESS
from mhcdiag.policies.verdicts import MOST_UNREADABLE
from mhcdiag.runlogs import FORMATS
from mhcdiag.runlogs.choice import MOST_AT_ONCE, REGULAR
from mhcdiag.runlogs.detection import HEAD_LINES
from mhcdiag.runlogs.steps import MOST_MISSING

FORMATS_TOPIC = "formats"
FORMATS_TITLE = "how a log is read: its format, its step, its loss, its gradient norm, and which NaN counts"

_PARAGRAPHS = (
    (
        "When",
        f"All is decided once, on the first {HEAD_LINES:,} lines (longer where fewer than eight of them carry a loss), "
        "the same for a log that is read whole and one that is followed. What comes later changes nothing: if it "
        "speaks against the choice (the step is gone, the judged loss ends and another goes on), the log is unjudged.",
    ),
    (
        "Format",
        "The format that reads most records wins, a loss counting four times as much as other numbers; `generic` must "
        "read twice as much as every other. `--log-format` names one, `--regex` replaces it.",
    ),
    (
        "Step",
        "What the format fixes; else the series or counter whose name says step, iteration, update or batch, that "
        f"stands in {MOST_MISSING:.0%} of the records at least, moves with them and seldom goes back. In `generic` "
        "lines also fractions (`[120/1000]`), bracketed and leading numbers, and counters on a line above; a "
        "percentage, a date, a rank `(2/8)` and a number that stands still never are. A count that begins again with "
        "an epoch is joined to one. Without any, the epoch, then the number of the record; the notes say so.",
    ),
    (
        "Loss",
        "What the format fixes; else by words: `loss` and `train_loss`, the total, the step's, any other, an average "
        "over steps before, a part (critic, entropy, boxes, routers), in this order; a series that is recorded less "
        "than a third as often as its rivals is none. Without a training loss the evaluation loss. `--loss-key`.",
    ),
    (
        "Gradient norm",
        "`grad_norm` and its spellings, then the norm before clipping, then that of a part of the model, at last the "
        "norm after clipping, which hides the size of the gradient. Norms of single layers are never the one.",
    ),
    (
        "Records of one step",
        f"Ranks that name themselves, and up to {MOST_AT_ONCE} records of a step if {REGULAR:.0%} of the steps have "
        "equally many, make one point: their mean, not finite if any of them is not. A rank above "
        f"{FACTOR:g} times the median of at least {LEAST} is an event of kind `rank` (from {NAMELESS} steps in a row "
        "where ranks have no name). Where most records share a step otherwise, their numbers stand for it. A line "
        "that repeats the one before counts once.",
    ),
    (
        "NaN",
        "Every NaN or infinity of the main loss and the gradient norm counts, and so does a message that announces "
        f"one. A norm is excused where the fp16 loss scaler answered within {REACH:g} records (its scale fell, a "
        f"counter of skipped steps rose, an overflow message), up to {OVERFLOWS - 1} in a row. Every other series "
        f"whose name says loss or gradient norm is watched, too: {IN_A_ROW} NaN in a row, or NaN to the end, fail; "
        "fewer are `isolated_nan` and warn. Where NaN stands in more than "
        f"{BLANK_SHARE:.0%} of the rows before the last finite value (for the main loss in tables only), it means "
        f"'not recorded', until no value has come for {OVERDUE:g} of the series' own intervals. An evaluation that "
        "never was finite was not made.",
    ),
    (
        "Nothing vanishes",
        "Lines with a loss = points + points that a resume wrote again + records merged into a point + unreadable "
        f"lines + lines left out with a reason. More than {MOST_UNREADABLE:.0%} unreadable or left out leave a log "
        "unjudged.",
    ),
)


def format_words() -> list[tuple[str, str]]:
    """Return the paragraphs on how logs are read, and the formats: title and text of each."""
    names = "; ".join(f"{one.name}: {one.title}" for one in FORMATS)
    return [*_PARAGRAPHS, ("Formats", f"{names}.")]

"""Which series of a log are gains of Hyper-Connections, and which of several is to be judged: by words of their names.

People log the gain of single layers, of the product over all of them, its mean and its largest value side by side.
A single layer stays at 1 while the product reaches 10,000, so that the first column is not good enough.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mhcdiag.runlogs.names import plain

FORWARD, BACKWARD = "forward", "backward"

_DIRECTIONS = {FORWARD: frozenset({"forward", "fwd", "fw"}), BACKWARD: frozenset({"backward", "bwd", "bw"})}
_GAINS = frozenset({"gain", "gains", "amax"})
# A logarithm is another quantity, and fp8 recipes keep an "amax" of their own.
_OTHERS = frozenset({"log", "log2", "log10", "ln", "db", "fp8", "history", "min", "std", "var"})
_COMPOSITE = frozenset({
    "composite", "comp", "product", "prod", "prefix", "suffix", "cumulative", "cum", "total", "end2end", "model",
})  # fmt: skip
_SINGLE = frozenset({
    "layer", "layers", "site", "sites", "block", "blocks", "h", "attn", "attention", "mlp", "ffn", "ff", "moe",
    "single",
})  # fmt: skip
_WORST = frozenset({"max", "worst", "peak", "largest", "maximum"})
_MEAN = frozenset({"mean", "avg", "average", "median"})
# Names without a direction that can be nothing else: "max_gain", "composite_gain", "G_raw".
_PLAIN = frozenset({"g_raw", "gain_raw", "raw_gain"})
# What `mhcdiag.Monitor` writes; "forward" alone would also be a time.
_MONITOR = ("forward", "backward", "forward_max", "backward_max")


@dataclass(frozen=True, kw_only=True, slots=True)
class GainName:
    """One series that is a gain."""

    name: str
    """Its name in the log."""
    direction: str
    """`forward`, `backward`, or empty where the name says none."""
    rank: tuple[int, int]
    """Composite before whole before single, worst before plain before mean; the smallest is judged."""

    @property
    def single(self) -> bool:
        """Whether the name says that it is the gain of one layer or site."""
        return self.rank[0] == 2


def gain_name(name: str) -> GainName | None:
    """Return what a name says of a gain, None if it is none."""
    words = plain(name).split("_")
    found = set(words)
    direction = next((way for way, named in _DIRECTIONS.items() if named & found), "")
    said = bool(_GAINS & found) or (words[-2:-1] == ["g"] and bool(direction))
    whole = "_".join(words[-2:]) in _PLAIN or bool({"gain", "gains"} & found and found & (_COMPOSITE | _WORST))
    if _OTHERS & found or not ((said and direction) or (whole and not _SINGLE & found)):
        return None
    numbered = any(word.isdigit() for word in words)
    level = 0 if _COMPOSITE & found else 2 if _SINGLE & found or numbered else 1
    spread = 0 if _WORST & found else 2 if _MEAN & found else 1
    return GainName(name=name, direction=direction, rank=(level, spread))


def gain_names(names: Sequence[str]) -> list[GainName]:
    """Return all series that are gains, in the order of the log."""
    own = _monitors(names)
    if own:
        return own
    return [found for name in names if (found := gain_name(name)) is not None]


def _monitors(names: Iterable[str]) -> list[GainName]:
    """Return the columns of our own `Monitor`, whatever stands before their names.

    There `forward` is the largest token mean over all products, which is what `mhcdiag gain` measures; `forward_max` is
    that of the worst token. Both say what they are, and the former is judged.
    """
    known = list(names)
    for prefix in ("gain_", "gain/", ""):
        ours = [prefix + one for one in _MONITOR]
        beside = {"tokens", "sites", "gain/log10_forward"}
        if all(one in known for one in ours) and (prefix == "gain_" or beside.intersection(known)):
            return [
                GainName(name=one, direction=FORWARD if "forward" in one else BACKWARD, rank=(0, int("max" in one)))
                for one in ours
            ]
    return []


def best_gains(found: Sequence[GainName], direction: str) -> list[GainName]:
    """Return the series to judge in one direction: all that rank best, of which the largest value counts at each step.

    Names without a direction are taken for forward gains, that of the signals.
    """
    ways = (direction, "") if direction == FORWARD else (direction,)
    mine = [one for one in found if one.direction in ways]
    best = min((one.rank for one in mine), default=None)
    return [one for one in mine if one.rank == best]

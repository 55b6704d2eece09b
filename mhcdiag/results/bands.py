"""What a gain means, in words.

The bands are calibrated on the paper's 27B models and on independent reproductions; they are
a reading aid, not a law: a gain is a level of risk, and it does not time a spike.
"""

from dataclasses import dataclass

from mhcdiag.results.gain import Direction
from mhcdiag.results.numbers import Number, is_finite, within

EXPLODED_GAIN = 1000.0
"""The gain at which arXiv 2512.24880 calls hyper-connections exploded: the limit of every command unless another is
given, the level whose crossing `trend` and `toy` report, and the line that figures draw."""

DEFAULT_MAX_GAIN = EXPLODED_GAIN
"""Largest gain that passes where the user names no other."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Band:
    """A range of gains that calls for the same reaction."""

    upto: float
    """Largest gain of the band."""
    word: str
    """One word for tables."""
    meaning: str
    """What it says about the model."""
    advice: str
    """What to do."""


BANDS = (
    Band(
        upto=1.1,
        word="calm",
        meaning="streams are passed on at their own size",
        advice="nothing to do",
    ),
    Band(
        upto=3.0,
        word="normal",
        meaning="mild amplification; for mHC the usual error of finite Sinkhorn iterations (the paper reports 1.6)",
        advice="nothing to do; compare with later checkpoints",
    ),
    Band(
        upto=30.0,
        word="watch",
        meaning="more than Sinkhorn-constrained mappings of healthy models show",
        advice="measure the next checkpoints too: steady growth matters more than the level",
    ),
    Band(
        upto=EXPLODED_GAIN,
        word="warn",
        meaning="signals or gradients change size by orders of magnitude across depth",
        advice="check the trend, the learning rate of the connections, and the headroom of the streams' dtype",
    ),
    Band(
        upto=float("inf"),
        word="exploded",
        meaning="the paper calls this level exploded; its 27B run reached about 3000, and its loss spiked",
        advice="constrain the mappings (mHC), lower their learning rate, or go back to an earlier checkpoint",
    ),
)

LEVELS = tuple(band.upto for band in BANDS if band.word in ("normal", "watch", "warn"))
"""Gains whose crossing is worth knowing: the upper ends of these bands, of which `EXPLODED_GAIN` is the last."""

BROKEN = Band(
    upto=float("nan"),
    word="broken",
    meaning="a mapping holds NaN or infinity",
    advice="do not continue from this checkpoint: go back to the last one without",
)


def band_of(gain: Number) -> Band:
    """The band of a gain; NaN and infinity are `BROKEN`."""
    if not is_finite(gain):
        return BROKEN
    return next((band for band in BANDS if within(gain, band.upto)), BANDS[-1])


DIRECTION_WORDS = {Direction.FORWARD: "signals", Direction.BACKWARD: "gradients"}
"""What travels in each direction."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RiskBand:
    """Runs by the largest gain they had reached before their first event (or at all)."""

    upto: float
    """Largest gain of the band."""
    runs: int
    """Runs of unconstrained hyper-connections in it."""
    events: int
    """Of these, runs with a loss spike, a collapse or NaN."""


RISK = (
    RiskBand(upto=EXPLODED_GAIN, runs=0, events=0),
    RiskBand(upto=1e5, runs=1, events=0),
    RiskBand(upto=1e7, runs=1, events=1),
    RiskBand(upto=1e9, runs=3, events=1),
    RiskBand(upto=float("inf"), runs=4, events=4),
)
"""Of `benchmarks/toy_study.csv`; a test compares them."""


def risk_of(gain: Number) -> RiskBand:
    """The band of a gain; the last one for what is not finite."""
    return next((band for band in RISK if within(gain, band.upto)), RISK[-1])

"""What a gain means, in words.

The bands are calibrated on the paper's 27B models and on independent reproductions; they are
a reading aid, not a law: a gain is a level of risk, and it does not time a spike.
"""

import math
from dataclasses import dataclass

from mhcdiag.results.evidence import doubt_of_bounds, doubt_of_inputs, remedy
from mhcdiag.results.gain import Definition, Direction, GainResult
from mhcdiag.results.health import SEVERITIES, Severity
from mhcdiag.results.numbers import Number, is_finite, text, within

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
    severity: Severity | None
    """How bad that is, in the words of `mhcdiag health`; None where all is well."""


BANDS = (
    Band(
        upto=1.1,
        word="calm",
        meaning="streams are passed on at their own size",
        advice="nothing to do",
        severity=None,
    ),
    Band(
        upto=3.0,
        word="normal",
        meaning="mild amplification; for mHC the usual error of finite Sinkhorn iterations (the paper reports 1.6)",
        advice="nothing to do; compare with later checkpoints",
        severity=None,
    ),
    Band(
        upto=30.0,
        word="watch",
        meaning="more than Sinkhorn-constrained mappings of healthy models show",
        advice="measure the next checkpoints too: steady growth matters more than the level",
        severity=Severity.NOTE,
    ),
    Band(
        upto=EXPLODED_GAIN,
        word="warn",
        meaning="signals or gradients change size by orders of magnitude across depth",
        advice="check the trend, the learning rate of the connections, and the headroom of the streams' dtype",
        severity=Severity.WARN,
    ),
    Band(
        upto=float("inf"),
        word="exploded",
        meaning="the paper calls this level exploded; its 27B run reached about 3000, and its loss spiked",
        advice="constrain the mappings (mHC), lower their learning rate, or go back to an earlier checkpoint",
        severity=Severity.FAIL,
    ),
)

LEVELS = tuple(band.upto for band in BANDS if band.word in ("normal", "watch", "warn"))
"""Gains whose crossing is worth knowing: the upper ends of these bands, of which `EXPLODED_GAIN` is the last."""

BROKEN = Band(
    upto=float("nan"),
    word="broken",
    meaning="a mapping holds NaN or infinity",
    advice="do not continue from this checkpoint: go back to the last one without",
    severity=Severity.FAIL,
)


def band_of(gain: Number) -> Band:
    """The band of a gain; NaN and infinity are `BROKEN`."""
    if not is_finite(gain):
        return BROKEN
    return next((band for band in BANDS if within(gain, band.upto)), BANDS[-1])


def reading_of(result: GainResult, direction: Direction) -> Band:
    """What the worst gain of one direction says, in view of what it rests on.

    Real tokens may amplify more than a sample: only its bound can then say that all is well.
    """
    value, bound = result.worst[direction, Definition.NORM].value, result.bound[direction].worst
    band, doubt = band_of(value), doubt_of_inputs(result)
    if not doubt or band.severity is Severity.FAIL:
        return band
    top = BANDS[-1] if bound is None or doubt_of_bounds(result) else band_of(bound)
    if top is band or not within(value, top.upto):
        return band
    if top is not BANDS[-1]:
        return _limited(band, top, value=value, bound=bound, doubt=doubt)
    reached = f"{doubt} reach {text(value)}, and real tokens may amplify many times more"
    if band.severity is not None:
        reached = f"{band.meaning}; real tokens may amplify many times more than {doubt}"
    word = "unknown" if band.severity is None else f"at least {band.word}"
    return Band(upto=math.inf, word=word, meaning=reached, advice=remedy(result), severity=Severity.WARN)


def _limited(band: Band, top: Band, *, value: Number, bound: Number | None, doubt: str) -> Band:
    """The reading of a sample whose bound lies in a higher band, though not in the highest."""
    meaning = f"{doubt} reach {text(value)}, and no input exceeds {text(bound or 0.0)}"
    word = f"at most {top.word}" if band.severity is None else f"{band.word} to {top.word}"
    return Band(
        upto=top.upto, word=word, meaning=meaning, advice="compare with later checkpoints", severity=band.severity
    )


def worse(one: Band, other: Band) -> Band:
    """The one of two readings that calls for more."""

    def rank(band: Band) -> tuple[int, float]:
        severity = -1 if band.severity is None else SEVERITIES.index(band.severity)
        return severity, math.inf if math.isnan(band.upto) else band.upto

    return max(one, other, key=rank)


def reading(result: GainResult) -> Band:
    """The reading of both directions together: of the worse one."""
    return worse(*(reading_of(result, direction) for direction in Direction))


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


LEAST_RUNS = 5
"""Runs without which a band says nothing: of four that all had an event, the true share may be 40 % (95 % interval)."""


def risk_of(gain: Number) -> RiskBand:
    """The band of a gain; the last one for what is not finite."""
    return next((band for band in RISK if within(gain, band.upto)), RISK[-1])

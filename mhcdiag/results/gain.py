"""Records of gains: of one checkpoint, as `mhcdiag.gain` returns and `mhcdiag gain` prints it, and of a running model.

For token t and sites a <= b, numbered 1..L, the composite mapping is P(a,b) = H_b ... H_a, where x_new = H x: a row
of H is a target stream, a column a source stream.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from mhcdiag.results.numbers import Number, is_finite, text
from mhcdiag.results.presented import Brief, Presented, figure_of
from mhcdiag.results.verdict import Skipped
from mhcdiag.results.wording import counted

if TYPE_CHECKING:
    import pandas
    from matplotlib.figure import Figure


class Kind(StrEnum):
    """Which product of mappings a number belongs to."""

    SINGLE = "single"
    """P(l,l): one site alone."""
    PREFIX = "prefix"
    """P(1,l): everything up to site l; entry L is the full composite."""
    SUFFIX = "suffix"
    """P(l,L): everything from site l on; entry 1 is the full composite."""


class Direction(StrEnum):
    """Which way the amplified quantity travels."""

    FORWARD = "forward"
    """Signals: over the rows of the mapping."""
    BACKWARD = "backward"
    """Gradients: over its columns."""


class Definition(StrEnum):
    """How a matrix becomes one gain."""

    AMAX = "amax"
    """Largest absolute row (column) sum, signs kept: the Amax gain magnitude of arXiv 2512.24880, Figures 3 and 7."""
    NORM = "norm"
    """Largest row (column) sum of absolute values: the induced infinity-norm (1-norm), the true worst case."""


class Reduction(StrEnum):
    """How the gains of many tokens become one number."""

    MEAN = "mean"
    """Mean over tokens of the per-token gain."""
    P50 = "p50"
    """Order statistic of rank ceil(T/2)."""
    P99 = "p99"
    """Order statistic of rank ceil(0.99 T)."""
    MAX = "max"
    """Largest over tokens."""
    OF_MEAN = "of_mean"
    """Gain of the token mean of the composite: composed per token, averaged, then measured."""
    MEAN_WITHOUT_FIRST = "mean_without_first"
    """Mean over the tokens that do not begin a sequence; only where the input names those that do."""


NOT_SAID = "the report does not say what its bounds rest on"
"""Doubt about the bounds of records from before they carried their evidence."""

Curve = tuple[Number, ...]
"""One number per site, in depth order."""

Matrix = tuple[tuple[float, ...], ...]
"""A mapping, row by row: a row is a target stream, a column a source stream. Entries beyond float64 are infinite."""

CurveKey = tuple[Kind, Direction, Definition, Reduction]
SpanKey = tuple[Direction, Definition]


@dataclass(frozen=True, kw_only=True, slots=True)
class WorstSpan:
    """The stretch of sites whose composite mapping amplifies most."""

    value: Number
    """Largest token mean over all P(a,b), a <= b; dimensionless."""
    from_site: str
    """Name of site a, where the stretch begins."""
    to_site: str
    """Name of site b, where it ends; equal to `from_site` for a single site."""


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class Bound(Brief):
    """What no input can exceed, in the definition `norm`, for one direction."""

    single: Curve | None
    """Per site; None where nothing bounds it."""
    prefix: Curve | None
    """Of P(1,l) per site l."""
    suffix: Curve | None
    """Of P(l,L) per site l."""
    worst: Number | None
    """Of the worst span."""
    reached: Number | None = None
    """What some input was found to reach there, though no token need do so; None where that was not searched."""
    why: str
    """Which property the bound follows from, or why there is none."""
    by_layout: bool = False
    """Whether it follows from the layout alone, whatever finite values the parameters have."""


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class SinkhornQuality(Brief):
    """How far the finite Sinkhorn iteration stayed from a doubly stochastic mapping."""

    exact_side: Direction
    """The direction whose sums the last normalisation made 1: its gain carries no information."""
    row_residual: Curve
    """Per site, token mean of max_i |sum_j H_ij - 1|."""
    column_residual: Curve
    """Per site, token mean of max_j |sum_i H_ij - 1|."""
    log_sum_mean: float
    """Token mean of the largest |ln s| over the inexact side's sums s of the full composite.

    A sum of 0.41 (attenuation, 0.89) is worse than one of 1.5 (growth, 0.41), and a gain alone hides it.
    """
    log_sum_max: float
    """The same, largest over tokens."""


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class NonFinite(Brief):
    """A site whose mapping holds NaN or infinity."""

    site: str
    """Name of the site."""
    tensors: tuple[str, ...]
    """The tensors that hold such a value; where all are finite, those the mapping was computed from."""
    found: str
    """What stands there, e.g. "3 of 24 values are NaN"."""


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class GainResult(Presented):
    """Gains of one checkpoint (or file of captured mappings) per site and composite, forward and backward."""

    path: str
    """The input as the user named it."""
    layout: str
    """Name of the layout by which it was read; `identity` or `plain` where streams are not mixed."""
    model: str
    """Model family or variant as far as the checkpoint tells, e.g. "deepseek_v4"; may be empty."""
    streams: int
    """Number n of residual streams."""
    sites: tuple[str, ...]
    """Names of the sites in depth order, e.g. "0.attn"."""
    tensors: tuple[str, ...]
    """Per site, the tensor that defines its mapping (for several, the bias-like one)."""
    inputs: str
    """Where the input-dependent part came from: static, aligned, random, embedding or captured."""
    tokens: int
    """Number of tokens behind every number but the spans."""
    span_tokens: int
    """Number of tokens behind `worst` and `spans`; all of them up to 1024."""
    dtype: str
    """Element type of the matrix products."""
    device: str
    """Where they were computed."""
    kernel: str
    """Which implementation computed them."""
    bytes_read: int
    """Bytes read from the checkpoint's files."""
    bytes_total: int
    """Size of those files in bytes."""
    assumed: tuple[str, ...]
    """What the input did not say and was taken for granted; under `--strict` any of these leaves it unjudged."""
    skipped: tuple[Skipped, ...]
    """What could not be analysed, and why."""
    excluded: tuple[str, ...]
    """Tensors left out by design, such as output heads and MTP layers; these never count as skipped."""
    notes: tuple[str, ...]
    """What a reader must know to read the numbers rightly, e.g. that static inputs understate."""
    nonfinite: tuple[NonFinite, ...]
    """Sites with NaN or infinity; any makes the verdict fail."""
    gain: Mapping[CurveKey, Curve]
    """One curve per (kind, direction, definition, reduction)."""
    worst: Mapping[SpanKey, WorstSpan]
    """The worst span per (direction, definition)."""
    spans: Mapping[SpanKey, tuple[Curve, ...]]
    """Row a, entry b: token mean over P(a,b) for a <= b, NaN below the diagonal. Empty where nothing is mixed."""
    bound: Mapping[Direction, Bound]
    """What no input can exceed."""
    sinkhorn: SinkhornQuality | None
    """Present where the layout constrains its mappings by Sinkhorn iterations."""
    mean_mappings: tuple[Matrix, ...] = ()
    """Per site, the token mean of H_res; empty where nothing is mixed."""
    mean_composite: Matrix = ()
    """Token mean of P(1,L), the composite of all sites, composed per token; empty where nothing is mixed."""
    composes: bool = True
    """Whether streams persist from site to site; where not, composites are formal numbers, and no gate judges them."""
    tied_to: str = ""
    """Which checkpoint the inputs were measured on: "sha256:..." or "step 160"; empty where nothing says so."""
    sites_total: int = 0
    """Number of sites of the whole model, of which `sites` may be a part; 0 where that is not known."""
    bound_doubt: str = NOT_SAID
    """Why some input might exceed the bounds, such as a projection that was not read; empty where none can."""

    def curve(self, kind: str, direction: str, definition: str, reduction: str = "mean") -> Curve:
        """One curve by the four words that define it, e.g. `curve("prefix", "backward", "norm", "max")`."""
        return self.gain[Kind(kind), Direction(direction), Definition(definition), Reduction(reduction)]

    def plot(self, *, heatmap: bool = False) -> "Figure":
        """Draw gain by depth, as `mhcdiag gain --plot` does; `heatmap` adds every stretch of sites."""
        return figure_of(self, heatmap=heatmap)

    def _headline(self) -> str:
        worst = {key[0]: text(span.value) for key, span in self.worst.items() if key[1] is Definition.NORM}
        gains = ", ".join(f"{direction} {value}" for direction, value in worst.items())
        broken = f"; {counted(len(self.nonfinite), 'site')} not finite" if self.nonfinite else ""
        return f"worst gain {gains or 'not measured'}{broken}"

    def to_frame(self) -> "pandas.DataFrame":
        """All curves as one table: a row per site, columns (kind, direction, definition, reduction).

        Numbers beyond float64 become infinity.
        """
        import pandas

        columns = pandas.MultiIndex.from_tuples(
            [tuple(map(str, key)) for key in self.gain],
            names=["kind", "direction", "definition", "reduction"],
        )
        rows = zip(*([float(number) for number in curve] for curve in self.gain.values()), strict=True)
        return pandas.DataFrame(list(rows), index=pandas.Index(self.sites, name="site"), columns=columns)


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class LiveGains(Brief):
    """Gains of one training step, in the definition `norm`, over all tokens seen by all ranks."""

    step: int
    """Training step, counted from 1."""
    sites: tuple[str, ...]
    """In the order in which they ran, those of the worst stack; from its second call on "path@2", "path@3"."""
    tokens: int
    """Number of tokens behind the numbers, all ranks together."""
    prefix_forward: tuple[Number, ...]
    """Token mean of the forward gain of P(1,l), per site l."""
    suffix_backward: tuple[Number, ...]
    """Token mean of the backward gain of P(l,L), per site l."""
    forward: Number
    """Largest token mean of the forward gain over single, prefix and suffix products."""
    backward: Number
    """The same of the backward gain."""
    forward_max: Number
    """Largest forward gain of any token."""
    backward_max: Number
    """Largest backward gain of any token."""
    stack: str = ""
    """The residual streams that `sites` mix, as their paths call them; empty where mappings were handed over."""
    stacks: tuple["LiveGains", ...] = ()
    """Where the model has several stacks of streams, the gains of each; the four gains above are the largest of all."""
    unread: tuple[str, ...] = ()
    """Sites whose mappings could not be read: the composites are those of the others."""

    @property
    def worst(self) -> Number:
        """The larger of `forward` and `backward`; NaN or infinity if either is."""
        pair = (self.forward, self.backward)
        return next((number for number in pair if not is_finite(number)), max(pair))


CALM = math.log(1.1)
"""Log-gain below which there is nobody to blame."""


def blame(result: GainResult, direction: Direction) -> tuple[float, ...]:
    """Share of each site in the log-gain of the whole model, in the definition `norm`: which one to blame.

    Site l contributes ln of the gain of P(1,l) over that of P(1,l-1) (backward: P(l,L) over P(l+1,L)); the shares add
    up to 1 where the composite grows, and are negative for sites that attenuate. All zero where it does not grow.
    """
    kind = Kind.PREFIX if direction is Direction.FORWARD else Kind.SUFFIX
    curve = result.gain[kind, direction, Definition.NORM, Reduction.MEAN]
    logs = [_ln(number) for number in (curve if direction is Direction.FORWARD else reversed(curve))]
    total = logs[-1]
    if not math.isfinite(total) or total < CALM:
        return (0.0,) * len(logs)
    steps = [now - before for before, now in zip([0.0, *logs[:-1]], logs, strict=True)]
    if direction is Direction.BACKWARD:
        steps.reverse()
    return tuple(step / total for step in steps)


def _ln(number: Number) -> float:
    from mhcdiag.results.numbers import log10_of

    return log10_of(number) * math.log(10) if is_finite(number) else math.nan

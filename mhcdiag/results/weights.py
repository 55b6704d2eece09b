"""The record of `mhcdiag weights`: which part of a checkpoint's values was looked at, and what is wrong with them."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from mhcdiag.results.health import SEVERITIES, Severity
from mhcdiag.results.presented import Brief, Presented
from mhcdiag.results.verdict import Skipped
from mhcdiag.results.wording import counted


class WeightsKind(StrEnum):
    """What is wrong with a tensor."""

    NAN = "nan"
    """It holds NaN."""
    INFINITE = "infinite"
    """It holds infinity."""
    ZERO = "zero"
    """All of it is zero, and the same matrix of other layers is not."""
    CONSTANT = "constant"
    """All its values are the same, and those of the other layers' matrix are not."""
    DEAD_ROWS = "dead_rows"
    """Rows that are all zero, and are not in other layers."""
    DEAD_COLUMNS = "dead_columns"
    """Columns that are all zero, and are not in other layers."""
    OUTLIER_ROWS = "outlier_rows"
    """Rows far larger than the tensor's others and than any of the other layers."""
    OUTLIER_COLUMNS = "outlier_columns"
    """Columns far larger than the tensor's others and than any of the other layers."""
    SCALE = "scale"
    """Its RMS is far from that of the same matrix in all other layers."""
    DUPLICATE = "duplicate"
    """It equals another tensor byte by byte, which is not so in other layers."""
    FRESH = "fresh"
    """It looks freshly initialised while its neighbours do not."""
    SATURATED = "saturated"
    """Values stand at the largest number of the stored element type: they may have been larger."""
    OVERFLOW = "overflow"
    """Values exceed what the element type named by the configuration holds: they become infinite there."""
    FLUSH = "flush"
    """Values are so small that the element type flushes them to zero or keeps few of their bits."""
    ROUTER_COLLINEAR = "router_collinear"
    """Rows of a router point in one direction: their experts are chosen together, or one of them never."""
    ROUTER_DEAD = "router_dead"
    """Rows of a router are zero or tiny beside the others: the expert's score does not depend on the token."""
    ROUTER_EXPLODING = "router_exploding"
    """Rows of a router are far longer than the others: one expert takes all tokens or none."""


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class WeightsFinding(Brief):
    """One thing that is wrong with one tensor, or with one tensor beside others."""

    kind: WeightsKind
    severity: Severity
    """`fail` for NaN and infinity, `warn` for what is probably wrong, `note` for what is only worth knowing."""
    tensor: str
    """Name in the checkpoint, without the prefixes of wrappers."""
    position: tuple[int, ...] | None
    """Index of the first element concerned (of a row or column, its number); None for the whole tensor; () in 0-d."""
    count: int
    """Elements, rows, columns or tensors concerned."""
    value: float
    """What was measured: of NaN and infinity their count, else the number that is compared with `limit`."""
    limit: float
    """The last value without a finding."""
    what: str
    """What was found, with the number and the limit, as a clause that begins with the tensor's name."""
    why: str
    """Why it matters, in one sentence."""
    beside: tuple[str, ...] = ()
    """The tensors that it was compared with or equals; empty where it stands alone."""


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class TensorNumbers(Brief):
    """What was measured of one tensor."""

    name: str
    """As in the checkpoint, without the prefixes of wrappers."""
    dtype: str
    """Element type in the spelling of safetensors, or ggml's name."""
    shape: tuple[int, ...]
    elements: int
    """Number of values."""
    scanned: int
    """How many of them were looked at."""
    nan: int
    infinite: int
    zeros: int
    """How many of those scanned are NaN, infinite, zero."""
    absmax: float
    """Largest absolute value of those that are finite; 0 where there is none."""
    rms: float
    """Root mean square of those that are finite; 0 where there is none."""


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class WeightsResult(Presented):
    """Every tensor of one checkpoint, or why none was looked at."""

    path: str
    """As the user named it."""
    unscanned: str
    """Why nothing was scanned, as a clause ("--no-scan was given"); empty where something was."""
    expected_seconds: float
    """About how long a scan of all values takes here: what "--scan, about N min" is made of."""
    tensors: int
    """Tensors of the checkpoint."""
    tensors_scanned: int
    """Those of which at least one value was looked at."""
    elements: int
    """Values of all tensors."""
    elements_scanned: int
    """Values that were looked at."""
    bytes_total: int
    """Bytes of all tensors."""
    bytes_scanned: int
    """Bytes of the values that were looked at."""
    sample: float
    """Share of each tensor that was asked for; 1 is all of it."""
    match: tuple[str, ...]
    """Patterns of which a name must match one; empty for all tensors."""
    allow: tuple[str, ...]
    """Patterns of tensors whose findings count nowhere."""
    left_out: int
    """Tensors that match none of `match`."""
    skipped: tuple[Skipped, ...]
    """Tensors that could not be read, and why: with any of them the scan is not complete."""
    findings: tuple[WeightsFinding, ...]
    """Worst first."""
    allowed: tuple[WeightsFinding, ...]
    """Findings that `allow` leaves out. Every report shows them."""
    notes: tuple[str, ...]
    """What a reader must know, e.g. that duplicates were not searched in a sample."""
    kernel: str
    """What computed it: "numba" or "numpy"; empty where nothing was scanned."""
    seconds: float
    """How long it took."""
    unread: tuple[str, ...] = ()
    """What belongs to the checkpoint, or lies beside it, and was not looked at: shards that no index names."""
    absmax: float = 0.0
    """Largest absolute value of all tensors, finite ones only."""
    numbers: tuple[TensorNumbers, ...] = ()
    """Per tensor, in the order of the checkpoint."""

    def _headline(self) -> str:
        if self.unscanned:
            return f"not scanned: {self.unscanned}"
        counts = {severity: len(tuple(self.of(severity))) for severity in reversed(SEVERITIES)}
        found = ", ".join(f"{count} {severity}" for severity, count in counts.items() if count)
        return f"{counted(self.tensors_scanned, 'tensor')}: {found or 'nothing found'}"

    @property
    def is_complete(self) -> bool:
        """Whether every value of every tensor was looked at; only then "all parameters are finite" may be said."""
        return not self.unscanned and not self.skipped and self.elements_scanned == self.elements

    @property
    def is_finite(self) -> bool:
        """Whether every value of the checkpoint is known to be finite, allowed findings included."""
        return self.is_complete and not any(one.severity is Severity.FAIL for one in (*self.findings, *self.allowed))

    @property
    def not_scanned(self) -> str:
        """What a verdict says where nothing was looked at: "weights not scanned (--scan, about 3 min)"; else empty."""
        return f"weights not scanned (--scan, about {self.minutes} min)" if self.unscanned else ""

    @property
    def caveats(self) -> tuple[str, ...]:
        """What a pass must say of the weights: that none or not all were looked at, and how many warnings there are."""
        if self.unscanned:
            return (self.not_scanned,)
        in_part = f"weights scanned in part ({self.elements_scanned:,} of {self.elements:,} values)"
        warned = tuple(self.of(Severity.WARN))
        words = f"{counted(len(warned), 'warning')} on weights, the first on {warned[0].tensor}" if warned else ""
        return tuple(filter(None, ("" if self.is_complete else in_part, words)))

    @property
    def minutes(self) -> int:
        """About how long a scan takes; at least one."""
        return max(1, round(self.expected_seconds / 60))

    @property
    def nonfinite(self) -> tuple[WeightsFinding, ...]:
        """The findings that fail: NaN and infinity, but for a mask's."""
        return tuple(self.of(Severity.FAIL))

    def of(self, severity: Severity) -> Iterator[WeightsFinding]:
        """Yield the findings of one severity."""
        return (one for one in self.findings if one.severity is severity)

    def worst(self) -> Severity | None:
        """The worst finding's severity; None where nothing was found."""
        return max((one.severity for one in self.findings), key=SEVERITIES.index, default=None)

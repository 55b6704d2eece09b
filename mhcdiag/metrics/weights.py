"""Metrics of a scan of all weights: findings by severity and kind, and how much was looked at."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

from mhcdiag.metrics.interface import Examined, Explanation, Found, Group, Metric, Question, Record
from mhcdiag.results.check import Family, ValuePlace
from mhcdiag.results.health import Severity
from mhcdiag.results.weights import WeightsFinding, WeightsKind, WeightsResult

_SOURCE = "mhcdiag's own rule: see docs/weights.md"
_ACTION = "`mhcdiag weights` names the tensors, with the number, the limit and why it matters."

_SEVERITIES = {
    "nonfinite": (
        Severity.FAIL,
        "Number of tensors with NaN, and of tensors with infinity, masks of minus infinity aside.",
        "None known.",
    ),
    "warned": (
        Severity.WARN,
        "Number of warnings: tensors that are zero, constant, copied, fresh, dead or far off where the same tensor of "
        "other layers is not; routers that collapsed; values that an element type cannot hold.",
        "Pruned or edited models; name what is meant to be so in `allow` of the policy's [weights] table.",
    ),
    "noted": (
        Severity.NOTE,
        "Number of notes: ties, padding, masks, and what is so in most layers.",
        "Most models have some.",
    ),
}
_KINDS = Explanation(
    measures="Number of findings of one kind, of any severity: "
    + ", ".join(str(kind) for kind in WeightsKind)
    + ". A row, column or copy of which there are several in one tensor counts once.",
    source=_SOURCE,
    false_alarms="Notes count as well: ties are duplicates, padding is dead rows.",
    action=_ACTION,
)
_ABSMAX = Explanation(
    measures="Largest absolute value of all tensors that were looked at, finite ones only.",
    source="definition",
    false_alarms="Buffers of masks hold large numbers.",
    action="Above 65504 float16 overflows; `mhcdiag weights --verbose` lists every tensor.",
)
_SCANNED = Explanation(
    measures="Share of the checkpoint's values that were looked at. Use it with `min = 1` where every one must be.",
    source="definition",
    false_alarms="Remote checkpoints and those above 4 GB are not scanned unless asked.",
    action="Set scan = true in the policy's [check] table, or give --scan.",
)
_SKIPPED = Explanation(
    measures="Number of tensors that could not be read.",
    source="definition",
    false_alarms="Quantised GGUF needs the extra `gguf`.",
    action="`mhcdiag weights` lists them with reasons.",
)


def _metrics() -> Iterator[Metric]:
    for name, (severity, measures, false_alarms) in _SEVERITIES.items():
        words = Explanation(measures=measures, source=_SOURCE, false_alarms=false_alarms, action=_ACTION)
        yield _metric(name, words, partial(_of_severity, severity))
    for kind in WeightsKind:
        yield _metric(f"count.{kind}", _KINDS, partial(_of_kind, kind))
    yield _metric("absmax", _ABSMAX, _absmax, unit="factor")
    yield _metric("scanned", _SCANNED, _scanned, unit="fraction")
    yield _metric("skipped", _SKIPPED, _skipped)


def _metric(
    path: str, explanation: Explanation, read: Callable[[WeightsResult], Found], *, unit: str = "count"
) -> Metric:
    def read_it(record: Record, _question: Question) -> Found:
        assert isinstance(record, Examined)
        weights = record.weights
        if weights is None:
            return Found(value=None, missing="weights were not scanned")
        if weights.unscanned and path != "scanned":
            return Found(value=None, missing=f"weights not scanned: {weights.unscanned}")
        return read(weights)

    return Metric(name=f"weights.{path}", family=Family.CHECKPOINT, unit=unit, explanation=explanation, read=read_it)


def _of_severity(severity: Severity, weights: WeightsResult) -> Found:
    return _counted([one for one in weights.findings if one.severity is severity])


def _of_kind(kind: WeightsKind, weights: WeightsResult) -> Found:
    return _counted([one for one in weights.findings if one.kind is kind])


def _counted(findings: Sequence[WeightsFinding]) -> Found:
    place = ValuePlace(text=findings[0].what) if findings else None
    return Found(value=float(len(findings)), place=place)


def _absmax(weights: WeightsResult) -> Found:
    named = next((one.name for one in weights.numbers if one.absmax == weights.absmax), None)
    return Found(value=weights.absmax, place=None if named is None else ValuePlace(text=named))


def _scanned(weights: WeightsResult) -> Found:
    return Found(value=weights.elements_scanned / weights.elements if weights.elements else 0.0)


def _skipped(weights: WeightsResult) -> Found:
    place = ValuePlace(text=f"{weights.skipped[0].what}: {weights.skipped[0].reason}") if weights.skipped else None
    return Found(value=float(len(weights.skipped)), place=place)


WEIGHTS = Group(name="weights", metrics=tuple(_metrics()))

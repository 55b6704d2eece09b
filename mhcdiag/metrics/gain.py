"""Metrics of a checkpoint's gains: composites, bounds, Sinkhorn quality, and what could not be trusted."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import product

from mhcdiag.metrics.interface import Examined, Explanation, Found, Group, Metric, Question, Record, extreme
from mhcdiag.results.check import Family, ValuePlace
from mhcdiag.results.gain import Curve, CurveKey, Definition, Direction, GainResult, Kind, Reduction, SpanKey
from mhcdiag.results.numbers import Number
from mhcdiag.results.verdict import Relation

_Reader = Callable[[GainResult, Question], Found]

_COMPOSITES = ("worst", "prefix", "suffix", "bound")
"""Metrics of composites; in a layout whose streams end at each layer they are formal numbers."""

_PAPER = "arXiv 2512.24880, section 3.1 and Figures 3, 7 (Amax gain magnitude)"
_ACTION = (
    "Constrain the mappings (mHC), lower the learning rate of the connections, or go back to an earlier checkpoint; "
    "`mhcdiag gain` names the sites to blame."
)
_FALSE = (
    "Random inputs can amplify more than real tokens; a gain is a level of risk and does not time a spike: runs have "
    "stayed well far above 1000."
)
_WORST = Explanation(
    measures="The largest token mean over all composite mappings P(a,b) = H_b ... H_a, a <= b. norm: largest row "
    "(forward) or column (backward) sum of absolute values; amax: largest absolute row or column sum, signs kept.",
    source=_PAPER,
    false_alarms=_FALSE,
    action=_ACTION,
)
_CURVE = Explanation(
    measures="One gain per site: single is P(l,l), prefix P(1,l), suffix P(l,L). An upper limit judges the largest "
    "site, a lower one the smallest. The last word is the reduction over tokens: mean, p50, p99, max, or of_mean "
    "(composed per token, averaged, then measured).",
    source=_PAPER,
    false_alarms=_FALSE,
    action=_ACTION,
)
_BOUND = Explanation(
    measures="What no input can exceed, in the definition norm. For Sinkhorn layouts it follows from stochastic "
    "matrices: at most 1 on the side normalised last, at most n for a composite on the other; for HC from the "
    "parameters.",
    source="sub-multiplicativity of induced norms; arXiv 2512.24880, section 4.1 (closure under products)",
    false_alarms="For unconstrained HC the bound is loose by orders of magnitude: judge `gain.worst` there.",
    action="A bound above the limit is no failure of the run; measure with captured inputs.",
)
_SINKHORN = Explanation(
    measures="How far the finite Sinkhorn iteration stayed from doubly stochastic. row_residual, column_residual: per "
    "site the token mean of max |sum - 1|; log_sum_mean, log_sum_max: the largest |ln sum| of the whole composite on "
    "the side not normalised last, over tokens.",
    source="arXiv 2512.24880, section 4.2 (20 iterations), Figure 7",
    false_alarms="A few percent at single sites are usual after 20 iterations (the paper's own composite is 1.6).",
    action="Raise the number of iterations, or keep the logits small: sharp matrices converge slowly.",
)
_NONFINITE = Explanation(
    measures="Number of sites whose mapping holds NaN or infinity.",
    source="definition",
    false_alarms="None known.",
    action="Go back to the last checkpoint without; `mhcdiag gain` names the tensors.",
)
_ASSUMED = Explanation(
    measures="Number of things that the checkpoint does not say and that were taken for granted.",
    source="definition",
    false_alarms="Most published checkpoints do not store their Sinkhorn settings.",
    action="Say them in the policy's [gain] table, e.g. sinkhorn_iters = 20.",
)
_SKIPPED = Explanation(
    measures="Number of parts of the checkpoint that could not be analysed.",
    source="definition",
    false_alarms="None known.",
    action="`mhcdiag gain` lists them with reasons.",
)
EVIDENCE = Explanation(
    measures="What the gates on the gain of a checkpoint rest on. certified: the bound of the same number, over all "
    "inputs, is within the limit. measured: real tokens, 128 or more, at all sites, of a checkpoint that is named. "
    "sampled: anything else, such as random inputs.",
    source="docs/evidence.md",
    false_alarms="Most unconstrained models are sampled until real tokens are measured: their bounds are loose.",
    action="Measure real tokens: `mhcdiag gain PATH --inputs text`, or judge mappings of `mhcdiag capture`.",
)
"""Of the gate that every checkpoint has beside those of the policy; it judges other gates, and is no number itself."""


def _metrics() -> Iterator[Metric]:
    # amax is at most norm, and each reduction over tokens at most the largest of them: one bound holds for all.
    for direction, definition in product(Direction, Definition):
        span = (direction, definition)
        yield _metric(
            ".".join(("worst", *span)), _WORST, partial(_worst, span), bound=partial(_limit, direction, "worst")
        )
    for kind, direction, definition, reduction in product(Kind, Direction, Definition, Reduction):
        curve = (kind, direction, definition, reduction)
        yield _metric(".".join(curve), _CURVE, partial(_curve, curve), bound=partial(_limit, direction, str(kind)))
    for direction, part in product(Direction, ("single", "prefix", "suffix", "worst")):
        bound = partial(_limit, direction, part)
        yield _metric(f"bound.{direction}.{part}", _BOUND, partial(_bound, direction, part), bound=bound)
    for name in ("row_residual", "column_residual", "log_sum_mean", "log_sum_max"):
        yield _metric(f"sinkhorn.{name}", _SINKHORN, partial(_sinkhorn, name), bound=_unbounded)
    yield _metric("nonfinite", _NONFINITE, _nonfinite, unit="count", bound=_most_nonfinite)
    yield _metric("assumed", _ASSUMED, _assumed, unit="count")
    yield _metric("skipped", _SKIPPED, _skipped, unit="count")


def _metric(
    path: str,
    explanation: Explanation,
    read: _Reader,
    *,
    unit: str = "factor",
    bound: Callable[[GainResult], Number | None] | None = None,
) -> Metric:
    formal = path.split(".", maxsplit=1)[0] in _COMPOSITES

    def read_it(record: Record, question: Question) -> Found:
        assert isinstance(record, Examined)
        if formal and not record.gain.composes:
            return Found(value=None, missing="streams do not persist from site to site: composites are not judged")
        return read(record.gain, question)

    return Metric(
        name=f"gain.{path}", family=Family.CHECKPOINT, unit=unit, explanation=explanation, read=read_it, bound=bound
    )


def _limit(direction: Direction, part: str, result: GainResult) -> Number | None:
    """What no input can exceed: of several sites, the largest."""
    bound = result.bound.get(direction)
    found: Curve | Number | None = None if bound is None else getattr(bound, part)
    return found[extreme(found, Relation.AT_MOST)] if isinstance(found, tuple) else found


def _unbounded(_result: GainResult) -> None:
    """Of how far a finite iteration stayed from its limit nothing is proved."""


def _most_nonfinite(_result: GainResult) -> float:
    """No site at all, where nothing is in doubt."""
    return 0.0


def _worst(key: SpanKey, result: GainResult, _question: Question) -> Found:
    span = result.worst.get(key)
    if span is None:
        return Found(value=None, missing=f"the measurement has no {'.'.join(('worst', *key))}")
    text = span.from_site if span.from_site == span.to_site else f"{span.from_site} to {span.to_site}"
    return Found(value=span.value, place=ValuePlace(text=text))


def _curve(key: CurveKey, result: GainResult, question: Question) -> Found:
    curve = result.gain.get(key)
    if not curve:
        return Found(value=None, missing=f"the measurement has no {'.'.join(('gain', *key))}")
    return _decisive(curve, result, question)


def _bound(direction: Direction, part: str, result: GainResult, question: Question) -> Found:
    bound = result.bound.get(direction)
    found: Curve | Number | None = None if bound is None else getattr(bound, part)
    if found is None:
        why = "the measurement has no bound" if bound is None else bound.why
        return Found(value=None, missing=f"nothing bounds these mappings: {why}")
    return _decisive(found, result, question) if isinstance(found, tuple) else Found(value=found)


def _sinkhorn(name: str, result: GainResult, question: Question) -> Found:
    if result.sinkhorn is None:
        return Found(value=None, missing=f"layout {result.layout} has no Sinkhorn iteration")
    found: Curve | float = getattr(result.sinkhorn, name)
    return _decisive(found, result, question) if isinstance(found, tuple) else Found(value=found)


def _decisive(curve: Curve, result: GainResult, question: Question) -> Found:
    """Of one number per site, the one that decides."""
    index = extreme(curve, question.relation)
    return Found(value=curve[index], place=ValuePlace(text=result.sites[index]))


def _nonfinite(result: GainResult, _question: Question) -> Found:
    return _counted([f"{broken.site}: {broken.found}" for broken in result.nonfinite])


def _assumed(result: GainResult, _question: Question) -> Found:
    return _counted(result.assumed)


def _skipped(result: GainResult, _question: Question) -> Found:
    return _counted([f"{skipped.what}: {skipped.reason}" for skipped in result.skipped])


def _counted(found: Sequence[str]) -> Found:
    """The number of things found; the first of them is the place."""
    return Found(value=float(len(found)), place=ValuePlace(text=found[0]) if found else None)


GAIN = Group(name="gain", metrics=tuple(_metrics()))

"""Metrics of checkpoints: composite gains, bounds, Sinkhorn quality, and what could not be trusted."""

from collections.abc import Callable, Iterator
from itertools import product

from mhcdiag.metrics.interface import Document, Explanation, Metric, Question, Reading, extreme
from mhcdiag.results.check import Family, ValuePlace
from mhcdiag.results.gain import Definition, Direction, Kind, Reduction
from mhcdiag.results.numbers import parse_number

_COMPOSITES = ("worst", "prefix", "suffix", "bound")
"""Metrics of composites; in a layout whose streams end at each layer they are formal numbers."""

_Reader = Callable[[Document, tuple[str, ...], Question], Reading]

_PAPER = "arXiv 2512.24880, section 3.1 and Figures 3, 7 (Amax gain magnitude)"
_ACTION = (
    "Constrain the mappings (mHC), lower the learning rate of the connections, or go back to an earlier checkpoint; "
    "`mhcdiag gain` names the sites to blame."
)
_FALSE = (
    "Random inputs can amplify more than real tokens; a gain is a level of risk and does not time a spike: runs have "
    "stayed well far above 1000."
)


def gain_metrics() -> Iterator[Metric]:
    """Yield every metric of a checkpoint."""
    for direction, definition in product(Direction, Definition):
        yield _metric(f"worst.{direction}.{definition}", _WORST, _worst)
    for keys in product(Kind, Direction, Definition, Reduction):
        yield _metric(".".join(keys), _CURVE, _curve)
    for direction, part in product(Direction, ("single", "prefix", "suffix", "worst")):
        yield _metric(f"bound.{direction}.{part}", _BOUND, _bound)
    for name in ("row_residual", "column_residual", "log_sum_mean", "log_sum_max"):
        yield _metric(f"sinkhorn.{name}", _SINKHORN, _sinkhorn)
    for name, explanation in (("nonfinite", _NONFINITE), ("assumed", _ASSUMED), ("skipped", _SKIPPED)):
        yield _metric(name, explanation, _count, unit="count")


def _metric(path: str, explanation: Explanation, read: _Reader, *, unit: str = "factor") -> Metric:
    keys = tuple(path.split("."))
    formal = keys[0] in _COMPOSITES

    def read_it(document: Document, question: Question) -> Reading:
        if formal and document.get("composes") is False:
            return Reading(value=None, missing="streams do not persist from site to site: composites are not judged")
        return read(document, keys, question)

    return Metric(name=f"gain.{path}", family=Family.CHECKPOINT, unit=unit, explanation=explanation, read=read_it)


def _worst(document: Document, keys: tuple[str, ...], _question: Question) -> Reading:
    span = _walk(document, keys)
    if not isinstance(span, dict):
        return Reading(value=None, missing=f"the measurement has no {'.'.join(keys)}")
    first, last = span["from_site"], span["to_site"]
    place = ValuePlace(text=first if first == last else f"{first} to {last}")
    return _number(span["value"], keys, place)


def _curve(document: Document, keys: tuple[str, ...], question: Question) -> Reading:
    return _of_sites(document, ("gain", *keys), question)


def _bound(document: Document, keys: tuple[str, ...], question: Question) -> Reading:
    found = _walk(document, keys)
    if found is None:
        why = _walk(document, (*keys[:2], "why"))
        return Reading(value=None, missing=f"nothing bounds these mappings: {why}")
    return _of_sites(document, keys, question) if isinstance(found, list) else _number(found, keys)


def _sinkhorn(document: Document, keys: tuple[str, ...], question: Question) -> Reading:
    found = _walk(document, keys)
    if found is None:
        return Reading(value=None, missing=f"layout {document.get('layout')} has no Sinkhorn iteration")
    return _of_sites(document, keys, question) if isinstance(found, list) else _number(found, keys)


def _count(document: Document, keys: tuple[str, ...], _question: Question) -> Reading:
    found = document.get(keys[0])
    if not isinstance(found, list):
        return Reading(value=None, missing=f"the measurement has no {keys[0]}")
    place = None
    if found and keys[0] == "nonfinite":
        place = ValuePlace(text=f"{found[0]['site']}: {found[0]['found']}")
    elif found:
        first = found[0]
        place = ValuePlace(text=first if isinstance(first, str) else f"{first['what']}: {first['reason']}")
    return Reading(value=float(len(found)), place=place)


def _of_sites(document: Document, keys: tuple[str, ...], question: Question) -> Reading:
    curve = _walk(document, keys)
    if not isinstance(curve, list) or not curve:
        return Reading(value=None, missing=f"the measurement has no {'.'.join(keys)}")
    numbers = [parse_number(entry) for entry in curve]
    known = [number for number in numbers if number is not None]
    if len(known) < len(numbers):
        return Reading(value=None, missing=f"{'.'.join(keys)} lacks {len(numbers) - len(known)} of its sites")
    index = extreme(known, question.relation)
    return Reading(value=known[index], place=ValuePlace(text=str(document["sites"][index])))


def _number(found: object, keys: tuple[str, ...], place: ValuePlace | None = None) -> Reading:
    value = parse_number(found)
    return Reading(value=value, missing="" if value is not None else f"{'.'.join(keys)} is no number", place=place)


def _walk(document: Document, keys: tuple[str, ...]) -> object:
    found: object = document
    for key in keys:
        if not isinstance(found, dict) or key not in found:
            return None
        found = found[key]
    return found


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

"""What a verdict on the gain of mappings rests on: proved for every input, measured on real tokens, or sampled.

A number below its limit says little by itself: what unconstrained hyper-connections do depends on what they read. Of 36
checkpoints of toy runs 15 exceeded 1000 on real tokens, and 3 on random inputs. So a pass says which it is
(`docs/evidence.md` has the table), and what is merely sampled never reads like a proof.
"""

import math
import re
import shlex
from collections.abc import Iterable
from dataclasses import replace

from mhcdiag.results.gain import GainResult
from mhcdiag.results.health import Severity
from mhcdiag.results.numbers import Huge, Number, text, text_beside, within
from mhcdiag.results.verdict import GainEvidence, Limit
from mhcdiag.results.weights import WeightsResult
from mhcdiag.results.wording import badness, counted

REAL_INPUTS = ("captured", "text")
"""Inputs that come from running the model on tokens."""

LEAST_TOKENS = 128
"""Real tokens without which they are a sample like any other: gains are heavy-tailed over tokens (the paper's worst
token lies 3.5 to 15 times above its mean), so that the mean of a few says little."""

_TIE = re.compile(r"sha256:[0-9a-f]{64}|step \d+")
"""What names a checkpoint."""

_NUMBERS = ("Sinkhorn iterations: ", "Sinkhorn eps: ", "eps of the input norm: ", "temperature of the logits: ")
"""How assumptions begin that no bound depends on: stochastic matrices are bounded however few the iterations, and a
norm gives a vector of length sqrt(d) at most, whatever its eps."""

_PLACES = ("depth order: ", "the last layer found ")
"""How assumptions begin on which sites there are, and in what order: what a layout guarantees holds for any."""


def is_tie(words: str) -> bool:
    """Whether these words name a checkpoint: a hash of its bytes, or the step at which it was saved."""
    return _TIE.fullmatch(words) is not None


def has_all_sites(result: GainResult) -> bool:
    """Whether the whole model was looked at, as far as the record says."""
    return result.sites_total <= len(result.sites)


def is_by_layout(result: GainResult) -> bool:
    """Whether the layout alone bounds the mappings, whatever finite values the parameters have."""
    return bool(result.bound) and all(bound.by_layout for bound in result.bound.values())


def doubt_of_inputs(result: GainResult) -> str:
    """Why the numbers are not those of real tokens of this checkpoint; empty where they are."""
    if result.inputs not in REAL_INPUTS:
        return f"{result.inputs} inputs"
    few = min(result.tokens, result.span_tokens)
    if few < LEAST_TOKENS:
        return f"{counted(few, 'real token')} (fewer than {LEAST_TOKENS})"
    if result.skipped:
        return f"all sites but {result.skipped[0].what}"
    if not has_all_sites(result):
        return f"{len(result.sites)} of {result.sites_total} sites"
    if not is_tie(result.tied_to):
        return "mappings that name no checkpoint"
    return ""


def doubt_of_bounds(result: GainResult) -> str:
    """Why the bounds prove nothing for this checkpoint; empty where they hold for every input."""
    if result.nonfinite:
        return f"site {result.nonfinite[0].site} holds NaN or infinity"
    if result.skipped:
        return f"{result.skipped[0].what} was skipped"
    if not has_all_sites(result):
        return f"{len(result.sites)} of {counted(result.sites_total, 'site')} were looked at"
    harmless = (*_NUMBERS, *_PLACES) if is_by_layout(result) else _NUMBERS
    assumed = next((what for what in result.assumed if not what.startswith(harmless)), None)
    return result.bound_doubt if assumed is None else f"assumed: {assumed}"


def beside_weights(result: GainResult, weights: WeightsResult | None) -> GainResult:
    """The measurement in view of a scan of all weights: a model that holds NaN or infinity anywhere is not proved.

    Also where the user allows those findings: they fail nothing, and prove nothing.
    """
    if weights is None or weights.unscanned:
        return result
    broken = [one for one in (*weights.findings, *weights.allowed) if one.severity is Severity.FAIL]
    return replace(result, bound_doubt=broken[0].what) if broken else result


def evidence_of(result: GainResult, limit: float | None, bound: Number | None) -> GainEvidence:
    """What a number of a measurement rests on, if it is to be at most `limit`.

    Parameters
    ----------
    limit
        None where an upper limit is not what it is held against.
    bound
        What no input can exceed, of the same number: direction, kind of product and definition. None without one.
    """
    if limit is not None and bound is not None and within(bound, limit) and not doubt_of_bounds(result):
        return GainEvidence.CERTIFIED
    return GainEvidence.SAMPLED if doubt_of_inputs(result) else GainEvidence.MEASURED


def weakest(found: Iterable[GainEvidence | None]) -> GainEvidence | None:
    """The weakest of some; None where there is none."""
    known = [one for one in found if one is not None]
    return min(known, key=lambda one: one.rank, default=None)


def is_enough(evidence: GainEvidence | None, *, require: GainEvidence | None, strict: bool) -> bool:
    """Whether a pass on this evidence counts as one.

    `strict` asks for real tokens at least, however little is required; without either, all evidence is enough.
    """
    least = max(0 if require is None else require.rank, GainEvidence.MEASURED.rank if strict else 0)
    return evidence is None or evidence.rank >= least


# In words


def assurance(result: GainResult, limits: Iterable[Limit]) -> str:
    """What a pass rests on that is proved or measured, e.g. "certified: bound 4 <= 1000"; empty for other evidence."""
    judged = [limit for limit in limits if limit.evidence is not None]
    evidence = weakest(limit.evidence for limit in judged)
    if evidence is GainEvidence.MEASURED:
        return f"measured: {counted(result.tokens, 'real token')} of {result.tied_to[:19]}"
    if evidence is not GainEvidence.CERTIFIED:
        return ""
    # Of several, the one nearest to its limit.
    bounds = [(limit.bound, limit.limit) for limit in judged if limit.bound is not None]
    bound, limit = max(bounds, key=lambda pair: badness(pair[0]))
    return f"certified: {compared(bound, limit)}"


def qualification(result: GainResult, limits: Iterable[Limit], *, unbounded: str = "") -> str:
    """What stands behind PASS where that is merely sampled; empty where it is more.

    Such as "on random inputs only: bound 8.0e6 > 1000; measure real tokens with `mhcdiag gain PATH --inputs text`".

    Parameters
    ----------
    unbounded
        Why a number has no bound, where the record does not say.
    """
    sampled = [limit for limit in limits if limit.evidence is GainEvidence.SAMPLED]
    if not sampled:
        return ""
    # Of several, the one that the least is known of.
    least = max(sampled, key=lambda limit: (limit.bound is None, badness(limit.bound or 0.0)))
    return f"{_why_only(result, least, unbounded)}; {remedy(result)}"


def lacking_evidence(
    result: GainResult,
    limits: Iterable[Limit],
    *,
    require: GainEvidence | None,
    strict: bool,
    unbounded: str = "",
) -> str:
    """Why a pass does not count, in words: "--require certified, and this is measured (...)"."""
    judged = tuple(limits)
    wanted = f"--require {require}" if require is not None else "--strict"
    if require is not None and strict and require.rank < GainEvidence.MEASURED.rank:
        wanted = "--strict"
    found = weakest(limit.evidence for limit in judged)
    detail = qualification(result, judged, unbounded=unbounded) or assurance(result, judged).partition(": ")[2]
    if found is GainEvidence.MEASURED:
        unproved = next((limit for limit in judged if limit.evidence is GainEvidence.MEASURED), judged[0])
        detail += f"; {_known_of_all(result, unproved, unbounded)}"
    return f"{wanted}, and this is {found}: {detail}"


def remedy(result: GainResult) -> str:
    """What to type for numbers of real tokens."""
    if result.inputs == "captured":
        what = f"capture {LEAST_TOKENS} tokens or more, and all sites"
        return f"{what}, with `mhcdiag capture MODEL_DIR --text FILE --out {shlex.quote(result.path)}`"
    return f"measure real tokens with `mhcdiag gain {shlex.quote(result.path)} --inputs text`"


def _why_only(result: GainResult, limit: Limit, unbounded: str) -> str:
    if limit.bound is not None and not within(limit.bound, limit.limit) and is_by_layout(result):
        return f"on sampled inputs; the layout guarantees only {_short(limit.bound, 4)}"
    return f"on {doubt_of_inputs(result)} only: {_known_of_all(result, limit, unbounded)}"


def _known_of_all(result: GainResult, limit: Limit, unbounded: str = "") -> str:
    """What is known of all inputs: "bound 8.0e6 > 1000", or why there is no bound, or why it proves nothing."""
    if limit.bound is None:
        why = unbounded or next((bound.why for bound in result.bound.values()), "nothing bounds it")
        return f"no bound ({why})"
    beside = compared(limit.bound, limit.limit)
    return f"{beside} is no proof ({doubt_of_bounds(result)})" if within(limit.bound, limit.limit) else beside


def bound_words(bound: Number) -> str:
    """What no input exceeds, in a word or two: "bound 8.0e6"."""
    return f"bound {_short(bound, 4)}"


def compared(bound: Number, limit: float) -> str:
    """A bound beside a limit, with the digits that tell them apart: "bound 8.0e6 > 1000"."""
    shown, beside = text_beside(bound, limit, shown=_short)
    return f"bound {shown} {'<=' if within(bound, limit) else '>'} {beside}"


def _short(number: Number, digits: int) -> str:
    """A bound for people, which is loose enough for two digits: whole ones as such, large ones in powers of ten.

    >>> _short(4.0, 4), _short(53210.0, 4), _short(8.0e6, 4), _short(3.25, 4)
    ('4', '5.3e4', '8.0e6', '3.250')
    """
    if isinstance(number, Huge) or not math.isfinite(number):
        return text(number, digits=digits - 2)
    if number < 1e4:
        return str(int(number)) if number == int(number) else text(number, digits=digits)
    mantissa, _, exponent = f"{number:.{digits - 3}e}".partition("e")
    return f"{mantissa}e{int(exponent)}"

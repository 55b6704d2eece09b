"""Metrics of `mhcdiag health`: findings by severity, and the main numbers of each check."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial

from mhcdiag.metrics.interface import Examined, Explanation, Found, Group, Metric, Question, Record, extreme
from mhcdiag.results.check import Family, ValuePlace
from mhcdiag.results.gain import Direction, GainResult
from mhcdiag.results.health import HealthResult, Severity
from mhcdiag.results.numbers import Number

FINDINGS = {"failed": Severity.FAIL, "warned": Severity.WARN, "noted": Severity.NOTE}
"""Metrics that count findings."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckNumbers:
    """The numbers of one check that a gate can judge."""

    factors: Mapping[str, str]
    """Meaning by key of the check's numbers; per site, the one that decides is judged."""
    fractions: Mapping[str, str]
    """The same for numbers between 0 and 1."""
    source: str
    false_alarms: str
    """When a number is large (or small) and nothing is wrong."""


# They stand here and not in the files of the checks, whose `run` imports torch: policies, `mhcdiag explain` and gates
# of logs are read where torch is not installed. tests/health_checks/test_registry.py compares both ways and names what
# is missing on either side.
NUMBERS: Mapping[str, CheckNumbers] = {
    "gain": CheckNumbers(
        factors={"forward": "worst composite gain of signals", "backward": "worst composite gain of gradients"},
        fractions={},
        source="arXiv 2512.24880, section 3.1",
        false_alarms="As for `gain.worst`.",
    ),
    "conformance": CheckNumbers(
        factors={
            "as it is": "largest |x_out - post branch - H x| / |x| over captured sites",
            "from weights": "the same with H as the weights give it",
            "scale": "largest |a - 1| in x_out = a H x + b post branch over captured sites",
        },
        fractions={},
        source="captured activations against H x",
        false_alarms="bf16 streams leave 0.004.",
    ),
    "sinkhorn": CheckNumbers(
        factors={
            "residual": "token mean of max |sum - 1| of a site, on the side not normalised last",
            "log_sum": "token mean of max |ln sum| of the whole composite on that side",
            "logit_range": "largest minus smallest logit of a site over the temperature, token mean",
            "iterations_needed": "iterations until the residual of a site is 0.001",
            "iterations_every_token": "the same for each of the tokens",
        },
        fractions={},
        source="arXiv 2601.05732, 2601.21579",
        false_alarms="A few percent at single sites are usual after 20 iterations.",
    ),
    "frozen": CheckNumbers(
        factors={
            "inert_sites": "number of sites whose H_res is the identity",
            "permuted_sites": "number of sites whose H_res swaps streams and mixes none",
            "uniform_sites": "number of sites whose rows are uniform",
            "from_identity": "1 - tr(H)/n of a site",
            "moved": "largest change of a logit of a site since the earlier checkpoint",
        },
        fractions={"entropy": "row entropy -sum H ln H / ln n of a site"},
        source="tokenbender/mHC-manifold-constrained-hyper-connections issue 2",
        false_alarms="Some recipes choose a mixer near the identity.",
    ),
    "collapse": CheckNumbers(
        factors={
            "dobrushin": "Dobrushin coefficient of P(1,L): the share of a difference between streams that survives",
            "second_singular": "second singular value of P(1,L)",
            "half_depth": "Dobrushin coefficient at half the depth",
            "depth_to_1_percent": "sites until less than 1 % of a difference survives",
        },
        fractions={},
        source="arXiv 2606.03483",
        false_alarms="Collapse is not shown to harm: capacity goes unused.",
    ),
    "streams": CheckNumbers(
        factors={
            "effective_streams": "exp(entropy) of the shares of streams in what is read",
            "last_cosine": "mean cosine of pairs of captured streams after the last site",
        },
        fractions={"largest_share": "share of the stream that is read most"},
        source="arXiv 2609.05309",
        false_alarms="Streams that start equal and are written equally stay copies without any mixing.",
    ),
    "gates": CheckNumbers(
        factors={
            "alpha": "|alpha| of the residual part of a site",
            "dynamic_share": "deviation of the input-dependent logits over that of the static ones, of a site",
        },
        fractions={
            "saturated": "share of pre and post logits beyond +-6, for inputs of RMS 1",
            "saturated_at_site": "the same of a site",
            "tanh_saturated": "share of the inputs of tanh beyond +-2 of a site, for inputs of RMS 1",
            "negative_row_sums": "share of negative row sums of a site (HC)",
        },
        source="arXiv 2512.24880 (alpha starts at 0.01)",
        false_alarms="alpha grows in healthy runs too: watch its growth.",
    ),
    "precision": CheckNumbers(
        factors={
            "coarse_tensors": "number of mixing tensors that are stored in 16 bits",
            "h_change": "how far rounding to 16 bits may have changed H_res of a site",
            "gain_change": "the same of the composite gain, as a share of it",
        },
        fractions={},
        source="half a unit of the last stored place; llama.cpp #28696",
        false_alarms="Some families release their mixers in BF16.",
    ),
    "gauge": CheckNumbers(
        factors={
            "log_gain_later": "ln of the forward gain of all sites but the first",
            "kernel_rank": "effective rank of the channels from branch to branch",
        },
        fractions={},
        source="arXiv 2512.24880, Figure 8",
        false_alarms="As for `gain.worst`.",
    ),
    "activations": CheckNumbers(
        factors={
            "growth_per_site": "factor by which the RMS of captured streams grows per site",
            "largest": "largest |x|",
            "first_token_ratio": "RMS of the first token over that of the others",
        },
        fractions={},
        source="fp16 range; community measurements of the first token",
        false_alarms="bf16 and fp32 streams hold far more than fp16.",
    ),
    "scales": CheckNumbers(
        factors={
            "smallest_branch_scale": "smallest mean |s| of a branch factor",
            "largest_branch_scale": "largest mean |s| of a branch factor",
        },
        fractions={},
        source="arXiv 2003.04887, 2103.17239",
        false_alarms="ReZero and LayerScale start near 0.",
    ),
    "deepnorm": CheckNumbers(
        factors={"gain": "gain of writers over that of queries and keys"},
        fractions={},
        source="arXiv 2203.00555",
        false_alarms="Training moves it.",
    ),
    "attention": CheckNumbers(
        factors={
            "bound": "what no attention logit of a block exceeds, for inputs of RMS 1",
            "spectral": "largest sigma1(W_q^T W_k) / sqrt(d_head) of a block",
            "rank": "smallest effective rank of W_q^T W_k",
            "growth": "largest bound over that of the earlier checkpoint",
        },
        fractions={},
        source="arXiv 2309.14322, 2606.28116",
        false_alarms="A bound is not reached: real logits are often ten times smaller.",
    ),
    "norms": CheckNumbers(
        factors={
            "extreme": "largest |g| over the median of a norm weight",
            "level_off": "factor between a norm weight's median and that of the same norm in all layers",
            "smallest_level": "smallest median |g| of a norm weight",
        },
        fractions={
            "dead": "share of |g| at most 0.001 of the median, of the worst norm",
            "negative": "share of negative weights, of the worst norm",
        },
        source="arXiv 2409.12517, 2505.06708",
        false_alarms="Outlier channels are usual in large models.",
    ),
    "writers": CheckNumbers(
        factors={
            "spectral": "largest singular value of an output projection",
            "spectral_over_median": "the same over the median of its kind",
            "smallest_over_median": "smallest output RMS over the median of its kind",
        },
        fractions={},
        source="arXiv 2407.05872",
        false_alarms="Models whose start scales by depth differ from block to block.",
    ),
}
"""By name of the check."""

SPELLED = {"as it is": "error", "from weights": "from_weights"}
"""Names of metrics where the key is none."""


def _metrics() -> Iterator[Metric]:
    for name, severity in FINDINGS.items():
        explanation = _of_findings(f"Number of findings of severity {severity}, over all checks")
        yield _metric(name, explanation, partial(_count, severity))
    yield _metric(
        "unchecked",
        _of_findings("Number of checks that could not be made, or not of all that they look at,"),
        _unchecked,
    )
    for check, numbers in NUMBERS.items():
        for unit, meanings in (("factor", numbers.factors), ("fraction", numbers.fractions)):
            for key, meaning in meanings.items():
                explanation = Explanation(
                    measures=f"Check `{check}` of `mhcdiag health`: {meaning}.",
                    source=numbers.source,
                    false_alarms=numbers.false_alarms,
                    action=f"`mhcdiag health --only {check} --verbose` names sites, formula and thresholds.",
                )
                read = partial(_number, check, key)
                metric = _metric(f"{check}.{SPELLED.get(key, key)}", explanation, read, unit=unit)
                # The gain is that of `gain.worst`, and rests on the same.
                yield replace(metric, bound=partial(_bound, Direction(key))) if check == "gain" else metric


def _metric(
    path: str, explanation: Explanation, read: Callable[[HealthResult, Question], Found], *, unit: str = "count"
) -> Metric:
    def read_it(record: Record, question: Question) -> Found:
        assert isinstance(record, Examined)
        if record.health is None:
            return Found(value=None, missing="this checkpoint's health was not examined")
        return read(record.health, question)

    return Metric(name=f"health.{path}", family=Family.CHECKPOINT, unit=unit, explanation=explanation, read=read_it)


def _bound(direction: Direction, result: GainResult) -> Number | None:
    return result.bound[direction].worst


def _of_findings(measures: str) -> Explanation:
    return Explanation(
        measures=f"{measures} of `mhcdiag health` with its default thresholds.",
        source="`mhcdiag health --verbose` gives formula and source of each check",
        false_alarms="Findings of basis heuristic are rules of thumb.",
        action="`mhcdiag health` lists them with advice.",
    )


def _count(severity: Severity, result: HealthResult, _question: Question) -> Found:
    found = [one for check in result.checks for one in check.findings if one.severity is severity]
    if not found:
        return Found(value=0.0)
    site = f"{found[0].site}: " if found[0].site else ""
    return Found(value=float(len(found)), place=ValuePlace(text=f"{site}{found[0].what}"))


def _unchecked(result: HealthResult, _question: Question) -> Found:
    names = [check.name for check in result.checks if check.not_checkable or check.skipped]
    return Found(value=float(len(names)), place=ValuePlace(text=", ".join(names)) if names else None)


def _number(name: str, key: str, result: HealthResult, question: Question) -> Found:
    check = next((check for check in result.checks if check.name == name), None)
    if check is None:
        return Found(value=None, missing=f"check {name} was not made")
    if check.not_checkable:
        return Found(value=None, missing=f"check {name}: {check.not_checkable}")
    # A number per site says more than the check's summary of it: it has a place, and a lower limit has its own end.
    curve = check.per_site.get(key)
    if curve:
        index = extreme(curve, question.relation)
        return Found(value=curve[index], place=ValuePlace(text=result.sites[index]))
    if key not in check.overall:
        return Found(value=None, missing=f"check {name} gives no {key} here")
    return Found(value=check.overall[key])


HEALTH = Group(name="health", metrics=tuple(_metrics()))

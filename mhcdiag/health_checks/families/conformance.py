"""Does a running implementation do what the layout says? From captured activations only; weights cannot tell."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from mhcdiag.health_checks.interface import TINY, HealthCheck, Outcome, Subject, largest, not_checkable
from mhcdiag.measures.stream_scale import StreamScales, stream_scales
from mhcdiag.results.gain import Direction
from mhcdiag.results.health import SEVERITIES, Basis, Finding, Severity
from mhcdiag.results.wording import which_sites
from mhcdiag.weight_readers.records import Prediction, SiteActivations

AS_IT_IS = "as it is"
"""x_out follows H x plus post times branch, as captured."""

DEFECTS = {
    # Megatron-LM #4957: DeepSeek's code contracts the first index of comb.
    "transposed": ("H is applied transposed", "swap the axes in the einsum: DeepSeek contracts comb's first index"),
    # lucidrains/hyper-connections #8, tokenbender #3: what mixing returned was dropped.
    "not mixed": ("the streams are never mixed: x_out = x_in + post branch", "use the result of the mixing"),
    # marin #2321: mHC's equation 8 has 2 sigmoid(.), several ports had sigmoid(.).
    "post halved": ("post is half of what is applied", "capture (or apply) 2 sigmoid, not sigmoid"),
    "post doubled": ("post is twice what is applied", "capture (or apply) sigmoid once"),
}
"""What else x_out may follow: what that means, and what to do."""

CLEARLY_BETTER = 10.0
"""How many times smaller the error of another reading must be to be named: 20 and 40 iterations that have converged
differ by rounding alone."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadingErrors:
    """How far readings of the weights are from what was captured; each error is the largest over sites."""

    own: float
    """Of the layout's own reading, as a share of |x|."""
    best: float
    """Of the best other one."""
    best_name: str
    """Which that is."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _OfSites:
    """The errors of all readings, site by site."""

    own: tuple[float, ...]
    others: Mapping[str, tuple[float, ...]]

    def of(self, sites: Sequence[int]) -> ReadingErrors:
        """Of some of the sites together."""
        worst = {name: largest(errors[i] for i in sites) for name, errors in self.others.items()}
        name = min(worst, key=worst.__getitem__, default="")
        return ReadingErrors(
            own=largest(self.own[i] for i in sites), best=worst.get(name, float("inf")), best_name=name
        )

    def groups(self) -> list[list[int]]:
        """Sites that follow the same other reading much better than the layout; those that follow none come last."""
        whole = self.of(range(len(self.own)))
        found: dict[str, list[int]] = {}
        for i, own in enumerate(self.own):
            # Readings that converge fit a site alike: the one that explains all sites best is named at each.
            names = [whole.best_name, *sorted(self.others, key=lambda name: self.others[name][i])]
            better = (name for name in names if name and self.others[name][i] * CLEARLY_BETTER <= own)
            found.setdefault(next(better, ""), []).append(i)
        return [found[name] for name in sorted(found, key=lambda name: (not name, found[name][0]))]


def compare_readings(subject: Subject) -> _OfSites | None:
    """Hold all readings of the weights against captured streams; None where the layout makes no prediction."""
    predictions = {} if subject.predict is None else subject.predict()
    if not predictions:
        return None
    (_, own), *others = [(name, _reading_errors(subject.activations, each)) for name, each in predictions.items()]
    return _OfSites(own=own, others=dict(others))


def reading_findings(
    errors: ReadingErrors, sites: Sequence[str], limits: Mapping[str, float], *, conforms: bool, among: Sequence[str]
) -> list[Finding]:
    """What to say of the layout's own reading at some sites, at most one finding.

    Parameters
    ----------
    errors
        Those of these sites.
    sites
        Their names.
    limits
        As for the check.
    conforms
        Whether x_out follows the captured H there, so that only the weights are in question.
    among
        The names of all sites.
    """
    if errors.own <= limits["differs"]:
        return []
    size = f"off by {errors.own:.2g} of |x|"
    where = which_sites(sites, among)
    if errors.best * CLEARLY_BETTER <= errors.own:
        what = (
            f"the running model follows {errors.best_name} ({errors.best:.2g}) rather than the layout{where} ({size})"
        )
        severity = Severity.FAIL if errors.own > limits["error"] else Severity.WARN
        advice = "make the implementation agree with the checkpoint, or say so by --layout or --sinkhorn-iters"
    elif conforms and errors.own > limits["unexplained"]:
        what = f"the captured H is not what these weights give by this layout{where} ({size})"
        severity, advice = Severity.WARN, "captured from this very checkpoint? compare site by site"
    else:
        return []
    return [Finding(severity=severity, what=what, site=sites[0], sites=len(sites), advice=advice)]


def _run(subject: Subject, limits: Mapping[str, float]) -> Outcome:
    """What was applied against the captured H, then the captured H against the weights; each site by itself."""
    complete = [(i, site) for i, site in enumerate(subject.activations) if site.x_out is not None]
    if not complete:
        return not_checkable("not checkable from weights: capture x_in and x_out of a running model (--captured)")
    by_site = [_errors(site) for _, site in complete]
    names = [subject.sites[i] for i, _ in complete]
    scales = [_scales(site) for _, site in complete]
    errors = {name: [each[name] for each in by_site] for name in (AS_IT_IS, *DEFECTS)}
    verdicts = [_verdict(each, limits) for each in by_site]
    readings = compare_readings(subject)
    conforming = {i for (i, _), verdict in zip(complete, verdicts, strict=True) if verdict == AS_IT_IS}
    conforming |= set(range(len(subject.sites))) - {i for i, _ in complete}
    # What is applied wrongly makes the weights look wrong, too.
    blamed = {i for (i, _), verdict in zip(complete, verdicts, strict=True) if verdict in DEFECTS}
    of_readings, explained = _of_readings(readings, subject, limits, conforming=conforming, blamed=blamed)
    findings: list[Finding] = []
    for defect in (*DEFECTS, NEITHER):
        # A reading that explains x_out says more than "neither".
        at = [k for k, v in enumerate(verdicts) if v == defect and not (v == NEITHER and complete[k][0] in explained)]
        findings += _defect(defect, at, names, errors[AS_IT_IS], limits) if at else []
    findings += of_readings
    findings += _wrong_scale([(n, s) for n, s, v in zip(names, scales, verdicts, strict=True) if v == AS_IT_IS], limits)
    findings += _wrong_axis(subject, limits["exact"])
    overall = {name: largest(values) for name, values in errors.items()}
    overall["scale"] = largest(abs(each.mixed - 1) for each in scales)
    if readings is not None:
        whole = readings.of(range(len(readings.own)))
        overall |= {"from weights": whole.own, "other reading": whole.best}
    per_site = {name: tuple(values) for name, values in errors.items()}
    return Outcome(
        overall=overall,
        per_site=per_site if len(complete) == len(subject.sites) else {},
        findings=tuple(sorted(findings, key=lambda each: -SEVERITIES.index(each.severity))),
    )


NEITHER = "neither"
"""Where x_out follows no reading at all."""


def _verdict(errors: Mapping[str, float], limits: Mapping[str, float]) -> str:
    """What x_out of one site follows.

    Streams that are nearly alike are off by little under any mapping: there another meaning is told from ours by how
    much better it fits, which rounding cannot do.
    """
    own = errors[AS_IT_IS]
    best = min(DEFECTS, key=lambda name: errors[name])
    if own <= limits["error"]:
        fits = limits["differs"] < own and errors[best] * CLEARLY_BETTER <= own
        return best if fits else AS_IT_IS
    return best if errors[best] <= limits["error"] else NEITHER


def _defect(
    defect: str, at: Sequence[int], names: Sequence[str], off: Sequence[float], limits: Mapping[str, float]
) -> list[Finding]:
    what, advice = DEFECTS.get(defect, ("x_out follows neither H x nor H^T x", "compare site by site"))
    sites = [names[k] for k in at]
    worst = largest(off[k] for k in at)
    beyond = f", > {limits['error']:g}" if not worst <= limits["error"] else ""
    size = f"(x_out is off by {worst:.2g} of |x|{beyond})"
    said = f"{what}{which_sites(sites, names)} {size}"
    return [Finding(severity=Severity.FAIL, what=said, site=sites[0], sites=len(sites), advice=advice)]


def _of_readings(
    readings: _OfSites | None,
    subject: Subject,
    limits: Mapping[str, float],
    *,
    conforming: set[int],
    blamed: set[int],
) -> tuple[list[Finding], set[int]]:
    """Findings on other readings, and the sites whose streams one of them explains."""
    findings: list[Finding] = []
    explained: set[int] = set()
    for whole in readings.groups() if readings is not None else ():
        assert readings is not None
        group = [i for i in whole if i not in blamed]
        if not group:
            continue
        errors = readings.of(group)
        at = [subject.sites[i] for i in group]
        found = reading_findings(errors, at, limits, conforms=conforming.issuperset(group), among=subject.sites)
        findings += found
        explained |= set(group) if found and errors.best * CLEARLY_BETTER <= errors.own else set()
    return findings, explained


def _scales(site: SiteActivations) -> StreamScales:
    assert site.x_out is not None
    return stream_scales(site.h_res.double() @ site.x_in.double(), _written(site), site.x_out.double())


def _wrong_scale(sites: Sequence[tuple[str, StreamScales]], limits: Mapping[str, float]) -> list[Finding]:
    """Sites that pass by `error`, and yet apply H times a number: 1 % at each of 120 sites is a factor of 3.3."""
    limit = limits["scale"]
    beyond = [(name, each) for name, each in sites if abs(each.mixed - 1) > max(limit, each.doubt)]
    if not beyond:
        return []
    name, worst = max(beyond, key=lambda pair: abs(pair[1].mixed - 1))
    said = (
        f"x_out is H x times {worst.mixed:.4g}{which_sites([each for each, _ in beyond], [each for each, _ in sites])} "
        f"(1 +- {limit:g}); the tolerance `error` ({limits['error']:g}) alone would hide it"
    )
    advice = "look for a factor on the streams, the mapping or the norm"
    return [Finding(severity=Severity.FAIL, what=said, site=name, sites=len(beyond), advice=advice)]


def _errors(site: SiteActivations) -> dict[str, float]:
    """RMS of x_out less what it should be, over that of x_in: as captured, and with each defect."""
    assert site.x_out is not None
    maps, x = site.h_res.double(), site.x_in.double()
    added = _written(site)
    after = site.x_out.double()
    size = x.square().mean().sqrt().clamp(min=TINY)

    def error(expected: Float[Tensor, "token stream width"]) -> float:
        return float((after - expected).square().mean().sqrt() / size)

    mixed = maps @ x
    return {
        AS_IT_IS: error(mixed + added),
        "transposed": error(maps.mT @ x + added),
        "not mixed": error(x + added),
        "post halved": error(mixed + 2 * added),
        "post doubled": error(mixed + added / 2),
    }


def _written(site: SiteActivations) -> Float[Tensor, "token stream width"]:
    """Post times branch; zero where they were not captured."""
    if site.branch is None or site.post is None:
        return torch.zeros_like(site.x_in, dtype=torch.float64)
    return site.post.double()[..., None] * site.branch.double()[:, None, :]


def _reading_errors(sites: Sequence[SiteActivations], prediction: Prediction) -> tuple[float, ...]:
    """By site the larger error of predicted streams and post weights."""
    errors = []
    for site, maps, post in zip(sites, prediction.h_res, prediction.post, strict=True):
        x = site.x_in.double()
        size = x.square().mean().sqrt().clamp(min=TINY)
        of_site = [float((maps.double() @ x - _mixed(site)).square().mean().sqrt() / size)]
        if post is not None and site.post is not None:
            applied = site.post.double()
            of_site.append(float((post.double() - applied).norm() / applied.norm().clamp(min=TINY)))
        errors.append(largest(of_site))
    return tuple(errors)


def _mixed(site: SiteActivations) -> Float[Tensor, "token stream width"]:
    """What mixing made of the streams: x_out without what was written, or H x where x_out was not captured."""
    if site.x_out is None:
        return site.h_res.double() @ site.x_in.double()
    return site.x_out.double() - _written(site)


def _wrong_axis(subject: Subject, tolerance: float) -> list[Finding]:
    """Whether sums are 1 on the other side than the layout says; both sides are, near the limit of the iteration."""
    if len(subject.exact) != 1:
        return []
    (expected,) = subject.exact
    off = {}
    for direction, axis in ((Direction.FORWARD, -1), (Direction.BACKWARD, -2)):
        sums = torch.cat([(site.h_res.double().sum(dim=axis) - 1).abs().flatten() for site in subject.activations])
        off[direction] = float(sums.max())
    other = Direction.BACKWARD if expected is Direction.FORWARD else Direction.FORWARD
    if not (off[expected] > tolerance >= off[other]):
        return []
    what = f"the captured H has exact {other} sums, the layout says {expected} ones (off by {off[expected]:.2g})"
    advice = "H was captured or applied transposed"
    return [Finding(severity=Severity.FAIL, what=what, site="", sites=len(subject.activations), advice=advice)]


CHECK = HealthCheck(
    name="conformance",
    formula=(
        "site by site: |x_out - post branch - H x| / |x| against the same with H^T, with I, with post/2 and with "
        "2 post; a in x_out = a H x + b post branch; which sums "
        "of H are 1; H from the weights and x_in against x_out (or the captured H), by the layout and with slices in "
        "another order, other iterations, another eps"
    ),
    source="Megatron-LM #4957, lucidrains/hyper-connections #8, tokenbender #3, marin #2321",
    basis=Basis.MEASURED,
    thresholds={
        # Captured bf16 streams alone leave 0.004 of rounding. It hides a scale of up to 2 %, which "scale" finds.
        "error": 0.02,
        # Of the least-squares factor on H x: rounding of bf16 streams moves it by 1e-4 in 8 tokens of 4 x 64 numbers,
        # and 0.5 % at each of 120 sites is a factor of 1.8.
        "scale": 0.005,
        # The exact side of 20 Sinkhorn iterations in float32 is within 1e-5; the other one is off by percents.
        "exact": 1e-3,
        # Below this the weights explain what was captured, and no other reading of them is worth a word.
        "differs": 1e-4,
        # A rule of thumb, above `error`: that the captured H is another one is the weakest of these claims.
        "unexplained": 0.05,
    },
    run=_run,
)

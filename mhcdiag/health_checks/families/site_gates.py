"""Whether gates are saturated, factors have grown, entries of HC change their sign: the check `gates`."""

from collections.abc import Mapping
from math import sqrt

import torch

from mhcdiag.health_checks.interface import (
    UNREAD_SPREADS,
    HealthCheck,
    Outcome,
    Subject,
    above,
    model_finding,
    not_checkable,
)
from mhcdiag.mappings.interface import GateActivation
from mhcdiag.mappings.parametric import Activation, ParametricStack
from mhcdiag.results.health import Basis, Finding, Severity


def _run(subject: Subject, limits: Mapping[str, float]) -> Outcome:
    """From parameters alone, for what the layout offers of them."""
    parameters = subject.parameters
    if parameters is None:
        return not_checkable("captured mappings and plain models have no such parameters")
    findings, overall, per_site = [], {}, {}
    squashed = [site for site in subject.gates or () if site.gate is GateActivation.SIGMOID]
    if squashed:
        saturated = _saturated(subject, limits["logit"])
        per_site["saturated_at_site"] = tuple(saturated)
        overall["saturated"] = sum(saturated) / len(saturated)
        if not overall["saturated"] <= limits["saturated_warn"]:
            what = f"{overall['saturated']:.0%} of pre and post logits are beyond +-{limits['logit']:g}"
            findings.append(model_finding(Severity.WARN, what, "their gradients vanish: lower them or decay them"))
    if parameters.factors is not None and parameters.recipe.activation is Activation.TANH:
        saturation = _tanh_saturation(parameters, limits["tanh"])
        per_site["tanh_saturated"] = tuple(saturation)
        findings += above(
            subject.sites, saturation, {Severity.WARN: limits["tanh_warn"]},
            what=f"{{value}} of the inputs of tanh are beyond +-{limits['tanh']:g} (> {{limit}})",
            advice="the input-dependent part switches between -alpha and alpha: lower or decay its projection",
        )  # fmt: skip
    if parameters.input_dependent:
        alphas = parameters.scale.double().abs().tolist()
        per_site["alpha"] = tuple(alphas)
        findings += above(
            subject.sites, alphas, {Severity.NOTE: limits["alpha_note"]},
            what="|alpha| of the residual part is {value} (> {limit})", advice="watch it over checkpoints",
        )  # fmt: skip
    if parameters.factors is not None:
        per_site["dynamic_share"] = tuple(_shares(subject))
        if max(per_site["dynamic_share"]) < limits["dynamic_note"]:
            what = f"the input-dependent part is less than {limits['dynamic_note']:g} of the static one"
            findings.append(model_finding(Severity.NOTE, what, "a static mixer would do; the projection is idle"))
    if parameters.recipe.constraint is None:
        signs, of_signs = _signs(subject, limits)
        per_site |= signs
        findings += of_signs
    return Outcome(
        overall=overall,
        per_site=per_site,
        findings=tuple(findings),
        skipped=(UNREAD_SPREADS,) if squashed and subject.unread_spreads else (),
    )


def _signs(subject: Subject, limits: Mapping[str, float]) -> tuple[dict[str, tuple[float, ...]], list[Finding]]:
    """What only unconstrained mappings have: entries and row sums below zero."""
    negative = (subject.maps < 0).double().mean(dim=(1, 2, 3)).tolist()
    flipped = (subject.maps.sum(dim=2) < 0).double().mean(dim=(1, 2)).tolist()
    findings = above(
        subject.sites, flipped, {Severity.NOTE: limits["flipped_note"]},
        what="{value} of the row sums are negative (> {limit}): streams change their sign",
        advice="signed sums cancel over depth: read the gain in the definition norm",
    )  # fmt: skip
    return {"negative_entries": tuple(negative), "negative_row_sums": tuple(flipped)}, findings


def _saturated(subject: Subject, bound: float) -> list[float]:
    """Per site the probability over pre and post logits that an input of RMS 1 carries one beyond the bound."""
    # Such an input moves a logit as N(0, deviation^2): no token is needed, as under tanh.
    found = []
    for site, gates in enumerate(subject.gates or ()):
        logits = torch.cat([gates.pre, gates.post]).double()
        beyond = (logits.abs() > bound).double() + 0 * logits  # NaN stays NaN
        if subject.gate_spreads is not None:
            spread = subject.gate_spreads[site]
            deviation = torch.cat([spread.pre, spread.post]).double()
            wide = deviation.clamp(min=1e-12) * sqrt(2)
            moved = (torch.erfc((bound - logits) / wide) + torch.erfc((bound + logits) / wide)) / 2
            beyond = torch.where(deviation > 0, moved, beyond) + 0 * deviation
        found.append(float(beyond.mean()))
    return found


def _tanh_saturation(parameters: ParametricStack, bound: float) -> list[float]:
    """Per site the mean probability over columns that a Gaussian input of tanh lies beyond the bound."""
    assert parameters.factors is not None
    # An input of RMS 1 projects on a column w as N(bias, |w|^2): no token is needed to know how often tanh is flat.
    found = []
    for site, factor in enumerate(parameters.factors):
        deviation = factor.column_norms().double().clamp(min=1e-12) * sqrt(2)
        offset = torch.zeros(()) if parameters.offset is None else parameters.offset[site].double()
        beyond = torch.erfc((bound - offset) / deviation) + torch.erfc((bound + offset) / deviation)
        found.append(float(beyond.mean() / 2))
    return found


def _shares(subject: Subject) -> list[float]:
    """Per site the deviation of the input-dependent logits, for inputs of RMS 1, over that of the static ones."""
    parameters = subject.parameters
    assert parameters is not None
    assert parameters.factors is not None
    shares = []
    for base, scale, factor in zip(
        parameters.base.double(), parameters.scale.double(), parameters.factors, strict=True
    ):
        moving = scale.abs() * factor.column_norms().square().mean().sqrt()
        shares.append(float(moving / base.std(correction=0).clamp(min=1e-12)))
    return shares


CHECK = HealthCheck(
    name="gates",
    formula=(
        "for inputs of RMS 1, share of pre and post logits beyond +-6 where a sigmoid follows, P(|N(static, alpha^2 |W "
        "column|^2)| > 6), and of inputs of tanh beyond +-2, P(|N(bias, |W column|^2)| > 2); |alpha|; sd of the "
        "input-dependent logits |alpha| |W column| over the sd of the static ones; for HC the share of entries below 0 "
        "and of negative row sums"
    ),
    source="mHC alpha init 0.01; 0.01 to about 2 in a 1.7B run; tanh and sigmoid saturation by definition",
    basis=Basis.HEURISTIC,
    thresholds={
        # The sigmoid's slope at 6 is a hundredth of its largest.
        "logit": 6.0,
        "saturated_warn": 0.05,
        # The slope of tanh at 2 is 0.07. Of a unit Gaussian 0.046 lies beyond.
        "tanh": 2.0,
        "tanh_warn": 0.25,
        # From 0.01 at the start to about 2 in a healthy run of 1.7B parameters: beyond is worth watching, no more.
        "alpha_note": 2.0,
        # Rules of thumb.
        "dynamic_note": 0.05,
        "flipped_note": 0.25,
    },
    run=_run,
)

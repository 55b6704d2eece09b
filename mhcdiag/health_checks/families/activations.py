"""How large the streams themselves become, where they were captured."""

from collections.abc import Mapping

from mhcdiag.health_checks.interface import Outcome, Subject, largest, not_checkable, overall
from mhcdiag.results.health import Basis, Severity

NAME = "activations"
FORMULA = (
    "RMS of x_in per depth without the first token, growth per site, 65504 / max |x| (fp16), first token over the rest"
)
SOURCE = "fp16 range; DeepSeek-V4-Flash's first token grows to 69,632 (a community measurement)"
BASIS = Basis.MEASURED
THRESHOLDS = {"headroom_fail_bits": 3.0, "growth_warn": 1.1, "largest": 65504.0}


def run(subject: Subject, limits: Mapping[str, float]) -> Outcome:
    """See `Check`."""
    if not subject.activations:
        return not_checkable("no activations were captured (--captured)")
    streams = [site.x_in.double() for site in subject.activations]
    rms = [float((x[1:] if len(x) > 1 else x).square().mean().sqrt()) for x in streams]
    first = [float(x[0].square().mean().sqrt()) for x in streams]
    most = largest(float(x.abs().max()) for x in streams)
    growth = (rms[-1] / max(rms[0], 1e-300)) ** (1 / max(len(rms) - 1, 1))
    used = most * 2 ** limits["headroom_fail_bits"] / limits["largest"]
    findings = overall(
        used, {Severity.FAIL: 1.0},
        what=f"max |x| is {most:.3g}: under {limits['headroom_fail_bits']:g} bits to {limits['largest']:g}",
        advice="keep the streams in bf16 or fp32",
    )  # fmt: skip
    findings += overall(
        growth, {Severity.WARN: limits["growth_warn"]},
        what="the RMS grows by {value} per site (> {limit})", advice="compare with an earlier checkpoint",
    )  # fmt: skip
    ratios = [a / max(b, 1e-300) for a, b in zip(first, rms, strict=True)]
    return Outcome(
        overall={"growth_per_site": growth, "largest": most, "first_token_ratio": largest(ratios)},
        per_site={"rms": tuple(rms), "rms_first_token": tuple(first)},
        findings=tuple(findings),
    )

"""How large the streams themselves become, where they were captured: fp16 ends at 65504."""

from collections.abc import Mapping

from mhcdiag.health_checks.interface import HealthCheck, Outcome, Subject, largest, model_above, not_checkable, over
from mhcdiag.results.health import Basis, Severity


def _run(subject: Subject, limits: Mapping[str, float]) -> Outcome:
    """The first token stands apart: it grows far beyond the others in models that are sound."""
    if not subject.activations:
        return not_checkable("no activations were captured (--captured)")
    streams = [site.x_in.double() for site in subject.activations]
    rms = [float((x[1:] if len(x) > 1 else x).square().mean().sqrt()) for x in streams]
    first = [float(x[0].square().mean().sqrt()) for x in streams]
    after = [site.x_out.double() for site in subject.activations if site.x_out is not None]
    most = largest(float(x.abs().max()) for x in (*streams, *after))
    growth = over(rms[-1], rms[0]) ** (1 / max(len(rms) - 1, 1))
    # As a share of what is allowed, so that more than 1 is beyond and NaN is, too.
    used = most * 2 ** limits["headroom_fail_bits"] / limits["largest"]
    findings = model_above(
        used, {Severity.FAIL: 1.0},
        what=f"max |x| is {most:.3g}: under {limits['headroom_fail_bits']:g} bits to {limits['largest']:g}",
        advice="keep the streams in bf16 or fp32",
    )  # fmt: skip
    findings += model_above(
        growth, {Severity.WARN: limits["growth_warn"]},
        what="the RMS grows by {value} per site (> {limit})",
        none="the streams are zero at the first site, and are not at the last",
        advice="compare with an earlier checkpoint",
    )  # fmt: skip
    ratios = [over(a, b) for a, b in zip(first, rms, strict=True)]
    return Outcome(
        overall={"growth_per_site": growth, "largest": most, "first_token_ratio": largest(ratios)},
        per_site={"rms": tuple(rms), "rms_first_token": tuple(first)},
        findings=tuple(findings),
    )


CHECK = HealthCheck(
    name="activations",
    formula=(
        "RMS of x_in per depth without the first token, growth per site, 65504 / max |x| (fp16), first token over the "
        "rest"
    ),
    source="fp16 range; DeepSeek-V4-Flash's first token grows to 69,632 (a community measurement)",
    basis=Basis.MEASURED,
    thresholds={
        # The gain of toy HC runs that ended in NaN with fp16 streams doubled every 15 to 27 steps: three bits to the
        # largest number are some fifty steps' warning.
        "headroom_fail_bits": 3.0,
        # A rule of thumb: GPT-2 XL grows by about 1.045 a layer, and 1.1 at each of 60 sites is a factor of 300.
        "growth_warn": 1.1,
        # The largest number of fp16; bf16 and fp32 reach 3e38, and whoever keeps streams in them sets this.
        "largest": 65504.0,
    },
    run=_run,
)

"""The tables of the study, as Markdown."""

import math
from collections.abc import Iterable, Sequence
from itertools import groupby
from statistics import fmean

from toy_study_events import RunSummary

BANDS = (1e3, 1e5, 1e7, 1e9, math.inf)
"""Upper ends of the bands of prior gain; those of `mhcdiag.results.bands`."""


def tables(runs: Sequence[RunSummary]) -> str:
    """All tables, one after another."""
    parts = [by_topology(runs), risk_table(runs), warning_table(runs), false_warnings(runs)]
    return "\n".join(parts)


def risk_bands(runs: Sequence[RunSummary]) -> list[tuple[float, int, int]]:
    """Per band of the gain before the first event: its upper end, runs, and runs with an event.

    Only runs whose streams are mixed without a constraint, with streams in fp32 or bf16: fp16 ends for another reason.
    """
    mixed = [run for run in runs if run.topology == "hc" and run.stream_dtype != "fp16"]
    found = []
    for lower, upper in zip((0.0, *BANDS[:-1]), BANDS, strict=True):
        band = [run for run in mixed if lower < run.gain_before <= upper]
        found.append((upper, len(band), sum(run.event > 0 for run in band)))
    return found


def by_topology(runs: Sequence[RunSummary]) -> str:
    """One line per topology, learning rate and variant: ranges over seeds."""
    lines = [
        "| topology | lr | seeds | loss (last 50) | largest gain forward | backward | above 1000 at step "
        "| first event at step | at chance in the end | NaN at step |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for (name, rate), group in groupby(sorted(runs, key=_order), key=lambda run: (_name(run), run.learning_rate)):
        each = list(group)
        lines.append(
            f"| {name} | {rate:g} | {len(each)} | {_span([run.loss for run in each], '.2f')} | "
            f"{_span([run.max_forward for run in each], '.3g')} | {_span([run.max_backward for run in each], '.3g')} | "
            f"{_steps(run.crossing_1000 for run in each)} | {_steps(run.event for run in each)} | "
            f"{sum(run.collapsed for run in each)} of {len(each)} | {_steps(run.nan_step for run in each)} |"
        )
    return "\n".join(lines) + "\n"


def risk_table(runs: Sequence[RunSummary]) -> str:
    """Share of runs with an event by band of prior gain."""
    lines = ["| largest gain before the first event | hc runs | with an event |", "|---|---|---|"]
    lower = 0.0
    for upper, count, events in risk_bands(runs):
        name = (
            f"up to {upper:g}"
            if not lower
            else f"{lower:g} to {upper:g}"
            if math.isfinite(upper)
            else f"above {lower:g}"
        )
        lines.append(f"| {name} | {count} | {events} |")
        lower = upper
    return "\n".join(lines) + "\n"


def warning_table(runs: Sequence[RunSummary]) -> str:
    """Of each run with an event, what warned how many steps before it."""
    lines = [
        "| run | event at step | gain above 1e5 | gradient norm 2.5 times its median | `gradspike` | first warning |",
        "|---|---|---|---|---|---|",
    ]
    for run in sorted(runs, key=_order):
        if run.event < 0:
            continue
        leads = {"gain": run.lead_gain, "gradient norm": run.lead_norm, "detector": run.lead_detector}
        known = {name: lead for name, lead in leads.items() if lead >= 0}
        first = max(known, key=lambda name: known[name]) if known else "none"
        shown = " | ".join("no warning" if lead < 0 else f"{lead} steps before" for lead in leads.values())
        lines.append(f"| {_name(run)}, lr {run.learning_rate:g}, seed {run.seed} | {run.event} | {shown} | {first} |")
    return "\n".join(lines) + "\n"


def false_warnings(runs: Sequence[RunSummary]) -> str:
    """Warnings in the runs to which nothing happened."""
    lines = [
        "| runs without an event | runs | gain above 1e5 | norm outliers per 1000 steps | `gradspike` per 1000 steps |",
        "|---|---|---|---|---|",
    ]
    healthy = sorted((run for run in runs if run.event < 0), key=lambda run: run.topology)
    for topology, group in groupby(healthy, key=lambda run: run.topology):
        each = list(group)
        steps = sum(run.steps for run in each) / 1000
        lines.append(
            f"| {topology} | {len(each)} | {sum(run.max_forward > 1e5 for run in each)} | "
            f"{sum(run.norm_warnings for run in each) / steps:.1f} | "
            f"{sum(run.detector_warnings for run in each) / steps:.1f} |"
        )
    return "\n".join(lines) + "\n"


def _order(run: RunSummary) -> tuple[str, float, int]:
    return _name(run), run.learning_rate, run.seed


def _name(run: RunSummary) -> str:
    extra = [run.stream_dtype] if run.stream_dtype != "fp32" else []
    extra += ["QK-norm"] if run.qk_norm else []
    extra += [f"{run.sinkhorn_iters} iterations"] if run.topology == "mhc" and run.sinkhorn_iters != 20 else []
    return f"{run.topology} ({', '.join(extra)})" if extra else run.topology


def _span(values: Sequence[float], form: str) -> str:
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return "NaN"
    low, high = format(min(finite), form), format(max(finite), form)
    middle = f" (mean {format(fmean(finite), form)})" if form == ".2f" and low != high else ""
    return low if low == high else f"{low} to {high}{middle}"


def _steps(steps: Iterable[int]) -> str:
    return ", ".join("none" if step < 0 else str(step) for step in steps)

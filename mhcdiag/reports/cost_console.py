"""The reports of `mhcdiag cost`: text and JSON."""

import json
from dataclasses import asdict

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from mhcdiag.reports.text import in_bytes
from mhcdiag.results.cost import CostResult

FORMAT_VERSION = 1
PAPER = (
    "formulas: arXiv 2512.24880, Table 2, section 4.3 and equation 20. The paper reports 6.7 % more time for mHC at "
    "n = 4, with its own fused kernels and an overlapped pipeline"
)
TOYS = (
    "measured: processor time of one training step of the toy models on this machine; they are so narrow that starting "
    "operations costs more than the operations, so the ratios say nothing of large models"
)


def cost_report(result: CostResult) -> RenderableType:
    """Sizes, traffic, memory, and measured ratios."""
    head = (
        f"{result.model}: C = {result.width}, n = {result.streams}, {result.sites} sites, streams in {result.dtype}, "
        "per token"
    )
    parts: list[RenderableType] = [Text(head, style="bold"), Text(), _traffic(result), Text(), _memory(result), Text()]
    if result.measured:
        parts += [_measured(result), Text(), Text(TOYS, style="dim")]
    return Group(*parts, Text(PAPER, style="dim"))


def cost_json(result: CostResult) -> str:
    """The report as JSON, ending in a newline."""
    return json.dumps({"format_version": FORMAT_VERSION, "command": "cost", **asdict(result)}) + "\n"


def _traffic(result: CostResult) -> Table:
    table = Table(box=None, padding=(0, 3, 0, 0), header_style="bold")
    for column in ("elements per site", "reads", "writes", "both, over residual"):
        table.add_column(column, justify="left" if column == "elements per site" else "right")
    baseline = result.traffic[0].reads + result.traffic[0].writes
    for each in result.traffic:
        ratio = (each.reads + each.writes) / baseline
        table.add_row(each.topology, f"{each.reads:,}", f"{each.writes:,}", f"{ratio:.2f}")
    return table


def _memory(result: CostResult) -> Table:
    grid = Table.grid(padding=(0, 2))
    plain = result.stream_bytes // result.streams
    grid.add_row("streams kept for the backward pass", f"{in_bytes(result.stream_bytes)} (residual: {in_bytes(plain)})")
    grid.add_row(
        "with recomputation",
        f"{in_bytes(result.recomputed_bytes)} in blocks of {result.recompute_block:.1f} sites, sqrt(nL / (n + 2))",
    )
    grid.add_row(
        "between pipeline stages",
        f"{in_bytes(result.pipeline_bytes)}, {result.streams} times those of the residual stream",
    )
    grid.add_row("parameters", f"hc {result.parameters_hc:,}, mhc {result.parameters_mhc:,} in the whole model")
    return grid


def _measured(result: CostResult) -> Table:
    table = Table(box=None, padding=(0, 3, 0, 0), header_style="bold")
    for column in ("toy model", "ms per step", "over residual"):
        table.add_column(column, justify="left" if column == "toy model" else "right")
    for each in result.measured:
        table.add_row(each.topology, f"{each.milliseconds:.1f}", f"{each.ratio:.2f}")
    return table

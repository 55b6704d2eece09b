"""What `mhcdiag toy` prints at its end."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from mhcdiag.reports.console import VERDICT_STYLES, compared_text
from mhcdiag.results.numbers import text
from mhcdiag.results.toy import FINAL_STEPS, JudgedToys, ToyRun

NOTE = (
    f"loss: mean of the last {FINAL_STEPS} steps, nats per character; gain: whole model, amax, token mean of the "
    "held-out batch, largest of the run; learning rates are far above normal for such a width, and magnitudes are "
    "not those of a 27B model"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class TopologyRow:
    """One run, with what was found in its log."""

    run: ToyRun
    """The run."""
    events: tuple[str, ...]
    """Events of the loss, in words."""


def comparison_table(rows: Sequence[TopologyRow], *, figure: str) -> RenderableType:
    """One row per topology."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for column in ("topology", "loss", "gain forward", "backward", "above 1000", "grad norm", "loss events", "CPU s"):
        table.add_column(column, justify="left" if column in ("topology", "loss events") else "right")
    for row in rows:
        run = row.run
        crossing = run.crossing()
        table.add_row(
            run.topology,
            f"{run.final_loss():.3f}",
            text(run.largest_gain("forward")),
            text(run.largest_gain("backward")),
            "never" if crossing is None else f"step {crossing}",
            text(run.largest_norm(), digits=3),
            _events(row),
            f"{run.seconds:.0f}" if run.seconds == run.seconds else "",
        )
    return Group(table, Text(), Text(NOTE, style="dim"), Text(f"figure: {figure}"), Text())


def toy_lines(run: ToyRun, events: tuple[str, ...]) -> RenderableType:
    """One run in a few lines."""
    grid = Table.grid(padding=(0, 2))
    grid.add_row("run", f"{run.path}: {run.topology}, seed {run.seed}, {len(run.rows)} steps")
    grid.add_row("loss", f"{run.final_loss():.3f} nats per character (mean of the last {FINAL_STEPS})")
    crossing = run.crossing()
    above = "" if crossing is None else f"; above 1000 from step {crossing} on"
    largest = f"forward {text(run.largest_gain('forward'))}, backward {text(run.largest_gain('backward'))}"
    grid.add_row("largest gain", f"{largest} (whole model, amax, token mean){above}")
    grid.add_row("loss events", _events(TopologyRow(run=run, events=events)))
    return Group(grid, Text())


def toy_verdict(judged: JudgedToys) -> Text:
    """The verdict with the numbers that decided it; empty without a limit."""
    if not judged.limits:
        return Text("no gate (--max-gain)", style="dim")
    line = Text.assemble((judged.verdict.upper(), VERDICT_STYLES[judged.verdict]))
    for limit in judged.limits:
        if limit.metric.endswith("nan_step"):
            line.append(f"  {limit.metric} {limit.value:.0f}")
            continue
        line.append(f"  {compared_text(limit)}")
    return line


def _events(row: TopologyRow) -> str:
    ended = () if row.run.nan_step is None else (f"NaN at {row.run.nan_step}: stopped",)
    others = tuple(event for event in row.events if not (ended and event.startswith("nan")))
    return ", ".join((*others, *ended)) or "none"

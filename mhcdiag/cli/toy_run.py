"""What `mhcdiag toy` does with its options: train, show progress, print, judge."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from mhcdiag.cli.output import console, save_figure
from mhcdiag.errors import MhcdiagError, SettingError
from mhcdiag.policies.verdicts import judge_toys
from mhcdiag.reports.toy_console import TopologyRow, comparison_table, toy_lines, toy_verdict
from mhcdiag.results.gain import GainResult
from mhcdiag.results.numbers import text
from mhcdiag.results.toy import StepRow, ToyRun
from mhcdiag.results.verdict import EXIT_CODES
from mhcdiag.toy.runfolder import CAPTURED, LOG, checkpoint_name
from mhcdiag.toy.settings import ToySettings
from mhcdiag.toy.together import OnStepOf, PlannedRun, jobs_for, train_together
from mhcdiag.toy.topologies import topology_for
from mhcdiag.usecases import gain as api
from mhcdiag.usecases.spikes import spikes

FIGURE = "compare.png"


def run_one(settings: ToySettings, out: Path, *, force: bool, resume: bool, max_gain: float | None) -> int:
    """Train one model; returns the exit code. Raises: MhcdiagError."""
    topology_for(settings)
    planned = PlannedRun(settings=settings, folder=out, force=force, resume=resume)
    with _progress([settings]) as on_step:
        (run,) = train_together([planned], jobs=1, on_step=on_step)
    return _finish([run], toy_lines(run, spikes_of(run)), max_gain=max_gain)


def run_several(
    settings: Sequence[ToySettings], out: Path, *, jobs: int | None, force: bool, resume: bool, max_gain: float | None
) -> int:
    """Train the models, `jobs` at once, and compare them; returns the exit code. Raises: MhcdiagError."""
    names = [each.topology for each in settings]
    if not names or len(set(names)) < len(names):
        raise SettingError(f"--topologies {','.join(names) or '(empty)'}: expected different names")
    for each in settings:
        topology_for(each)  # a wrong name is told before the first model is trained
    if not (force or resume) and out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise SettingError(f"{out}: exists already; --force replaces the runs in it, --resume continues them")
    planned = [PlannedRun(settings=each, folder=out / each.topology, force=force, resume=resume) for each in settings]
    with _progress(settings) as on_step:
        runs = train_together(planned, jobs=jobs_for(settings, jobs), on_step=on_step)
    from mhcdiag.plots.toy_comparison import comparison_figure

    gains = {run.topology: found for run in runs if (found := captured_gain(run)) is not None}
    save_figure(comparison_figure(runs, gains), out / FIGURE)
    rows = [TopologyRow(run=run, events=spikes_of(run)) for run in runs]
    return _finish(runs, comparison_table(rows, figure=str(out / FIGURE)), max_gain=max_gain)


def captured_gain(run: ToyRun) -> GainResult | None:
    """Gains of the newest captured mappings; None where nothing is mixed or no checkpoint was reached."""
    found = sorted((Path(run.path) / CAPTURED).glob(checkpoint_name(0).replace("000000", "*")))
    return api.gain(found[-1]) if found else None


def spikes_of(run: ToyRun) -> tuple[str, ...]:
    """Events of the loss that `mhcdiag spikes` finds in the run's log, blips left out: kind and step."""
    try:
        found = spikes(str(Path(run.path) / LOG))
    except MhcdiagError:
        return ()
    events = found.series["loss"].events if "loss" in found.series else ()
    return tuple(f"{event.kind} at {event.start:.0f}" for event in events if event.kind != "blip")


def _finish(runs: Sequence[ToyRun], report: object, *, max_gain: float | None) -> int:
    out = console()
    out.print(report)
    judged = judge_toys(runs, max_gain=max_gain)
    out.print(toy_verdict(judged), soft_wrap=True)
    return EXIT_CODES[judged.verdict]


@contextmanager
def _progress(settings: Sequence[ToySettings]) -> Iterator[OnStepOf | None]:
    """One progress bar a run, with loss and gain, on stderr where that is a terminal."""
    screen = console(stderr=True)
    if not screen.is_terminal:
        yield None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description:12}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[numbers]}"),
        TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=screen, transient=True) as bar:
        tasks = [bar.add_task(each.topology, total=each.steps, numbers="") for each in settings]
        gains = [math.nan for _ in settings]

        def on_step(place: int, row: StepRow) -> None:
            gains[place] = row.gain_forward if row.gain_forward is not None else gains[place]
            numbers = f"loss {row.loss:.3f}  gain {text(gains[place])}"
            bar.update(tasks[place], completed=row.step, numbers=numbers)

        yield on_step

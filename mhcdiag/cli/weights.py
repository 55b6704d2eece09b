"""`mhcdiag weights`: every value of a checkpoint."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from mhcdiag.cli import options
from mhcdiag.cli.configured import Config, Isolated, effective
from mhcdiag.results.health import Severity
from mhcdiag.usecases.options import WeightsOptions

if TYPE_CHECKING:
    from mhcdiag.results.weights import WeightsResult
    from mhcdiag.weight_scan.scanning import Progress

Match = Annotated[
    list[str] | None,
    typer.Option(
        metavar="GLOB", help="Only tensors of such a name, e.g. '*.mlp.*' (repeatable).",
        rich_help_panel=options.INPUT, show_default=False,
    ),
]  # fmt: skip
Sample = Annotated[
    float,
    typer.Option(metavar="FRACTION", help="Share of each large tensor to look at.", rich_help_panel=options.INPUT),
]
Allow = Annotated[
    list[str] | None,
    typer.Option(
        metavar="GLOB", help="Findings in tensors of such a name count nowhere (repeatable).",
        rich_help_panel=options.GATE, show_default=False,
    ),
]  # fmt: skip
FailOn = Annotated[Severity, typer.Option(help="Fail on findings this bad or worse.", rich_help_panel=options.GATE)]
Strict = Annotated[
    bool,
    typer.Option(
        "--strict", help="What is left out or allowed leaves it unjudged (exit 2).", rich_help_panel=options.GATE
    ),
]
AsCsv = Annotated[
    bool, typer.Option("--csv", help="Print the numbers of every tensor as CSV.", rich_help_panel=options.OUTPUT)
]
Verbose = Annotated[
    bool,
    typer.Option("--verbose", "-v", help="Every finding, and every tensor.", rich_help_panel=options.OUTPUT),
]


def weights(
    checkpoints: options.Checkpoints,
    match: Match = None,
    sample: Sample = 1.0,
    key: options.Key = None,
    allow: Allow = None,
    fail_on: FailOn = Severity.FAIL,
    strict: Strict = False,
    as_json: options.AsJson = False,
    as_csv: AsCsv = False,
    verbose: Verbose = False,
    quiet: options.Quiet = False,
    _isolated: Isolated = False,
    _config: Config = None,
) -> None:
    """Look at every value of a checkpoint: NaN and infinity, and what is unlike the other layers.

    Exit codes: 0 nothing of --fail-on, 1 NaN or infinity (or what --fail-on says), 2 could not judge.

    [bold]Examples[/bold]

      mhcdiag weights model.safetensors
      mhcdiag weights checkpoints/step_12000 --fail-on warn --allow '*.vision.*'
      mhcdiag weights hf://org/model --match '*.experts.*' --sample 0.05
      mhcdiag weights model/ --csv > tensors.csv
    """
    from mhcdiag.cli import output
    from mhcdiag.errors import SettingError
    from mhcdiag.policies.weights_verdicts import judge_weights
    from mhcdiag.reports.weights_text import verdict_line, weights_csv, weights_json, weights_text
    from mhcdiag.results.judged import JudgedWeights
    from mhcdiag.results.verdict import EXIT_CODES, combine
    from mhcdiag.usecases.weights import scan_weights

    if as_json and as_csv:
        raise SettingError("--json and --csv contradict each other: give one of them")
    chosen = WeightsOptions(match=tuple(match or ()), allow=tuple(allow or ()), sample=sample)

    def judged_of(path: str) -> JudgedWeights:
        with _progress(path) as progress:
            found = scan_weights(path, chosen, key=key, progress=progress)
        return judge_weights(found, fail_on=fail_on, strict=strict)

    judged = [output.or_unreadable(path, judged_of) for path in checkpoints]
    if as_json or as_csv:
        sys.stdout.write(weights_json(judged) if as_json else weights_csv(judged))
    else:
        for each in judged:
            if isinstance(each, JudgedWeights) and not quiet:
                sys.stdout.write(weights_text(each.result, width=output.console().width, details=verbose) + "\n")
        sys.stdout.writelines(f"{verdict_line(each)}\n" for each in judged if isinstance(each, JudgedWeights))
    raise typer.Exit(EXIT_CODES[combine(each.verdict for each in judged)])


def look_beside(ctx: typer.Context, *, wanted: bool | None, key: str | None) -> "Callable[[str], WeightsResult]":
    """Return what looks at all weights of a checkpoint for another command, as `mhcdiag weights` is configured.

    Parameters
    ----------
    ctx
        Of the running command, whose policy file counts.
    wanted
        `--scan` or `--no-scan`; None without either.
    """
    from mhcdiag.usecases.weights import weights_beside

    params, _ = effective(ctx, "weights")
    look = partial(weights_beside, options=WeightsOptions.from_params(params), wanted=wanted, key=key)

    def looked(path: str) -> "WeightsResult":
        with _progress(path) as progress:
            return look(path, progress=progress)

    return looked


_SHOWN_FROM = 200_000_000
"""Bytes from which a bar is worth its space: below, a scan is over before it is read."""


@contextmanager
def _progress(path: str) -> "Iterator[Progress | None]":
    """A bar on stderr with bytes and the time left, if that is a terminal."""
    from mhcdiag.cli import output

    console = output.console(stderr=True)
    if not console.is_terminal:
        yield None
        return
    from rich import progress as bars

    columns = (
        bars.TextColumn("scanning {task.description}"), bars.BarColumn(), bars.DownloadColumn(),
        bars.TransferSpeedColumn(), bars.TimeRemainingColumn(),
    )  # fmt: skip
    with output.without_status(), bars.Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(path, total=None, visible=False)

        def tell(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total, visible=total >= _SHOWN_FROM)

        yield tell

"""`mhcdiag inspect`: what a checkpoint holds, and what was recognised in it."""

import sys
from functools import partial

import typer

from mhcdiag.cli import options


def inspect(
    checkpoints: options.Checkpoints,
    key: options.Key = None,
    layout: options.LayoutName = None,
    assume: options.Assume = None,
    as_json: options.AsJson = False,
    verbose: options.Verbose = False,
) -> None:
    """What a checkpoint holds: container, tensors, what was recognised in it, what was not, and why.

    Only headers are read. Exit codes: 0 a layout fits, 2 none does, several do, or the files cannot be read.

    [bold]Examples[/bold]

      mhcdiag inspect model.safetensors
      mhcdiag inspect checkpoints/step_12000 --verbose
    """
    from mhcdiag.cli import output
    from mhcdiag.reports.inspection_text import inspection_json, inspection_text
    from mhcdiag.results.inspection import Inspection
    from mhcdiag.results.verdict import EXIT_CODES, Verdict
    from mhcdiag.usecases.inspect import inspect as look

    judge = partial(look, key=key, layout=layout, assume=assume)
    found = [output.or_unreadable(path, judge) for path in output.with_progress(checkpoints, doing="looking at")]
    inspected = [each for each in found if isinstance(each, Inspection)]
    if as_json:
        sys.stdout.write(inspection_json(inspected))
    else:
        sys.stdout.write("\n".join(inspection_text(each, details=verbose) for each in inspected))
    recognised = len(inspected) == len(found) and all(each.layout for each in inspected)
    raise typer.Exit(EXIT_CODES[Verdict.PASS if recognised else Verdict.UNJUDGED])

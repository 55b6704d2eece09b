"""`mhcdiag layouts`: what can be read."""

import sys

import typer

from mhcdiag.cli import options


def layouts(as_json: options.AsJson = False) -> None:
    """All layouts and containers that can be read, with source and status."""
    from mhcdiag.cli.output import console
    from mhcdiag.reports.inspection_text import catalogue_json, catalogue_text
    from mhcdiag.usecases.inspect import catalogue

    found = catalogue()
    sys.stdout.write(catalogue_json(found) if as_json else catalogue_text(found, width=console().width))
    raise typer.Exit(0)

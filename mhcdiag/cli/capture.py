"""`mhcdiag capture`: from a model and a text to a file of captured mappings."""

from pathlib import Path
from typing import Annotated

import typer


def capture(
    model: Annotated[
        str, typer.Argument(metavar="MODEL_DIR", help="A model of transformers, with tokenizer.", show_default=False)
    ],
    out: Annotated[Path, typer.Option(metavar="FILE", help="Where to write the mappings.", show_default=False)],
    text: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The text to run it on (default: one that ships here).", show_default=False),
    ] = None,
    tokens: Annotated[int, typer.Option(min=1, help="Most tokens of the text.")] = 4096,
    length: Annotated[int, typer.Option(min=1, help="Tokens of a sequence.")] = 1024,
    device: Annotated[str, typer.Option(help="Where to run the model, e.g. cuda.")] = "cpu",
    stack: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Which stack of streams, e.g. encoder, of several.", show_default=False),
    ] = None,
    step: Annotated[
        int | None,
        typer.Option(min=0, help="Optimiser step of the weights, to be written into the file.", show_default=False),
    ] = None,
) -> None:
    """Run a model on real tokens and write down its residual mappings, for `mhcdiag gain`.

    Needs the extra hf. Of the first tokens the file holds what entered and left each site, for `mhcdiag health
    --captured`, and a hash that ties it to the weights.
    Exit codes: 0 written, 2 model or text could not be used.

    [bold]Example[/bold]

      mhcdiag capture checkpoints/step_12000 --text page.txt --out maps.safetensors
      mhcdiag gain maps.safetensors
    """
    from mhcdiag.usecases.capture import capture as run_and_write

    found = run_and_write(model, text, out, tokens=tokens, length=length, device=device, stack=stack, step=step)
    of = f" of {found.stack}" if stack is not None else ""
    typer.echo(f"{found.path}: {found.sites} sites{of}, {found.streams} streams, {found.tokens} tokens")
    typer.echo(f"weights {found.tied_to}")
    if found.idle:
        typer.echo(f"not in it, since they did not run: {', '.join(found.idle)}")

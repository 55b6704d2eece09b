"""`mhcdiag capture`: from a model and a text to a file of captured mappings."""

from pathlib import Path
from typing import Annotated

import typer


def capture(
    model: Annotated[
        str, typer.Argument(metavar="MODEL_DIR", help="A model of transformers, with tokenizer.", show_default=False)
    ],
    text: Annotated[Path, typer.Option(metavar="FILE", help="The text to run it on.", show_default=False)],
    out: Annotated[Path, typer.Option(metavar="FILE", help="Where to write the mappings.", show_default=False)],
    tokens: Annotated[int, typer.Option(min=1, help="Most tokens of the text.")] = 4096,
    length: Annotated[int, typer.Option(min=1, help="Tokens of a sequence.")] = 1024,
    device: Annotated[str, typer.Option(help="Where to run the model, e.g. cuda.")] = "cpu",
) -> None:
    """Run a model on real tokens and write down its residual mappings, for `mhcdiag gain`.

    Needs the extra hf. Exit codes: 0 written, 2 model or text could not be used.

    [bold]Example[/bold]

      mhcdiag capture checkpoints/step_12000 --text page.txt --out maps.safetensors
      mhcdiag gain maps.safetensors
    """
    from mhcdiag.usecases.capture import capture as run_and_write

    found = run_and_write(model, text, out, tokens=tokens, length=length, device=device)
    typer.echo(f"{found.path}: {found.sites} sites, {found.streams} streams, {found.tokens} tokens")

"""Run a model of transformers on a text, block by block where that can be done, and return its mappings."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mhcdiag.errors import InputError, SettingError
from mhcdiag.livepasses.stacks import choose_stack
from mhcdiag.tensorfiles.places import is_remote
from mhcdiag.tokenruns.interface import TextRun, maps_of, skipped_of, skipped_tokens
from mhcdiag.tokenruns.layerwise import BlockwiseModel, NotByBlocksError, load_by_blocks
from mhcdiag.tokenruns.passes import run_pass
from mhcdiag.tokenruns.text import SAMPLE_NAME, read_text, refuse_unknown_tokens, token_ids
from mhcdiag.tokenruns.transformers_models import (
    evaluating,
    known_tokens,
    load_whole,
    on_device,
    readable_sites,
    runner_of,
)

LENGTH = 256
"""Tokens of a sequence: long enough that first tokens, which are unlike the others, are 1 in 256."""


def run_directory(
    path: str | os.PathLike[str],
    *,
    text: str | None = None,
    tokens: int = 1024,
    device: str = "cpu",
    dtype: str | None = None,
) -> TextRun:
    """Run a model on a text.

    Parameters
    ----------
    path
        A directory of a model of transformers with its tokenizer.
    text
        A text file; None takes the one that ships with this package.
    tokens
        Most tokens; whole sequences of 256 where there are more.
    device, dtype
        Where the model runs, and in which element type; None is that of the weights. Models of transformers run in
        float32 for "float64".

    Raises
    ------
    mhcdiag.MhcdiagError
        The model cannot be run here, or the text cannot be read.
    """
    folder = Path(path)
    if is_remote(os.fspath(path)) or not (folder.is_dir() and (folder / "config.json").is_file()):
        raise InputError(
            path,
            found="a checkpoint whose model cannot be run here",
            expected="a checkpoint of mhcdiag toy, or a directory of a model of transformers with config.json and "
            "tokenizer",
            hint="where its code is, mhcdiag.capture(model, text, out, tokenizer=...) writes what `mhcdiag gain` reads",
        )
    with _quiet_transformers():
        return _run_directory(folder, text=text, tokens=tokens, device=device, dtype=dtype)


def _run_directory(folder: Path, *, text: str | None, tokens: int, device: str, dtype: str | None) -> TextRun:
    words = read_text(text)
    ids = token_ids(words, folder, name=SAMPLE_NAME if text is None else text)[:tokens]
    length = min(LENGTH, len(ids))
    batch = ids[: len(ids) // length * length].view(-1, length)
    notes: list[str] = []
    # Experts and other kernels of the package know no float64: that is for the products alone.
    dtype = "float32" if dtype is not None else None
    by_blocks: BlockwiseModel | None = None
    try:
        by_blocks = load_by_blocks(folder, dtype=dtype, device=device)
    except NotByBlocksError as error:
        notes.append(f"loaded whole, not block by block: {error}")
    if by_blocks is not None:
        refuse_unknown_tokens(ids, known_tokens(by_blocks.model), str(folder))
        with by_blocks.streaming():
            return _run(by_blocks.model, batch.to(device), str(folder), notes)
    model = on_device(load_whole(folder, dtype=dtype), device)
    refuse_unknown_tokens(ids, known_tokens(model), str(folder))
    return _run(model, batch.to(device), str(folder), notes)


def _run(model: nn.Module, batch: Tensor, name: str, notes: list[str]) -> TextRun:
    """All sequences in one pass, so that each block is loaded once."""
    sites = readable_sites(model, name).sites
    inner = before_head(model, tuple(site.name for site in sites))
    with evaluating(model):
        found = run_pass(model, sites, runner_of(inner), batch, name=name)
    stack = choose_stack(found.stacks, None)
    if stack.calls[0].tokens != batch.numel():
        raise InputError(
            name,
            found=f"mappings of {stack.calls[0].tokens} tokens for {batch.numel()} token ids",
            expected="one for each token",
        )
    return TextRun(
        sites=stack.sites,
        maps=maps_of(stack),
        first_tokens=tuple(range(0, batch.numel(), batch.shape[1])),
        is_finest=stack.fractions > 1,
        notes=tuple(notes),
        skipped=(*skipped_of(found.idle), *skipped_tokens(batch)),
    )


def before_head(model: nn.Module, sites: tuple[str, ...]) -> nn.Module:
    """The part of a model of transformers that all sites stand in, without the head; the model where there is none."""
    prefix = getattr(model, "base_model_prefix", "")
    inner = getattr(model, prefix, None) if isinstance(prefix, str) and prefix else None
    if isinstance(inner, nn.Module) and all(site.startswith(f"{prefix}.") for site in sites):
        return inner
    return model


@contextmanager
def _quiet_transformers() -> Iterator[None]:
    """Without a progress bar for every block, and without its report of weights that are loaded later."""
    from transformers.utils import logging as package_logging

    logging: Any = package_logging

    verbosity, had_bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if had_bars:
            logging.enable_progress_bar()


def device_of(wanted: str) -> str:
    """Where a model runs: a GPU only where it is asked for by name, since its memory must hold a block."""
    return "cpu" if wanted == "auto" else wanted


def refuse_no_device(device: str) -> None:
    """Raise where a device is not there, before anything is loaded.

    Raises
    ------
    SettingError
        It is not.
    """
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).partition("\n")[0]
        raise SettingError(f"--device {device}: {reason}; expected cpu, or a device of this machine") from error

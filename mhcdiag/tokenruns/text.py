"""The text that a model runs on, and its tokens."""

import os
from collections.abc import Callable, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from mhcdiag.errors import InputError, MissingExtraError

Tokenizer = str | os.PathLike[str] | Callable[[str], Sequence[int]]
"""A directory as `save_pretrained` writes it, or a function from a text to token ids."""

SAMPLE = "sample_text.txt"
SAMPLE_NAME = "the text that ships with mhcdiag"


def read_text(path: str | os.PathLike[str] | None) -> str:
    """A text file in UTF-8; None reads the one that ships with this package, in fifteen scripts and some code.

    Raises
    ------
    InputError
        It cannot be read, or holds nothing.
    """
    if path is None:
        return resources.files("mhcdiag.tokenruns").joinpath(SAMPLE).read_text(encoding="utf-8")
    try:
        words = Path(path).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise InputError(path, found=f"cannot be read: {reason}", expected="a text file in UTF-8") from error
    if not words.strip():
        raise InputError(path, found="no words", expected="some text")
    return words


def transformers_package() -> Any:
    """The package transformers.

    Raises
    ------
    MissingExtraError
        It is not installed.
    """
    try:
        import transformers
    except ImportError as error:
        raise MissingExtraError("running a model of transformers", extra="hf") from error
    return transformers


def token_ids(text: str, tokenizer: Tokenizer, *, name: str) -> Int[Tensor, " token"]:
    """The tokens of a text.

    Parameters
    ----------
    name
        Of the text, for messages.

    Raises
    ------
    InputError
        There is no tokenizer that can be loaded, or it gives no tokens.
    """
    if callable(tokenizer):
        try:
            ids = torch.as_tensor(list(tokenizer(text)), dtype=torch.long).reshape(-1)
        except Exception as error:
            raise InputError(name, found=f"the tokenizer failed: {type(error).__name__}: {error}") from error
    else:
        ids = _of_transformers(text, tokenizer)
    if not len(ids):
        raise InputError(name, found="no tokens", expected="some text")
    return ids


def _of_transformers(text: str, path: str | os.PathLike[str]) -> Tensor:
    package = transformers_package()
    try:
        tokenizer = package.AutoTokenizer.from_pretrained(path, local_files_only=True)
    except Exception as error:
        raise InputError(
            path, found="no tokenizer that transformers can load", expected="the files of save_pretrained"
        ) from error
    ids: Tensor = tokenizer(text, return_tensors="pt", verbose=False)["input_ids"][0]
    return ids


def refuse_unknown_tokens(ids: Int[Tensor, " token"], known: int | None, path: str) -> None:
    """Raise where a tokenizer gives tokens that the model does not have.

    Parameters
    ----------
    known
        Number of tokens that the model has; None where that is not known.

    Raises
    ------
    InputError
        It does.
    """
    if known is not None and (int(ids.max()) >= known or int(ids.min()) < 0):
        found = int(ids.max()) if int(ids.max()) >= known else int(ids.min())
        raise InputError(
            path,
            found=f"a tokenizer that gives token {found}",
            expected=f"tokens below {known}, as the model has",
        )

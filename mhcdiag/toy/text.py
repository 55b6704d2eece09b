"""Text on the user's machine as characters to learn: nothing is downloaded."""

import sysconfig
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int
from numpy.typing import NDArray
from torch import Tensor

from mhcdiag.errors import InputError

MOST_CHARACTERS = 255
"""Different characters that are told apart, the most frequent ones; all others count as one more."""
MOST_STDLIB = 2_000_000
"""Characters that are taken of the standard library."""
HELD_OUT = 0.1
"""Share of the text, at its end, that is never trained on."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Corpus:
    """A text as numbers."""

    training: NDArray[np.int64]
    """Characters to train on."""
    held_out: NDArray[np.int64]
    """Characters that are only measured on."""
    vocabulary: str
    """The characters by number; the number behind the last one stands for all others."""

    @property
    def size(self) -> int:
        """Number of different numbers."""
        return len(self.vocabulary) + 1

    def batch(self, *, seed: int, step: int, sequences: int, length: int) -> Int[Tensor, "batch longer"]:
        """The training batch of one step: it depends on nothing but seed, step and shape, so a run can be resumed."""
        return _slices(self.training, np.random.default_rng([seed, step]), sequences, length)

    def probe(self, *, seed: int, sequences: int, length: int) -> Int[Tensor, "batch longer"]:
        """The held-out batch on which gains are measured, always the same."""
        return _slices(self.held_out, np.random.default_rng([seed]), sequences, length)


def load_text(path: str | None, *, context: int) -> Corpus:
    """Read a text file, or the source of the standard library.

    Parameters
    ----------
    path
        UTF-8 text; None for the library.
    context
        Characters per sequence.

    Raises
    ------
    InputError
        The file is missing, empty, binary, or too short.
    """
    text = _stdlib() if path is None else _file(path)
    shortest = round((context + 2) / HELD_OUT)
    if len(text) < shortest:
        raise InputError(
            path or "standard library",
            found="it is empty" if not text else f"{len(text)} characters",
            expected=f"at least {shortest} for sequences of {context}",
        )
    vocabulary = "".join(sorted(char for char, _ in Counter(text).most_common(MOST_CHARACTERS)))
    number_of = {char: number for number, char in enumerate(vocabulary)}
    numbers = np.array([number_of.get(char, len(vocabulary)) for char in text], dtype=np.int64)
    cut = len(numbers) - max(context + 2, round(HELD_OUT * len(numbers)))
    return Corpus(training=numbers[:cut], held_out=numbers[cut:], vocabulary=vocabulary)


def _stdlib() -> str:
    """ASCII of the top-level modules of the running Python, in alphabetical order."""
    folder = Path(sysconfig.get_paths()["stdlib"])
    parts = []
    size = 0
    for file in sorted(folder.glob("*.py")):
        part = file.read_text(encoding="utf-8", errors="ignore").encode("ascii", "ignore").decode()
        parts.append(part)
        size += len(part)
        if size >= MOST_STDLIB:
            break
    return "".join(parts)[:MOST_STDLIB]


def _file(path: str) -> str:
    try:
        raw = Path(path).read_bytes()
    except OSError as error:
        raise InputError(path, found=str(error.strerror or error), expected="a text file") from error
    if b"\0" in raw:
        raise InputError(path, found="zero bytes: it is binary", expected="UTF-8 text")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(path, found=f"byte {error.start} is no UTF-8", expected="UTF-8 text") from error


def _slices(
    numbers: NDArray[np.int64], generator: np.random.Generator, sequences: int, length: int
) -> Int[Tensor, "batch longer"]:
    starts = generator.integers(0, len(numbers) - length, size=sequences, endpoint=False)
    return torch.from_numpy(np.stack([numbers[start : start + length + 1] for start in starts]))

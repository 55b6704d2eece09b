"""Training logs of our own making, for tests of detection, gates and the command line."""

import json
from pathlib import Path

import numpy as np

from mhcdiag.results.spikes import Event
from mhcdiag.usecases.spikes import spikes


def healthy(points: int = 800, *, seed: int = 0, noise: float = 0.02) -> np.ndarray:
    """A loss that falls by a power law with a little noise."""
    steps = np.arange(1, points + 1)
    return 2.4 + 8.6 * steps**-0.45 + noise * np.random.default_rng(seed).standard_normal(points)


def spiky(*, at: int = 500, height: float = 1.6, length: int = 20) -> np.ndarray:
    """A healthy loss with one spike that decays."""
    loss = healthy()
    loss[at : at + length] += height * np.exp(-np.arange(length) / (length / 3))
    return loss


def write_jsonl(path: Path, loss: np.ndarray, **others: np.ndarray) -> Path:
    """One JSON object per step, counted from 1; NaN stands as NaN."""
    rows = zip(*(column.tolist() for column in (loss, *others.values())), strict=True)
    lines = [
        json.dumps({"step": step, **dict(zip(("loss", *others), row, strict=True))}) for step, row in enumerate(rows, 1)
    ]
    path.write_text("\n".join(lines) + "\n")
    return path


def events_of(path: Path, loss: np.ndarray, **others: np.ndarray) -> list[Event]:
    """The events of a loss, by way of a log file."""
    return list(spikes(str(write_jsonl(path, loss, **others))).series["loss"].events)

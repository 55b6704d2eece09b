"""Checkpoints and logs that are healthy or sick in one way each, for tests of `mhcdiag check`."""

from pathlib import Path

import numpy as np
import torch
from stacks import CONFIG, captured_tensors, deepseek_v4_tensors, write
from trainlogs import healthy, spiky, write_jsonl


def make(name: str, folder: Path) -> str:
    """Write one input by its name into a folder; returns its path relative to that folder."""
    match name:
        case "calm":
            write(folder / name, deepseek_v4_tensors(), config=CONFIG)
        case "exploded":
            write(folder / name, captured_tensors(torch.eye(2).repeat(6, 1, 1, 1) * 4))
        case "broken":
            write(folder / name, captured_tensors(torch.eye(2).repeat(6, 1, 1, 1) * torch.nan))
        case "huge":
            write(folder / name, captured_tensors((torch.eye(2).double() * 1e160).repeat(5, 1, 1, 1)))
        case "torn.safetensors":
            (folder / name).write_bytes(b"torn")
        case _:
            write_jsonl(folder / name, LOSSES[name]())
    return name


def _with_nan() -> np.ndarray:
    loss = healthy()
    loss[503:507] = np.nan
    return loss


def _diverging() -> np.ndarray:
    loss = healthy()
    loss[503:] += np.linspace(0, 3.5, len(loss) - 503)
    return loss


LOSSES = {
    "good.jsonl": healthy,
    "spiky.jsonl": spiky,
    "nan.jsonl": _with_nan,
    "diverging.jsonl": _diverging,
    "short.jsonl": lambda: healthy(7),
}
"""Losses of logs by name."""

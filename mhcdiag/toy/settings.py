"""Everything that a toy run depends on, checked before any work is done."""

import math
from dataclasses import asdict, dataclass, fields
from typing import Any

from mhcdiag.errors import SettingError

STREAM_DTYPES = ("fp32", "bf16", "fp16")
MOST_PERMUTED_STREAMS = 5
"""mhc-lite weighs all n! permutations: 120 for five streams."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ToySettings:
    """One training run of one topology; the defaults make 60 sites whose HC gain passes 1000 within 200 steps."""

    topology: str = "hc"
    """Name of the residual topology."""
    depth: int = 30
    """Transformer blocks; each has two sites, attention and feed-forward."""
    width: int = 32
    """Features C per stream."""
    heads: int = 2
    """Attention heads."""
    streams: int = 4
    """Residual streams n (ignored by `residual`)."""
    steps: int = 200
    """Optimiser steps."""
    learning_rate: float = 5e-3
    """Constant after the warmup; 3 to 20 times what is usual for such a width."""
    warmup: int = 20
    """Steps over which the learning rate rises from 0."""
    clip: float = 1.0
    """Largest gradient norm; 0 turns clipping off."""
    weight_decay: float = 0.1
    """Of the transformer's matrices; parameters of the connections have none."""
    batch: int = 4
    """Sequences per step."""
    context: int = 32
    """Characters per sequence."""
    sinkhorn_iters: int = 20
    """Sinkhorn-Knopp iterations t_max of `mhc`."""
    stream_dtype: str = "fp32"
    """Element type in which the streams are stored between sites: fp32, bf16 or fp16."""
    qk_norm: bool = False
    """Whether queries and keys are RMS-normalised."""
    seed: int = 0
    """Of parameters, batches and the held-out batch."""
    text: str | None = None
    """Text file to train on; None takes the source of Python's standard library."""
    log_every: int = 10
    """Steps between two measurements of the gain."""
    checkpoints: int = 5
    """Checkpoints per run, evenly spaced; the last one is written at the last step."""
    device: str = "auto"
    """`cpu`, `cuda`, `mps` or `auto`."""

    def __post_init__(self) -> None:
        counts = ("depth", "width", "heads", "streams", "steps", "batch", "sinkhorn_iters", "log_every", "checkpoints")
        for name in counts:
            _at_least(name, getattr(self, name), 1)
        for name in ("warmup", "seed"):
            _at_least(name, getattr(self, name), 0)
        _at_least("context", self.context, 2)
        for name in ("learning_rate", "clip", "weight_decay"):
            value = getattr(self, name)
            if not 0 <= value < math.inf:
                raise SettingError(f"{_option(name)} {value}: expected a finite number of at least 0")
        if self.width % self.heads:
            raise SettingError(f"--heads {self.heads} does not divide --width {self.width}")
        if self.stream_dtype not in STREAM_DTYPES:
            raise SettingError(f"--stream-dtype {self.stream_dtype}: expected one of {', '.join(STREAM_DTYPES)}")
        if self.topology == "mhc-lite" and self.streams > MOST_PERMUTED_STREAMS:
            raise SettingError(
                f"--streams {self.streams}: mhc-lite weighs all n! permutations; at most {MOST_PERMUTED_STREAMS}"
            )

    def checkpoint_steps(self) -> tuple[int, ...]:
        """Steps after which a checkpoint is written, evenly spaced, the last one at the end."""
        count = min(self.checkpoints, self.steps)
        return tuple(sorted({round(self.steps * (i + 1) / count) for i in range(count)}))

    def as_json(self) -> dict[str, Any]:
        """All settings by name."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "ToySettings":
        """Settings that `as_json` wrote; TypeError where a name is unknown."""
        return cls(**values)


def differing(one: ToySettings, other: ToySettings) -> list[str]:
    """Names of the settings by which two runs differ."""
    return [each.name for each in fields(ToySettings) if getattr(one, each.name) != getattr(other, each.name)]


def _at_least(name: str, value: int, least: int) -> None:
    if value < least:
        raise SettingError(f"{_option(name)} {value}: expected at least {least}")


def _option(name: str) -> str:
    return {"learning_rate": "--lr"}.get(name, f"--{name.replace('_', '-')}")

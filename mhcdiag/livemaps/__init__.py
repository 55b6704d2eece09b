"""Residual mappings of a running model: which modules form them, and how to catch them."""

from dataclasses import dataclass

from torch import nn

from mhcdiag.livemaps.interface import LiveReader
from mhcdiag.livemaps.lucidrains import LUCIDRAINS
from mhcdiag.livemaps.mixer_outputs import MEGATRON, TRANSFORMERS

READERS: tuple[LiveReader, ...] = (TRANSFORMERS, LUCIDRAINS, MEGATRON)
"""All families; the first that knows a module reads it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LiveSite:
    """One module that mixes streams."""

    name: str
    """Its path in the model."""
    module: nn.Module
    reader: LiveReader


def live_sites(model: nn.Module) -> tuple[LiveSite, ...]:
    """All modules that mix streams, in the order of declaration, which may not be that in which they run."""
    found = []
    for name, module in model.named_modules():
        reader = next((reader for reader in READERS if reader.knows(module)), None)
        if reader is not None:
            found.append(LiveSite(name=name, module=module, reader=reader))
    return tuple(found)

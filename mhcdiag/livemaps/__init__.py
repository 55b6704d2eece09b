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


@dataclass(frozen=True, kw_only=True, slots=True)
class UnreadSite:
    """One module that mixes streams in a way that cannot be read."""

    name: str
    """Its path in the model."""
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class LiveSites:
    """All modules of a model that mix streams."""

    sites: tuple[LiveSite, ...]
    """In the order of declaration, which may not be that in which they run."""
    unread: tuple[UnreadSite, ...]
    """Those that are known by their names and cannot be read: a composite without them is not the model's."""


def live_sites(model: nn.Module) -> LiveSites:
    """All modules that mix streams, each tried once; never raises for what a model holds."""
    sites, unread = [], []
    for name, module in model.named_modules():
        reader = next((reader for reader in READERS if _knows(reader, module)), None)
        if reader is None:
            continue
        reason = _trial(reader, module)
        if reason:
            unread.append(UnreadSite(name=name, reason=reason))
        else:
            sites.append(LiveSite(name=name, module=module, reader=reader))
    return LiveSites(sites=tuple(sites), unread=tuple(unread))


def _knows(reader: LiveReader, module: nn.Module) -> bool:
    try:
        return reader.knows(module)
    except Exception:  # noqa: BLE001 - attributes of other people's modules may be properties that raise anything
        return False


def _trial(reader: LiveReader, module: nn.Module) -> str:
    try:
        return reader.trial(module)
    except Exception as error:  # noqa: BLE001 - as above
        return f"{type(error).__name__}: {error}".partition("\n")[0]

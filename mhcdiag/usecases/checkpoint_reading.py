"""How a check looks at checkpoints: their gains, their health where a gate asks for it, and all their weights."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from mhcdiag.results.gain import GainResult
from mhcdiag.results.health import HealthResult
from mhcdiag.results.judged import Unreadable, readable
from mhcdiag.results.spikes import LogResult
from mhcdiag.results.weights import WeightsResult


@dataclass(frozen=True, kw_only=True, slots=True)
class Look:
    """What came of one input."""

    result: GainResult | LogResult | Unreadable
    health: HealthResult | None = None
    """Where a gate asks for it."""
    weights: WeightsResult | None = None
    """Of a checkpoint."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckpointReader:
    """How checkpoints are looked at; torch is imported for it, so that a check of logs alone has none."""

    measure: Callable[[str], GainResult]
    """Measure the gains."""
    examine: Callable[..., HealthResult]
    """Examine the health of a path, given what was `measured`; done only where a gate asks for it."""
    scan: Callable[[str], WeightsResult] | None = None
    """Look at all weights, or say why not; None says nothing of them."""

    def look(self, path: str, *, with_health: bool) -> Look:
        """Look at one checkpoint; what cannot be read at all is said in place of what was measured."""
        result = readable(path, self.measure)
        if isinstance(result, Unreadable):
            return Look(result=result)
        health = readable(path, partial(self.examine, measured=result)) if with_health else None
        weights = None if self.scan is None else readable(path, self.scan)
        if isinstance(health, Unreadable):
            return Look(result=health)
        if isinstance(weights, Unreadable):
            return Look(result=weights)
        return Look(result=result, health=health, weights=weights)

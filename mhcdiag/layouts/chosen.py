"""Settings in the order of their authority: the user's, the configuration's, the implementation's default aloud."""

from mhcdiag.layouts import config as configuration
from mhcdiag.layouts.interface import Settings
from mhcdiag.namedtensors import NamedTensors


def iterations(checkpoint: NamedTensors, settings: Settings, assumed: list[str], *keys: str, default: int = 20) -> int:
    """Sinkhorn iterations; the default is said in `assumed`."""
    config = configuration.section(checkpoint, "text_config")
    found = settings.sinkhorn_iters or configuration.integer(checkpoint, config, *keys)
    if found is None:
        found = default
        assumed.append(f"Sinkhorn iterations: {found} ({_not_said(keys)}; --sinkhorn-iters)")
    return found


def sinkhorn_eps(checkpoint: NamedTensors, settings: Settings, assumed: list[str], *keys: str, default: float) -> float:
    """Sinkhorn eps; where the implementation has a key for it, its default is said in `assumed`."""
    config = configuration.section(checkpoint, "text_config")
    found = settings.sinkhorn_eps
    found = configuration.positive(checkpoint, config, *keys) if found is None else found
    if found is None:
        found = default
        if keys:
            assumed.append(f"Sinkhorn eps: {found:g} ({_not_said(keys)}; --sinkhorn-eps)")
    return found


def _not_said(keys: tuple[str, ...]) -> str:
    return "not in config.json" if keys else "not stored"

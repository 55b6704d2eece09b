"""Residual topologies, one family a file."""

from mhcdiag.errors import SettingError
from mhcdiag.toy.settings import ToySettings
from mhcdiag.toy.topologies.hyper import HC, IDENTITY_HC
from mhcdiag.toy.topologies.interface import SiteMaps, Streams, Topology
from mhcdiag.toy.topologies.manifold import Manifold
from mhcdiag.toy.topologies.permutations import Permutations
from mhcdiag.toy.topologies.residual import Residual

TOPOLOGIES: tuple[Topology, ...] = (Residual(), HC, Manifold(), Permutations(), IDENTITY_HC)

__all__ = ["TOPOLOGIES", "SiteMaps", "Streams", "Topology", "topology_for"]


def topology_for(settings: ToySettings) -> Topology:
    """The topology that the settings name. Raises: SettingError where there is none of that name."""
    if settings.topology == Manifold.name:
        return Manifold(iterations=settings.sinkhorn_iters)
    found = next((each for each in TOPOLOGIES if each.name == settings.topology), None)
    if found is None:
        names = ", ".join(each.name for each in TOPOLOGIES)
        raise SettingError(f"there is no topology '{settings.topology}'; there are {names}")
    return found

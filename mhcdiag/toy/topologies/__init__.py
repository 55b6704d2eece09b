"""Residual topologies, one family a file; `interface.py` says what one is."""

from dataclasses import replace

from mhcdiag.errors import SettingError
from mhcdiag.toy.settings import ToySettings
from mhcdiag.toy.topologies.hyper import HC, IDENTITY_HC
from mhcdiag.toy.topologies.interface import SiteMaps, Streams, Topology
from mhcdiag.toy.topologies.manifold import MHC
from mhcdiag.toy.topologies.permutations import MHC_LITE
from mhcdiag.toy.topologies.residual import RESIDUAL

TOPOLOGIES: tuple[Topology, ...] = (RESIDUAL, HC, MHC, MHC_LITE, IDENTITY_HC)

__all__ = ["TOPOLOGIES", "SiteMaps", "Streams", "Topology", "topology_for"]


def topology_for(settings: ToySettings) -> Topology:
    """Return the topology that the settings name.

    Raises
    ------
    SettingError
        There is none of that name.
    """
    if settings.topology == MHC.name:  # the only one whose mappings depend on a setting
        return replace(MHC, iterations=settings.sinkhorn_iters)
    found = next((each for each in TOPOLOGIES if each.name == settings.topology), None)
    if found is None:
        names = ", ".join(each.name for each in TOPOLOGIES)
        raise SettingError(f"there is no topology '{settings.topology}'; there are {names}")
    return found

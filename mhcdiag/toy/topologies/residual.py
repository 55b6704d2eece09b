"""The ordinary residual stream: x_new = x + F(x)."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Generator, Tensor

from mhcdiag.toy.settings import ToySettings
from mhcdiag.toy.topologies.interface import Packed, SiteMaps, Streams


@dataclass(frozen=True, slots=True)
class Residual:
    """One stream without any parameter: the baseline."""

    name: ClassVar[str] = "residual"
    streams_mix: ClassVar[bool] = False

    def streams(self, settings: ToySettings) -> int:
        """See `Topology`."""
        del settings
        return 1

    def initial(self, settings: ToySettings, generator: Generator) -> dict[str, Tensor]:
        """See `Topology`."""
        del settings, generator
        return {}

    def pack(self, parameters: dict[str, Tensor]) -> Packed:
        """See `Topology`."""
        del parameters
        return ()

    def maps(self, streams: Streams, packed: Packed) -> SiteMaps | None:
        """See `Topology`."""
        del streams, packed
        return None


RESIDUAL = Residual()

"""What hooks keep between two reports: the mappings of one forward pass, on the device where they were computed."""

import time
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from mhcdiag.errors import SettingError
from mhcdiag.livemaps import LiveSite, live_sites
from mhcdiag.livemaps.interface import Maps


class MapCatcher:
    """Holds at most `tokens` mappings of each site of the first forward pass after `arm`.

    Parameters
    ----------
    tokens
        Most tokens kept of a site, evenly spaced.
    """

    def __init__(self, tokens: int) -> None:
        self._tokens = tokens
        self._caught: dict[str, Tensor] = {}
        self._armed = False
        self._handles: list[RemovableHandle] = []
        self.seconds = 0.0
        """Time spent in hooks since it was last set to 0."""

    @property
    def armed(self) -> bool:
        """Whether mappings are being kept."""
        return self._armed

    def watch(self, model: nn.Module) -> None:
        """Hook all modules of a model that mix streams.

        Raises
        ------
        SettingError
            There is none.
        """
        sites = live_sites(model)
        if not sites:
            raise SettingError(
                f"{type(model).__name__} holds no module whose mappings are known; "
                "leave the model out and call observe(site, H) where they are computed"
            )
        for site in sites:
            self._handles += self._attach(site)

    def _attach(self, site: LiveSite) -> list[RemovableHandle]:
        def take(maps: Maps) -> None:
            # A validation pass may come in between; a checkpointed training pass runs without gradients, too, and
            # frozen parts of a model may be left in evaluation mode.
            if site.module.training or torch.is_grad_enabled():
                self.take(site.name, maps)

        return site.reader.attach(site.module, take)

    def take(self, site: str, maps: Maps) -> None:
        """Keep H_res [..., n, n] of one site, if this step is to be reported.

        The first pass counts: recomputed activations and further micro-batches run a site again.
        """
        if not self._armed or site in self._caught:
            return
        started = time.perf_counter()
        found = maps()
        by_token = found.detach().reshape(-1, *found.shape[-2:])
        step = -(-len(by_token) // self._tokens)
        self._caught[site] = by_token[::step].clone()  # the model may overwrite its own
        self.seconds += time.perf_counter() - started

    def arm(self) -> None:
        """Keep the mappings of the next forward pass."""
        self._armed = True

    def release(self) -> dict[str, Tensor]:
        """What was caught, by site in the order of running; nothing is kept from here on."""
        caught, self._caught, self._armed = self._caught, {}, False
        return caught

    def unwatch(self) -> None:
        """Remove all hooks."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()


def stacked(caught: dict[str, Tensor]) -> tuple[Sequence[str], Tensor]:
    """Names, and the mappings, which are of one shape, as [site, stream, stream, token]."""
    first = next(iter(caught.values()))
    maps = torch.stack([each.to(first.device) for each in caught.values()])
    return tuple(caught), maps.permute(0, 2, 3, 1)

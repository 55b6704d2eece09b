"""What hooks keep between two reports: the mappings of one forward pass, on the device where they were computed."""

import math
import time
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from mhcdiag.errors import SettingError
from mhcdiag.livemaps import LiveSite, live_sites
from mhcdiag.livemaps.interface import Maps

GOLDEN_SECTION = (math.sqrt(5) - 1) / 2
"""The step whose multiples, taken around a circle, lie most evenly whatever their number (`spread`)."""


class MapCatcher:
    """Holds at most `tokens` mappings of each site of the first forward pass after `arm`.

    Parameters
    ----------
    tokens
        Most tokens kept of a site, spread evenly over batch and positions.
    """

    def __init__(self, tokens: int) -> None:
        self._tokens = tokens
        self._caught: dict[str, Tensor] = {}
        self._broken_off: dict[str, Tensor] = {}
        self._watched = 0
        self._picked: tuple[int, Tensor] | None = None
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
        self._watched = len(sites)
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

        The first whole pass counts: recomputed activations and further micro-batches run a site again. Where the first
        site runs again before all have, the pass was broken off and tried again, as after running out of memory.
        """
        if not self._armed:
            return
        if site in self._caught:
            if len(self._caught) >= self._watched or site != next(iter(self._caught)):
                return
            self._broken_off, self._caught = max(self._broken_off, self._caught, key=len), {}
        started = time.perf_counter()
        found = maps()
        by_token = found.detach().reshape(-1, *found.shape[-2:])
        if len(by_token) > self._tokens:
            self._caught[site] = by_token[self._places(len(by_token), by_token.device)]
        elif len(by_token):
            self._caught[site] = by_token.clone()  # the model may overwrite its own
        self.seconds += time.perf_counter() - started

    def _places(self, count: int, device: torch.device) -> Tensor:
        """Which tokens are kept; the same at all sites."""
        if self._picked is None or self._picked[0] != count or self._picked[1].device != device:
            self._picked = count, spread(count, self._tokens, device=device)
        return self._picked[1]

    def arm(self) -> None:
        """Keep the mappings of the next forward pass."""
        self._armed = True

    def release(self) -> dict[str, Tensor]:
        """What was caught, by site in the order of running; nothing is kept from here on."""
        # A pass of which some sites are skipped looks like one that was broken off: what ran most sites is it.
        caught = max(self._caught, self._broken_off, key=len)
        self._caught, self._broken_off, self._armed = {}, {}, False
        return caught

    def unwatch(self) -> None:
        """Remove all hooks."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()


def spread(count: int, most: int, *, device: torch.device | None = None) -> Tensor:
    """Positions of `most` of more tokens, [most], ascending.

    Evenly spaced ones would fall on the same few positions of every sequence where the spacing and the length have a
    factor in common, as powers of two do: the first token of every sequence, whose gain was 5 where the mean was 1.06.
    A step that has none in common with the number of all tokens has none with the length of a sequence, and visits all
    of its positions alike; near the golden section of all tokens, any number of such steps, taken around, lies evenly
    among them.
    """
    step = round(count * GOLDEN_SECTION)
    while math.gcd(step, count) > 1:
        step += 1
    return (torch.arange(most, device=device) * step % count).sort().values


def stacked(caught: dict[str, Tensor]) -> tuple[Sequence[str], Tensor]:
    """Names, and the mappings, which are of one shape, as [site, stream, stream, token]."""
    first = next(iter(caught.values()))
    maps = torch.stack([each.to(first.device) for each in caught.values()])
    return tuple(caught), maps.permute(0, 2, 3, 1)

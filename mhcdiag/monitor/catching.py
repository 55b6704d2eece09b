"""What is kept between two reports: the mappings of one forward pass, on the device where they were computed."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mhcdiag.errors import SettingError
from mhcdiag.livemaps import LiveSites, live_sites
from mhcdiag.livemaps.interface import SiteCall, usable_maps
from mhcdiag.livepasses.calls import Call
from mhcdiag.livepasses.watching import PassWatcher
from mhcdiag.monitor.alarm import logger

GOLDEN_SECTION = (math.sqrt(5) - 1) / 2
"""The step whose multiples, taken around a circle, lie most evenly whatever their number (`spread`)."""


class MapCatcher:
    """Holds at most `tokens` mappings of each call of the first forward pass after `arm`.

    Parameters
    ----------
    model
        The model; None where mappings are handed over.
    tokens
        Most tokens kept of a call, spread evenly over batch and positions.
    stacks
        Beginnings of the paths of sites that form one stack each, where names shall decide.

    Raises
    ------
    SettingError
        The model holds no site that can be read, or none whose path begins like that.
    """

    def __init__(self, model: nn.Module | None, tokens: int, stacks: Sequence[str] = ()) -> None:
        self._model = model
        self._tokens = tokens
        self._stacks = tuple(stacks)
        self._found = LiveSites(sites=(), unread=()) if model is None else _sites_of(model)
        for stack in self._stacks:
            if not any(_is_under(site.name, stack) for site in self._found.sites):
                names = ", ".join(site.name for site in self._found.sites[:4]) or "none"
                raise SettingError(f"stacks={stack!r}: no site's path begins so; there are {names}, ...")
        self._watcher = PassWatcher(self._places_of, self._failed)
        self._observed: list[Call] = []
        self._picked: dict[tuple[int, torch.device], Tensor] = {}
        self._is_repeat_said = False
        self.unread: dict[str, str] = {each.name: each.reason for each in self._found.unread}
        """Sites that are not in the reports, and why."""
        for name, reason in self.unread.items():
            _warn_of(name, reason)

    @property
    def armed(self) -> bool:
        """Whether mappings are being kept."""
        return self._watcher.armed

    @property
    def seconds(self) -> float:
        """Time spent in hooks since the last report."""
        return self._watcher.seconds

    def watch(self) -> None:
        """Hook the model."""
        if self._model is not None:
            self._watcher.watch(self._model, self._found.sites)

    def _places_of(self, seen: SiteCall) -> Tensor | None:
        if seen.tokens <= self._tokens:
            return None
        device = seen.streams.device if seen.streams is not None else torch.device("cpu")
        return self._places(seen.tokens, device)

    def _places(self, count: int, device: torch.device) -> Tensor:
        """Which tokens are kept; the same at all sites."""
        if (count, device) not in self._picked:
            self._picked = {(count, device): spread(count, self._tokens, device=device)}
        return self._picked[count, device]

    def _failed(self, name: str, reason: str) -> None:
        self.unread[name] = reason
        _warn_of(name, reason)

    def observe(self, site: str, maps: Tensor, stack: str) -> None:
        """Keep H_res [..., n, n] of one site, if this step is to be reported.

        Raises
        ------
        SettingError
            They are no such mappings.
        """
        by_token = usable_maps(maps)
        if not self.armed:
            return
        tokens = len(by_token)
        selects = tokens > self._tokens
        # A copy even of all: the model may overwrite its own.
        by_token = by_token[self._places(tokens, by_token.device)] if selects else by_token.clone()
        self._observed.append(Call(site=site, maps=by_token, tokens=tokens, stack=stack))

    def arm(self) -> None:
        """Keep the mappings of the next forward pass."""
        self._observed = []
        self._watcher.arm()

    def release(self) -> list[Call]:
        """The calls that were kept, in order; nothing is kept from here on."""
        repeated = self._watcher.repeated
        calls = self._watcher.release()
        # The model itself runs again for each micro-batch. A part of it may also do so in a loop of the training code.
        if repeated and not self._is_repeat_said:
            self._say_repeat(
                f"{repeated!r} ran more than once in a step outside of the model's own forward pass: its first run "
                "counts; a loop over it is not seen unless Monitor gets the module that holds the loop"
            )
        observed, times = _first_cycle(self._observed)
        if times > 1 and not self._is_repeat_said:
            self._say_repeat(
                f"the same {len(observed)} sites were handed over {times} times in a step: counted as {times} "
                "micro-batches; hand over calls of a looped module under names of their own"
            )
        self._observed = []
        return [self._in_its_stack(call) for call in calls] + observed

    def _say_repeat(self, said: str) -> None:
        self._is_repeat_said = True
        logger.warning("%s", said)

    def _in_its_stack(self, call: Call) -> Call:
        call.stack = next((stack for stack in self._stacks if _is_under(call.site, stack)), call.stack)
        return call

    def reset_seconds(self) -> None:
        """Count the time in hooks from zero."""
        self._watcher.seconds = 0.0

    def unwatch(self) -> None:
        """Remove all hooks."""
        self._watcher.unwatch()


def _sites_of(model: nn.Module) -> LiveSites:
    found = live_sites(model)
    if not found.sites:
        unread = "".join(f"; {each.name or 'itself'}: {each.reason}" for each in found.unread[:1])
        raise SettingError(
            f"{type(model).__name__} holds no module whose mappings are known{unread}; "
            "leave the model out and call observe(site, H) where they are computed"
        )
    return found


def _warn_of(name: str, reason: str) -> None:
    said = "site %s is not in the reports of gains, which are those of the others: %s"
    logger.warning(said, name or "(model)", reason)


def _is_under(site: str, stack: str) -> bool:
    return f"{site}.".startswith(f"{stack}.")


def _first_cycle(calls: list[Call]) -> tuple[list[Call], int]:
    """The calls without repetitions of the whole, and how many times they came.

    "a b c a b c" are two micro-batches of three sites; "a b b c" is one with a site that runs twice.
    """
    names = [(call.stack, call.site) for call in calls]
    for size in range(1, len(names) // 2 + 1):
        if len(names) % size == 0 and names == names[:size] * (len(names) // size):
            return calls[:size], len(names) // size
    return calls, 1


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

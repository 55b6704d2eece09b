"""Hooks on all sites of a model and on the modules around them: every call of a forward pass, in order.

A hook never raises: one that fails is taken away, and what it said is handed on once. What belongs to one pass is told
by the calls of the modules themselves, so that a site that runs three times in a pass counts three times, and further
micro-batches, or activations that are recomputed, do not count.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from mhcdiag.livemaps import LiveSite
from mhcdiag.livemaps.interface import Hook, SiteCall
from mhcdiag.livepasses.calls import Call, call_of, mark_of

logger = logging.getLogger("mhcdiag")

Keep = Callable[[SiteCall], Tensor | None]
"""Positions of the tokens of a call whose mappings are kept; None keeps all."""


@dataclass(kw_only=True, slots=True)
class _Segment:
    """What ran between entering and leaving an outermost module."""

    name: str
    calls: list[Call] = field(default_factory=list)
    is_whole: bool = False


class PassWatcher:
    """Holds every call of every site of the first whole forward pass after `arm`.

    Parameters
    ----------
    keep
        Which tokens of a call are kept.
    failed
        Called once for each site whose hook failed and was taken away, with the site and the reason.
    first
        How many of the first tokens to keep streams, branch and post weights of, too.
    training_only
        Whether calls in evaluation mode without gradients are left out: a validation pass may come in between.
    """

    def __init__(
        self, keep: Keep, failed: Callable[[str, str], None], *, first: int = 0, training_only: bool = True
    ) -> None:
        self._keep = keep
        self._failed = failed
        self._first = first
        self._training_only = training_only
        self._segments: list[_Segment] = []
        self._running: list[str] = []
        self._is_over = False
        self._armed = False
        self._handles: dict[str, list[RemovableHandle]] = {}
        self.repeated = ""
        """A module that ran again outside of any other, so that a loop around it would have been missed."""
        self.seconds = 0.0
        """Time spent in hooks since it was last set to 0."""

    @property
    def armed(self) -> bool:
        """Whether calls are being kept."""
        return self._armed

    def watch(self, model: nn.Module, sites: Sequence[LiveSite]) -> None:
        """Hook the sites, and the modules that they stand in."""
        modules = dict(model.named_modules())
        for site in sites:
            self._attach(site.name, partial(site.reader.attach, site.module, partial(self._take, site)))
        around = {name for site in sites for name in _around(site.name) if name in modules}
        for name in sorted(around):
            module = modules[name]
            self._attach(name, lambda module=module, name=name: self._around(module, name))  # type: ignore[misc]
        if self._first:
            inside = [(name, module) for name, module in modules.items() if name not in around]
            for name, module in inside:
                self._attach(name, lambda module=module: [module.register_forward_hook(Hook(self._inner))])  # type: ignore[misc]

    def _attach(self, name: str, attach: Callable[[], list[RemovableHandle]]) -> None:
        try:
            self._handles.setdefault(name, []).extend(attach())
        except Exception as error:  # noqa: BLE001 - modules of other people may refuse hooks in any way
            self._give_up(name, error)

    def _around(self, module: nn.Module, name: str) -> list[RemovableHandle]:
        return [
            module.register_forward_pre_hook(Hook(partial(self._safely, self._enter, name))),
            module.register_forward_hook(Hook(partial(self._safely, self._leave, name))),
        ]

    def _safely(self, note: Callable[..., None], name: str, *seen: Any) -> None:
        """Note what a module around sites does; where that fails, names alone say which sites share their streams."""
        try:
            note(name, *seen)
        except Exception as error:  # noqa: BLE001 - whatever fails here must not end the user's training
            for handle in self._handles.pop(name, []):
                handle.remove()
            logger.debug("what enters and leaves %s is not seen: %s", name, error)

    def _give_up(self, name: str, error: Exception) -> None:
        for handle in self._handles.pop(name, []):
            handle.remove()
        self._failed(name, f"{type(error).__name__}: {error}".partition("\n")[0])

    def _take(self, site: LiveSite, read: Callable[[], SiteCall]) -> None:
        """Keep one call; never raises."""
        if not self._armed or self._is_over or in_backward():
            return
        # A checkpointed training pass runs without gradients, too, and frozen parts may be in evaluation mode.
        if self._training_only and not (site.module.training or torch.is_grad_enabled()):
            return
        started = time.perf_counter()
        try:
            with torch.no_grad():
                self._add(site.name, read())
        except Exception as error:  # noqa: BLE001 - whatever fails here must not end the user's training
            self._give_up(site.name, error)
        self.seconds += time.perf_counter() - started

    def _add(self, name: str, seen: SiteCall) -> None:
        places = self._keep(seen)
        if not self._running:  # a method was called in place of the module
            self._begin(name)
        if self._is_over or not seen.tokens:
            return
        self._segments[-1].calls.append(call_of(name, seen, places, first=self._first))
        if not self._running:
            self._segments[-1].is_whole = True

    def _enter(self, name: str, *_seen: Any) -> None:
        if not self._armed or self._is_over or in_backward():
            return
        # What an exception left behind: what runs now is in none of it.
        while self._running and (self._running[-1] == name or not _is_around(self._running[-1], name)):
            self._running.pop()
        if not self._running:
            self._begin(name)
        if not self._is_over:
            self._running.append(name)

    def _begin(self, name: str) -> None:
        """An outermost module begins: a part of the pass, or a further pass."""
        self._segments = [each for each in self._segments if each.is_whole and each.calls]
        if any(each.name == name for each in self._segments):
            self._is_over = True
            self.repeated = name
            return
        self._segments.append(_Segment(name=name))

    def _leave(self, name: str, _module: nn.Module, _given: object, output: Any) -> None:
        if not self._armed or self._is_over or in_backward() or name not in self._running:
            return
        try:
            self._note_exit(output)
        except Exception as error:  # noqa: BLE001 - outputs of other people's modules may be of any kind
            logger.debug("what leaves %s is not seen: %s", name, error)
        del self._running[self._running.index(name) :]
        if not self._running and self._segments:
            self._segments[-1].is_whole = True

    def _note_exit(self, output: Any) -> None:
        last = self._last()
        left = first_tensor(output)
        if last is None or left is None or left.numel() != last.numbers or left.is_meta:
            return
        if left.layout is not torch.strided or not left.dtype.is_floating_point:
            return
        with torch.no_grad():
            last.exits.append(mark_of(left))
            if self._first and last.x_out is None:
                last.x_out = last.streams_of(left)

    def _inner(self, _module: nn.Module, _given: object, output: Any) -> None:
        """What a module inside of a block returned: the last one before the next site is its branch."""
        last = self._last() if self._armed and not self._is_over else None
        left = first_tensor(output)
        # What runs behind the block is no branch of its sites: a final norm, say.
        if last is None or left is None or last.x_in is None or last.exits or left.is_meta:
            return
        width = last.x_in.shape[-1]
        if left.shape[-1:] == (width,) and left.numel() == last.tokens * width:
            last.branch = left.detach().reshape(-1, width)[: self._first].clone()

    def _last(self) -> Call | None:
        return self._segments[-1].calls[-1] if self._segments and self._segments[-1].calls else None

    def arm(self) -> None:
        """Keep the calls of the next forward pass."""
        self._segments, self._running, self._is_over, self._armed = [], [], False, True
        self.repeated = ""

    def release(self) -> list[Call]:
        """The calls that were kept, in order; nothing is kept from here on."""
        whole = [call for each in self._segments if each.is_whole for call in each.calls]
        self._segments, self._running, self._armed = [], [], False
        return whole

    def unwatch(self) -> None:
        """Remove all hooks."""
        for handles in self._handles.values():
            for handle in handles:
                handle.remove()
        self._handles.clear()


def in_backward() -> bool:
    """Whether autograd runs: what is computed then is computed again, for checkpointed activations."""
    task: Callable[[], int] | None = getattr(torch._C, "_current_graph_task_id", None)
    return task is not None and task() != -1


def first_tensor(output: Any) -> Tensor | None:
    """The tensor among what a module returned, the first of several."""
    if isinstance(output, Tensor):
        return output
    if isinstance(output, Mapping):
        output = tuple(output.values())
    if isinstance(output, tuple | list):
        return next((each for each in output if isinstance(each, Tensor)), None)
    return None


def _around(name: str) -> list[str]:
    """The module itself and all that it stands in, the model first."""
    parts = name.split(".") if name else []
    return ["", *(".".join(parts[: end + 1]) for end in range(len(parts)))]


def _is_around(outer: str, inner: str) -> bool:
    return not outer or inner.startswith(f"{outer}.")

"""A whole model with random streams in place of those that enter its blocks: what each site makes of them.

Real streams begin as copies of one vector and stay alike for many sites, where H x, H^T x and x hardly differ.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from mhcdiag.errors import LayoutError, SettingError
from mhcdiag.livemaps import LiveSite
from mhcdiag.livepasses.calls import mark_of, same_streams
from mhcdiag.livepasses.stacks import LiveStack
from mhcdiag.livepasses.watching import first_tensor
from mhcdiag.tokenruns.passes import run_pass
from mhcdiag.tokenruns.transformers_models import evaluating, known_tokens, readable_sites, runner_of
from mhcdiag.weight_readers.records import SiteActivations

SEQUENCES, LENGTH = 2, 16
"""Of the random token ids."""
NO_IDS = torch.zeros(1, 1, dtype=torch.long)
"""Where the model is run by a function that takes none."""


def probe_model(
    model: nn.Module, run: Callable[[], object] | None, *, tokens: int, seed: int
) -> dict[str, SiteActivations]:
    """What every call of every site did with random streams, by its name, all stacks together.

    Parameters
    ----------
    run
        What runs one forward pass; None calls the model with random token ids.
    tokens
        How many tokens to keep.
    seed
        Of the token ids and the streams.

    Raises
    ------
    LayoutError
        A site cannot be read, or what left it or its branch is not seen.
    SettingError
        It is not known how to run the model.
    InputError
        The model raised.
    """
    name = type(model).__name__
    sites = readable_sites(model, name).sites
    generator = torch.Generator().manual_seed(seed)
    run = run or _random_ids(model, generator)
    with evaluating(model):
        entries = _entries(model, sites, run, name)
        handles = [
            module.register_forward_pre_hook(partial(_replace, generator), with_kwargs=True)
            for path, module in model.named_modules()
            if path in entries
        ]
        try:
            found = run_pass(model, sites, lambda _ids: run(), NO_IDS, name=name, first=tokens)
        finally:
            for handle in handles:
                handle.remove()
    return {site: seen for stack in found.stacks for site, seen in _activations(stack, name).items()}


def _random_ids(model: nn.Module, generator: torch.Generator) -> Callable[[], object]:
    known = known_tokens(model)
    if known is None:
        raise SettingError(f"{type(model).__name__} does not say how many tokens it knows; give run=lambda: model(...)")
    ids = torch.randint(known, (SEQUENCES, LENGTH), generator=generator)
    place = next((each.device for each in model.parameters()), torch.device("cpu"))
    return partial(runner_of(model), ids.to(place))


def _entries(model: nn.Module, sites: Sequence[LiveSite], run: Callable[[], object], name: str) -> list[str]:
    """Modules that are given the streams of a site, and return streams: blocks, and wrappers with their branch.

    A mixer is given the streams, too, but its block mixes those that it was given itself.
    """
    around = {
        ".".join(parts[:end]) for site in sites for parts in [site.name.split(".")] for end in range(1, len(parts) + 1)
    }
    entered: list[tuple[str, Tensor, int]] = []

    def note(path: str, _module: nn.Module, given: Sequence[Any], named: Mapping[str, Any], output: Any) -> None:
        before, left = first_tensor((*given, *named.values())), first_tensor(output)
        if before is not None and left is not None and before.is_floating_point() and before.numel() == left.numel():
            entered.append((path, mark_of(before), before.numel()))

    handles = [
        module.register_forward_hook(partial(note, path), with_kwargs=True)
        for path, module in model.named_modules()
        if path in around
    ]
    try:
        found = run_pass(model, sites, lambda _ids: run(), NO_IDS, name=name)
    finally:
        for handle in handles:
            handle.remove()
    marks = [
        (call.entry.tolist(), call.numbers) for stack in found.stacks for call in stack.calls if call.entry is not None
    ]
    return [
        path
        for path, mark, numbers in entered
        if any(numbers == other and same_streams(mark.tolist(), entry) for entry, other in marks)
    ]


def _replace(
    generator: torch.Generator, _module: nn.Module, given: tuple[Any, ...], named: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Random streams of the same size in place of the first tensor that a module is given."""

    def drawn(streams: Tensor) -> Tensor:
        size = streams.double().square().mean().sqrt()
        numbers = torch.randn(streams.shape, generator=generator).to(streams.device, torch.float64)
        return (numbers * size).to(streams.dtype)

    at = next((i for i, each in enumerate(given) if isinstance(each, Tensor)), None)
    if at is not None:
        return (*given[:at], drawn(given[at]), *given[at + 1 :]), named
    key = next(key for key, each in named.items() if isinstance(each, Tensor))
    return given, {**named, key: drawn(named[key])}


def _activations(stack: LiveStack, name: str) -> dict[str, SiteActivations]:
    found = {}
    for site, call, following in zip(stack.sites, stack.calls, [*stack.calls[1:], None], strict=True):
        left = call.x_out if call.x_out is not None or following is None else following.x_in
        if call.x_in is None or left is None or call.branch is None or call.post is None:
            raise LayoutError(
                name,
                found=f"site {site}, of which streams, branch or post weights are not seen",
                expected="all of them, to be held against a layout; a single site by conformance(site, layout, apply=)",
            )
        found[site] = SiteActivations(
            h_res=call.maps[: len(call.x_in)].float().cpu(),
            x_in=call.x_in.float().cpu(),
            x_out=left.float().cpu(),
            branch=call.branch.float().cpu(),
            post=call.post.float().cpu(),
        )
    return found

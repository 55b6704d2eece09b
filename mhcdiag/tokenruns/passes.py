"""One forward pass of a model on tokens: the stacks of streams that it mixes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from jaxtyping import Int
from torch import Tensor, nn

from mhcdiag.errors import LayoutError
from mhcdiag.livemaps import LiveSite
from mhcdiag.livepasses.stacks import LiveStack, stacks_of
from mhcdiag.livepasses.watching import PassWatcher
from mhcdiag.tokenruns.transformers_models import run_on


@dataclass(frozen=True, kw_only=True, slots=True)
class Pass:
    """What one forward pass did."""

    stacks: tuple[LiveStack, ...]
    """One for each residual stream that sites share, in the order in which they begin."""
    idle: tuple[str, ...]
    """Sites that did not run, such as those of heads for training."""


def run_pass(
    model: nn.Module,
    sites: Sequence[LiveSite],
    run: Callable[[Tensor], object],
    ids: Int[Tensor, "batch token"],
    *,
    name: str,
    first: int = 0,
) -> Pass:
    """Run a model, and return every call of its sites, in stacks.

    Parameters
    ----------
    model, sites
        The model, and those of its modules that mix streams.
    run
        What runs it on token ids.
    ids
        Token ids.
    name
        Of the model, for messages.
    first
        How many of the first tokens to keep streams, branch and post weights of.

    Raises
    ------
    InputError
        The model cannot be run.
    LayoutError
        A site cannot be read, or none ran.
    """
    failed: list[str] = []
    watcher = PassWatcher(
        lambda _seen: None,
        lambda site, why: failed.append(f"{site or '(the model)'}: {why}"),
        first=first,
        training_only=False,
    )
    watcher.arm()
    watcher.watch(model, sites)
    try:
        run_on(run, ids, name)
    finally:
        watcher.unwatch()
    calls = watcher.release()
    if failed:
        raise LayoutError(name, found=f"a site that cannot be read: {failed[0]}", expected="mappings of every site")
    if not calls:
        raise LayoutError(name, found=f"none of {len(sites)} modules that mix streams ran", expected="all of them")
    ran = {call.site for call in calls}
    return Pass(stacks=stacks_of(calls), idle=tuple(site.name for site in sites if site.name not in ran))

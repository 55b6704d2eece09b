"""The wrappers of lucidrains' packages: mappings are read off by running the wrapper's own method on unit streams.

They form their mappings inside a method (`width_connection` in hyper-connections, `prepare` in x-transformers) and
return none of them. That method is run again with the norm held at what it returned in the pass: feature j of the
streams given to it is 1 in stream j alone, so that what leaves is the matrix, whatever activation, constraint, number
of proposals or of fractions the wrapper has. x-transformers' Sinkhorn, for one, runs on rows of one entry and gives a
matrix of ones, which no formula of the paper would.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, distributed, nn
from torch.utils.hooks import RemovableHandle

from mhcdiag.livemaps.interface import Formed, Hook, LiveReader, SiteCall, Take, usable_maps

METHODS = ("width_connection", "prepare")


_LISTS = (nn.ModuleList, nn.ModuleDict, nn.ParameterList, nn.ParameterDict)


class _Shadow:
    """A wrapper as its own method sees it, with another norm; modules in it run without the hooks that they carry."""

    def __init__(self, module: nn.Module, norm: Callable[[Tensor], Tensor]) -> None:
        self._module = module
        self.norm = norm
        self.residual_transform = _unchanged
        # It mixes what the norm sees, and not the streams; the norm is held.
        self.maybe_mix_streams = None

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._module, name)
        return value.forward if isinstance(value, nn.Module) and not isinstance(value, _LISTS) else value


def _unchanged(streams: Tensor) -> Tensor:
    return streams


@dataclass(frozen=True, kw_only=True, slots=True)
class _Form:
    """How one wrapper packs streams; n streams, f fractions, d features of a fraction."""

    method: str
    streams: int
    fractions: int
    has_fraction_axis: bool
    """Whether its norm sees an axis of fractions."""
    folded: bool
    """Whether streams lie in the batch axis; else before the features, with fractions behind them."""
    channels: int
    """0: features come last. 1: behind the batch axis, moved to the end before the norm. 2: and stay there (images)."""

    def tokens(self, seen: Tensor) -> Float[Tensor, "token stream width"]:
        """What the norm sees, by token and sub-stream."""
        if self.channels == 2:
            apart = seen.reshape(-1, self.streams, *seen.shape[1:])
            return apart.movedim((1, 2), (-2, -1)).reshape(-1, self.streams, seen.shape[1])
        width = seen.shape[-1]
        if not self.has_fraction_axis:
            return seen.reshape(-1, self.streams, width)
        if self.folded:
            seen = seen.transpose(-2, -3)  # [..., fraction, stream, d]
        return seen.reshape(-1, self.streams * self.fractions, width)

    def replayed(self, by_token: Float[Tensor, "token stream width"]) -> Tensor:
        """The inverse of `tokens`, for tokens that are a batch of sequences of one."""
        if self.channels == 2:
            return by_token.flatten(0, 1)[..., None, None]
        if not self.has_fraction_axis:
            return by_token.unsqueeze(1)
        apart = by_token.reshape(len(by_token), 1, self.streams, self.fractions, -1)
        return apart.transpose(-2, -3) if self.folded else apart

    def packed(self, streams: Float[Tensor, "token stream width"]) -> Tensor:
        """Whole streams as the method takes them."""
        if not self.folded:
            return streams.unsqueeze(1)
        flat = streams.flatten(0, 1)
        return flat[(..., *(None,) * self.channels)] if self.channels else flat.unsqueeze(1)

    def read(self, whole: Tensor) -> Float[Tensor, "token stream width"]:
        """Whole streams between wrappers, by token and sub-stream."""
        if self.folded:
            apart = whole.reshape(-1, self.streams, *whole.shape[1:])
            apart = apart.movedim(2, -1) if self.channels else apart
            whole = apart.movedim(1, -2)
        return whole.reshape(-1, self.streams * self.fractions, whole.shape[-1] // self.fractions)

    def unpacked(self, streams: Tensor, tokens: int) -> Float[Tensor, "token stream width"]:
        """Whole streams as the method returns them."""
        return streams.reshape(tokens, self.streams, -1)


def _form(module: Any) -> _Form:
    method = next(name for name in METHODS if callable(getattr(type(module), name, None)))
    of_images = getattr(getattr(module.norm, "gamma", None), "ndim", 1) == 3
    return _Form(
        method=method,
        streams=int(module.num_residual_streams),
        fractions=int(getattr(module, "num_fracs", 1)),
        has_fraction_axis=hasattr(module, "num_fracs"),
        # mHCv2 alone keeps streams before the features, and knows no channels that come first.
        folded=method == "prepare" or hasattr(module, "channel_first") or not hasattr(module, "num_fracs"),
        channels=2 if of_images else int(bool(getattr(module, "channel_first", False))),
    )


def _run(module: nn.Module, form: _Form, norm: Callable[[Tensor], Tensor], streams: Tensor) -> tuple[Any, ...]:
    """What the wrapper's own method makes of whole streams [token, n, width]: branch input, streams, further things."""
    method = getattr(type(module), form.method)
    return tuple(method(_Shadow(module, norm), form.packed(streams)))


@torch.no_grad()
def _formed(module: nn.Module, form: _Form, normed: Float[Tensor, "token stream width"]) -> Formed:
    """The mappings of the tokens whose normalised streams these are."""
    tokens, count = len(normed), form.streams * form.fractions
    held = form.replayed(normed)
    found: tuple[Any, ...] = ()
    # Rounding to half precision at the end of the method is no part of the mapping; where a wrapper computes in half
    # precision throughout, it takes nothing else.
    for dtype in dict.fromkeys((torch.float32, normed.dtype)):
        unit = torch.eye(count, dtype=dtype, device=normed.device)
        # Each fraction of a stream has `count` features of its own.
        probe = unit.view(form.streams, -1).expand(tokens, -1, -1)
        try:
            found = _run(module, form, lambda _: held, probe)
            break
        except RuntimeError:
            if dtype == normed.dtype:
                raise
    mixed = form.unpacked(found[1], tokens).reshape(tokens, count, count)
    beta = found[2].get("beta") if len(found) > 2 and isinstance(found[2], dict) else None
    post = None
    if isinstance(beta, Tensor) and form.fractions == 1 and beta.numel() == tokens * form.streams:
        post = beta.reshape(tokens, -1)
    return Formed(h_res=mixed, post=post)


def _knows(module: nn.Module) -> bool:
    needed = ("static_alpha", "norm", "num_residual_streams")
    # The projection is named dynamic_alpha_fn, or dynamic_alpha_and_branch_input where there are further inputs.
    projections = ("dynamic_alpha_fn", "dynamic_alpha_and_branch_input")
    return all(hasattr(module, name) for name in needed) and any(hasattr(module, name) for name in projections)


CLOSE = {torch.float32: 1e-4, torch.float64: 1e-4}
"""How far the method may be from H x as a share of it: the rounding of its element type; half precision has 0.05."""
_TRIED = 3
"""Tokens of the trial."""


def _trial(module: Any) -> str:
    """Whether its method is there, and linear in the streams where the norm is held."""
    if not any(callable(getattr(type(module), name, None)) for name in METHODS):
        return f"it has neither of {', '.join(METHODS)}, which would say how it mixes"
    if not isinstance(module.norm, nn.Module):
        return "its norm is no module, so that what it returns is not seen"
    if not isinstance(getattr(module, "residual_transform", None), nn.Identity | None):
        return "it transforms its streams before it mixes them"
    parameters = list(module.norm.parameters()) or [module.static_alpha]
    # Parts of sharded parameters have other shapes outside of the forward pass, and meta ones no numbers.
    if any(each.is_meta for each in parameters) or (distributed.is_available() and distributed.is_initialized()):
        return ""
    return _tried(module, like=parameters[0], width=max(each.numel() for each in parameters))


@torch.no_grad()
def _tried(module: Any, *, like: Tensor, width: int) -> str:
    """What its method makes of a few made-up streams, against H x."""
    form = _form(module)
    whole = torch.linspace(-1, 1, _TRIED * form.streams * width * form.fractions, device=like.device)
    whole = (7.3 * whole).sin().reshape(_TRIED, form.streams, -1).to(like.dtype)
    seen: list[Tensor] = []

    def norm(streams: Tensor) -> Tensor:
        seen.append(module.norm.forward(streams))
        return seen[-1]

    after = form.unpacked(_run(module, form, norm, whole)[1], _TRIED).float()
    maps = usable_maps(_formed(module, form, form.tokens(seen[0])).h_res)
    expected = (maps.float() @ whole.reshape(_TRIED, maps.shape[-1], -1).float()).reshape(after.shape)
    off = float((after - expected).norm() / expected.norm().clamp(min=1e-30))
    if not off <= CLOSE.get(like.dtype, 0.05):
        return f"what it makes of streams is not linear in them (off by {off:.2g})"
    add = getattr(module, "depth_residual_fn", None)
    if callable(add) and not torch.equal(add(torch.zeros_like(whole), whole), whole):
        return "it adds its branch to the streams in another way than by a sum (depth_residual_fn)"
    return ""


def _attach(module: nn.Module, take: Take) -> list[RemovableHandle]:
    # The wrapper's own output has the branch added already; what its norm returns is all that the mapping depends on.
    norm = module.get_submodule("norm")
    form = _form(module)
    sees_streams = getattr(module, "maybe_mix_streams", None) is None

    def catch(_norm: nn.Module, given: tuple[Any, ...], normed: Tensor) -> None:
        def read() -> SiteCall:
            by_token = form.tokens(normed.detach())

            def formed(places: Tensor | None) -> Formed:
                return _formed(module, form, by_token if places is None else by_token[places])

            return SiteCall(
                tokens=len(by_token),
                formed=formed,
                streams=form.tokens(given[0].detach()) if sees_streams else None,
                fractions=form.fractions,
                by_token=form.read,
            )

        take(read)

    return [norm.register_forward_hook(Hook(catch))]


LUCIDRAINS = LiveReader(name="hyper-connections", knows=_knows, trial=_trial, attach=_attach)
"""Wrappers of the packages hyper-connections (HC, mHC, mHCv2, fractions) and x-transformers."""


def _silence(_module: nn.Module, _inputs: Any, output: Any) -> Any:
    first, *others = output if isinstance(output, tuple) else (output,)
    silent = torch.zeros_like(first)
    return (silent, *others) if isinstance(output, tuple) else silent


def apply_wrapper(module: nn.Module, streams: Tensor) -> Tensor:
    """Streams [token, n, C] through one wrapper, by its own forward pass with a branch that returns zeros."""
    wrapper = cast(Any, module)
    form = _form(wrapper)
    packed = form.packed(streams)
    if form.method == "prepare":
        branch_input, residuals, kept = wrapper.prepare(packed)
        return form.unpacked(wrapper(torch.zeros_like(branch_input), residuals, **kept), len(streams))
    if wrapper.branch is None:
        branch_input, add_residual = wrapper(packed)
        after = add_residual(torch.zeros_like(branch_input))
    else:
        handle = wrapper.branch.register_forward_hook(_silence)
        try:
            after = wrapper(packed)
        finally:
            handle.remove()
    return form.unpacked(after, len(streams))

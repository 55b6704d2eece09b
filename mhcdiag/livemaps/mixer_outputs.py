"""Families whose mixers return their mapping: it is taken from the output of the module."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from mhcdiag.errors import SettingError
from mhcdiag.livemaps.interface import Formed, Hook, LiveReader, SiteCall, Take, usable_maps

Read = Callable[[nn.Module, Sequence[Any], Mapping[str, Any], Any], SiteCall]
"""From what a mixer was given and what it returned."""


def _attach(read: Read, module: nn.Module, take: Take) -> list[RemovableHandle]:
    def catch(_module: nn.Module, given: Sequence[Any], named: Mapping[str, Any], output: Any) -> None:
        take(partial(read, module, given, named, output))

    return [module.register_forward_hook(Hook(catch), with_kwargs=True)]


def _call(given: Sequence[Any], named: Mapping[str, Any], maps: Tensor, post: object) -> SiteCall:
    by_token = usable_maps(maps)
    tokens, streams = by_token.shape[:2]
    first = next((each for each in (*given, *named.values()) if isinstance(each, Tensor)), None)
    if first is None or not first.numel() or first.numel() % (tokens * streams):
        shape = None if first is None else list(first.shape)
        raise SettingError(
            f"{tokens} mappings of {streams} streams for an input of shape {shape}; expected one a token"
        )
    before = first.detach().reshape(tokens, streams, -1)
    weights = None
    if isinstance(post, Tensor) and post.numel() == tokens * streams:
        weights = post.detach().reshape(tokens, streams)

    def formed(places: Tensor | None) -> Formed:
        if places is None:
            return Formed(h_res=by_token, post=weights)
        return Formed(h_res=by_token[places], post=None if weights is None else weights[places])

    def read(whole: Tensor) -> Tensor:
        return whole.reshape(tokens, streams, -1)

    return SiteCall(tokens=tokens, formed=formed, streams=before, by_token=read)


def _parts(output: Any, returned: str) -> Sequence[Any]:
    # A lone tensor could be indexed, too, and would give the mappings of another token.
    if not isinstance(output, tuple | list) or len(output) < 2 or not isinstance(output[1], Tensor):
        raise SettingError(f"it returned {type(output).__name__}; expected {returned}")
    return output


def _transformers(_module: nn.Module, given: Sequence[Any], named: Mapping[str, Any], output: Any) -> SiteCall:
    # (post, comb, collapsed): their decoder layers apply comb transposed, so that its rows are the source streams.
    post, comb = _parts(output, "post, comb and the collapsed streams")[:2]
    return _call(given, named, comb.transpose(-1, -2), post)


def _is_transformers_mixer(module: nn.Module) -> bool:
    # By parameters and options, since every family names its own class (DeepseekV4..., Glm5Next...).
    return all(hasattr(module, name) for name in ("fn", "base", "scale", "hc_mult", "hc_sinkhorn_iters"))


def _transformers_trial(module: Any) -> str:
    streams = module.hc_mult
    if not isinstance(streams, int) or streams < 1:
        return f"hc_mult is {streams!r}, no number of streams"
    return ""


TRANSFORMERS = LiveReader(
    name="transformers",
    knows=_is_transformers_mixer,
    trial=_transformers_trial,
    attach=partial(_attach, _transformers),
)
"""deepseek_v4 and glm5_next of transformers."""


def _megatron(_module: nn.Module, given: Sequence[Any], named: Mapping[str, Any], output: Any) -> SiteCall:
    parts = _parts(output, "the aggregated streams, H_res and H_post")
    return _call(given, named, parts[1], parts[2] if len(parts) > 2 else None)


def _is_megatron_mixer(module: nn.Module) -> bool:
    return all(hasattr(module, name) for name in ("mapping_proj", "alpha_res", "bias"))


MEGATRON = LiveReader(
    name="megatron",
    knows=_is_megatron_mixer,
    trial=lambda _module: "",
    attach=partial(_attach, _megatron),
)
"""Modules in the style of Megatron-LM, which apply the second output as it is."""

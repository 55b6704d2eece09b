"""Models of transformers whose blocks are loaded one at a time, while they run.

The package's own loading is used, with its renaming, merging of experts and dequantising: all but the blocks is loaded
at first, and each block when it is entered. Where that does not work for a family, the caller loads it whole and says
so.
"""

import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from mhcdiag.errors import InputError
from mhcdiag.livemaps import live_sites
from mhcdiag.livepasses.stacks import group_of
from mhcdiag.tokenruns.transformers_models import architecture_of, cannot_load, refuse_missing_weights


class NotByBlocksError(Exception):
    """A model that cannot be loaded block by block, with the reason; never shown by itself."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BlockwiseModel:
    """A model of which the blocks hold numbers only while they run."""

    model: nn.Module
    blocks: Mapping[str, nn.Module]
    """By path."""
    load: Callable[[str], None]
    """Loads one block."""

    @contextmanager
    def streaming(self) -> Iterator[None]:
        """Load each block when it is entered, and empty it when it is left."""
        handles = []
        for path, block in self.blocks.items():
            handles.append(block.register_forward_pre_hook(partial(self._enter, path)))
            handles.append(block.register_forward_hook(self._leave))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _enter(self, path: str, _block: nn.Module, _given: object) -> None:
        self.load(path)

    def _leave(self, block: nn.Module, _given: object, _output: object) -> None:
        empty(block)


def empty(block: nn.Module) -> None:
    """Give back the memory of what a block loads; buffers that are computed stay."""
    for module in block.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None:
                module._parameters[name] = nn.Parameter(torch.empty_like(parameter, device="meta"), requires_grad=False)
        for name, buffer in module._buffers.items():
            if buffer is not None and name not in module._non_persistent_buffers_set:
                module._buffers[name] = torch.empty_like(buffer, device="meta")


def load_by_blocks(path: str | os.PathLike[str], *, dtype: str | None = None, device: str = "cpu") -> BlockwiseModel:
    """Load all of a model but its blocks, and what runs behind them.

    Raises
    ------
    NotByBlocksError
        This family, or this version of transformers, does not allow it.
    InputError
        The checkpoint cannot be loaded, or lacks weights.
    """
    architecture = architecture_of(path)
    loading = _Loading(device=device)
    try:
        lazy = _lazy_class(architecture, loading)
        model, info = lazy.from_pretrained(path, dtype=dtype or "auto", local_files_only=True, output_loading_info=True)
    except NotByBlocksError:
        raise
    except (AttributeError, TypeError, ImportError, KeyError) as error:  # another version of transformers
        raise NotByBlocksError(f"{type(error).__name__}: {error}") from error
    except Exception as error:
        raise cannot_load(path, error) from error
    refuse_missing_weights(model, info["missing_keys"], os.fspath(path))
    _to_device(model, device)
    blocks = {name: model.get_submodule(name) for name in loading.of_blocks}
    return BlockwiseModel(model=model, blocks=blocks, load=partial(loading.load, model, os.fspath(path)))


class _Loading:
    """What `from_pretrained` had in its hands when it was about to load the weights."""

    def __init__(self, *, device: str) -> None:
        self.device = device
        self.options: Any = None
        self.of_blocks: dict[str, dict[str, Any]] = {}
        """Tensors of the checkpoint by the block that they belong to."""

    def first(self, model: Any, state: dict[str, Any], options: Any) -> Any:
        """Load what belongs to no block; the rest is sorted."""
        from transformers.core_model_loading import (
            WeightConverter,
            WeightRenaming,
            convert_and_load_state_dict_in_model,
            rename_source_key,
        )

        self.options = options
        blocks = block_paths(model)
        mapping = options.weight_mapping or []
        renamings = [each for each in mapping if isinstance(each, WeightRenaming)]
        converters = [each for each in mapping if isinstance(each, WeightConverter)]
        known: Any = model.state_dict()
        prefix: Any = model.base_model_prefix
        self.of_blocks = {block: {} for block in blocks}
        rest = {}
        for name, tensor in state.items():
            target, _ = rename_source_key(name, renamings, converters, prefix, known)
            if target not in known and name in known:
                target = name
            block = next((block for block in _outer(target) if block in self.of_blocks), None)
            if block is not None:
                self.of_blocks[block][name] = tensor
            elif not _runs_behind(target, prefix, known):
                rest[name] = tensor
        if not all(self.of_blocks.values()):
            raise NotByBlocksError("the names of its weights do not say which block they belong to")
        info, index = convert_and_load_state_dict_in_model(model, rest, options, None)
        inside = tuple(f"{block}." for block in blocks)
        info.missing_keys = {
            name for name in info.missing_keys if not name.startswith(inside) and not _runs_behind(name, prefix, known)
        }
        return info, index

    def load(self, model: Any, path: str, block: str) -> None:
        """Load one block, whatever its tensors are called in the checkpoint.

        Raises
        ------
        InputError
            They cannot be loaded, or some are missing.
        """
        from transformers.core_model_loading import convert_and_load_state_dict_in_model

        try:
            convert_and_load_state_dict_in_model(model, dict(self.of_blocks[block]), self.options, None)
        except Exception as error:
            raise cannot_load(path, error) from error
        module = model.get_submodule(block)
        lacking = [name for name, value in (*module.named_parameters(), *module.named_buffers()) if value.is_meta]
        if lacking:
            raise InputError(
                path,
                found=f"no {block}.{lacking[0]}" + (f" and {len(lacking) - 1} more" if lacking[1:] else ""),
                expected="all weights of the block: transformers would take random ones",
            )
        module.to(self.device)


def _lazy_class(architecture: Any, loading: _Loading) -> Any:
    """The architecture, with our way of loading in place of its own."""

    def load(model: nn.Module, state: Any, files: Any, options: Any, *_more: Any, **_named: Any) -> Any:
        return loading.first(model, _tensors_of(state, files), options)

    made = type(architecture.__name__, (architecture,), {"_load_pretrained_model": staticmethod(load)})
    made.__module__ = architecture.__module__
    return made


def _tensors_of(state: Mapping[str, Any] | None, files: list[str] | None) -> dict[str, Any]:
    """The tensors of safetensors files, none of them read yet."""
    if state is not None or not files or not all(str(file).endswith(".safetensors") for file in files):
        raise NotByBlocksError("its weights are not in safetensors files")
    found: dict[str, Any] = {}
    for file in files:
        opened: Any = _opened(file)
        found |= {name: opened.get_slice(name) for name in opened.keys()}  # noqa: SIM118
    return found


def _opened(file: str) -> Any:
    """Without a memory map where safetensors can: pages of a map stay in memory as long as there is room."""
    from safetensors import safe_open

    try:
        return safe_open(file, framework="pt", device="cpu", backend="pread")
    except TypeError:  # safetensors before 0.7
        return safe_open(file, framework="pt", device="cpu")


def block_paths(model: nn.Module) -> list[str]:
    """The blocks of the lists that sites stand in, "model.layers.0", ...

    Raises
    ------
    NotByBlocksError
        Sites stand in no list of blocks.
    """
    lists = {group_of(site.name) for site in live_sites(model).sites}
    found = []
    for name in sorted(lists):
        blocks = model.get_submodule(name) if name else model
        if not isinstance(blocks, nn.ModuleList):
            raise NotByBlocksError("its sites stand in no list of blocks")
        found += [f"{name}.{at}" for at in range(len(blocks))]
    if not found:
        raise NotByBlocksError("it holds no site")
    return found


def _outer(name: str) -> Iterator[str]:
    for match in re.finditer(r"\.", name):
        yield name[: match.start()]


def _runs_behind(name: str, prefix: str, known: Mapping[str, Tensor]) -> bool:
    """Whether a weight is of the head, which is not run."""
    return bool(prefix) and any(each.startswith(f"{prefix}.") for each in known) and not name.startswith(f"{prefix}.")


def _to_device(model: nn.Module, device: str) -> None:
    if device == "cpu":
        return
    for module in model.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None and not parameter.is_meta:
                module._parameters[name] = nn.Parameter(parameter.to(device), requires_grad=False)
        for name, buffer in module._buffers.items():
            if buffer is not None and not buffer.is_meta:
                module._buffers[name] = buffer.to(device)

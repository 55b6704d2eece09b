"""Which of the dictionaries in a training checkpoint holds the weights of the model."""

import re
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from mhcdiag.errors import ContainerError
from mhcdiag.tensorfiles.names import listed, shown

if TYPE_CHECKING:
    from torch import Tensor

DEFAULT_KEYS = ("model", "model_state_dict", "state_dict", "module")
"""Where training scripts keep the weights; the first that leads to tensors counts."""

_CONFIG_KEYS = ("config", "model_args")
_ARGUMENTS = "args"
_DEEPEST = 16
_DEEPEST_LIST = 100
_MOST_DICTIONARIES = 1_000_000
# What a state dict of torch.optim has, whatever name it was saved under.
_PARAM_GROUPS = "param_groups"
_OPTIMIZER = re.compile("optim", re.IGNORECASE)


def weights(root: Any, *, path: str, key: str | None) -> "dict[str, Tensor]":
    """The model's tensors by name; names of nested dictionaries are joined with dots.

    Parameters
    ----------
    root
        The object that was saved.
    path
        The file, for messages.
    key
        Where to look: keys of nested dictionaries, joined with dots. None follows `DEFAULT_KEYS`, level by
        level, and takes the only dictionary with tensors where there is no such key.

    Raises
    ------
    ContainerError
        No tensors, several dictionaries with tensors and none to prefer, no such key, or optimizer state.
    """
    if not isinstance(root, Mapping):
        raise ContainerError(
            path,
            found=f"an object of type {type(root).__name__}",
            expected="a dictionary of tensors",
            hint="save model.state_dict()",
        )
    if _is_optimizer("", root):
        raise ContainerError(path, found="the state of an optimizer", expected="a dictionary of tensors")
    _unfolded(root, {}, path=path)
    node = root if key is None else _walk(root, key, path=path)
    tensors = dict(_flat(_model_below(node, path=path, is_chosen=key is not None)))
    if not tensors:
        found = f"no tensors outside of optimizer state; the keys are {listed(map(str, node)) or 'none'}"
        raise ContainerError(path, found=found, expected="a dictionary of tensors", hint="name one with --key")
    return tensors


def tensors_elsewhere(root: Any, chosen: Collection[int]) -> "dict[str, Tensor]":
    """Tensors of a file that are none of the model's: the state of an optimizer, an average of the weights.

    Parameters
    ----------
    root
        The object that was saved, after `weights` has found it to be a shallow tree.
    chosen
        `id` of each tensor of the model.

    Returns
    -------
    dict
        Each once, by the keys and indices that lead to it.
    """
    return dict(_elsewhere(root, "", set(chosen), depth=0))


def _elsewhere(value: Any, name: str, known: set[int], *, depth: int) -> "Iterable[tuple[str, Tensor]]":
    import torch

    # Lists may contain themselves, and a few that contain each other unfold into billions: each is looked at once.
    if id(value) in known or depth > _DEEPEST_LIST:
        return
    if isinstance(value, torch.Tensor):
        known.add(id(value))
        yield name, value
    elif isinstance(value, Mapping | list | tuple):
        known.add(id(value))
        inside = value.items() if isinstance(value, Mapping) else enumerate(value)
        for key, one in inside:
            yield from _elsewhere(one, f"{name}.{key}" if name else str(key), known, depth=depth + 1)


def config_in(root: Any) -> dict[str, Any] | None:
    """The configuration that was saved with the weights; `model_args` has the word over `config`.

    The first describes the model and the second the run, in scripts that save both. `args` (Megatron-LM) count where
    there is neither.
    """
    names = _CONFIG_KEYS if any(name in root for name in _CONFIG_KEYS) else (_ARGUMENTS,)
    found = [value for name in names if (value := _fields(root.get(name))) is not None]
    return {str(name): value for config in found for name, value in config.items()} if found else None


def _fields(value: Any) -> Mapping[str, Any] | None:
    import argparse

    if isinstance(value, argparse.Namespace):
        return vars(value)
    return value if isinstance(value, Mapping) else None


def _unfolded(node: Mapping[Any, Any], sizes: dict[int, int], *, path: str, depth: int = 0) -> int:
    """Number of dictionaries in the tree under `node`, those that stand in several places counted in each.

    A pickle may hold a dictionary that contains itself, or a few that unfold into billions: walking them would
    not end.
    """
    if depth > _DEEPEST or sizes.get(id(node)) == 0:
        raise ContainerError(
            path, found=f"a dictionary that contains itself, or {_DEEPEST} levels of them", expected="a shallow tree"
        )
    if id(node) not in sizes:
        sizes[id(node)] = 0
        children = [value for value in node.values() if isinstance(value, Mapping)]
        size = 1 + sum(_unfolded(child, sizes, path=path, depth=depth + 1) for child in children)
        if size > _MOST_DICTIONARIES:
            raise ContainerError(path, found=f"{size} dictionaries in each other", expected="fewer")
        sizes[id(node)] = size
    return sizes[id(node)]


def _walk(node: Any, key: str, *, path: str) -> Mapping[Any, Any]:
    whole = key
    while key:
        parts = key.split(".")
        names = (".".join(parts[:count]) for count in range(len(parts), 0, -1))
        name = next((name for name in names if isinstance(node, Mapping) and name in node), None)
        if name is None:
            keys = listed(map(str, node)) if isinstance(node, Mapping) else "none"
            raise ContainerError(path, found=f"no --key {shown(whole)}: of {shown(key)} the keys are {keys}")
        node, key = node[name], key[len(name) + 1 :]
        if _is_optimizer(name, node):
            hint = "name the weights of the model"
            raise ContainerError(path, found=f"--key {shown(whole)} leads to optimizer state", hint=hint)
    if not isinstance(node, Mapping):
        found = f"--key {shown(whole)} leads to an object of type {type(node).__name__}"
        raise ContainerError(path, found=found, expected="a dictionary of tensors")
    return node


def _model_below(node: Mapping[Any, Any], *, path: str, is_chosen: bool) -> Mapping[Any, Any]:
    for name in DEFAULT_KEYS:
        if _has_tensors(node.get(name)):
            return _model_below(node[name], path=path, is_chosen=True)
    if is_chosen:
        return node
    branches = [name for name, value in node.items() if _has_tensors(value) and not _is_optimizer(name, value)]
    if len(branches) > 1:
        raise ContainerError(
            path,
            found=f"{len(branches)} dictionaries of tensors: {listed(map(str, branches))}",
            expected="one, or one named " + " or ".join(DEFAULT_KEYS),
            hint=f"choose with --key, as in --key {branches[0]}",
        )
    return _model_below(node[branches[0]], path=path, is_chosen=True) if branches else node


def _has_tensors(value: Any) -> bool:
    return isinstance(value, Mapping) and next(iter(_flat(value)), None) is not None


def _is_optimizer(name: Any, value: Any) -> bool:
    return bool(_OPTIMIZER.search(str(name))) or (isinstance(value, Mapping) and _PARAM_GROUPS in value)


def _flat(node: Mapping[Any, Any], prefix: str = "") -> "Iterable[tuple[str, Tensor]]":
    import torch

    if _PARAM_GROUPS in node:
        return
    for name, value in node.items():
        if isinstance(value, torch.Tensor):
            yield f"{prefix}{name}", value
        elif isinstance(value, Mapping) and not _is_optimizer(name, value):
            yield from _flat(value, f"{prefix}{name}.")

"""Models of transformers: loaded whole, and run on one sequence after another."""

import inspect
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor, nn

from mhcdiag.errors import InputError, LayoutError, MhcdiagError, SettingError
from mhcdiag.livemaps import LiveSites, live_sites
from mhcdiag.tokenruns.text import transformers_package

Run = Callable[[Int[Tensor, "batch token"]], object]
"""Runs a model on token ids."""


def architecture_of(path: str | os.PathLike[str]) -> Any:
    """The class of transformers that a directory's configuration names.

    Raises
    ------
    InputError
        transformers knows no such model.
    MissingExtraError
        transformers is not installed.
    """
    package = transformers_package()
    try:
        config = package.AutoConfig.from_pretrained(path, local_files_only=True)
    except Exception as error:
        raise cannot_load(path, error) from error
    return getattr(package, (config.architectures or ["?"])[0], package.AutoModelForCausalLM)


def load_whole(path: str | os.PathLike[str], *, dtype: str | None = None) -> nn.Module:
    """A model as `save_pretrained` wrote it, in the element type in which it is stored unless another is asked for.

    Raises
    ------
    InputError
        transformers cannot load it, or its checkpoint lacks weights, which transformers would draw at random.
    """
    architecture = architecture_of(path)
    model: nn.Module
    try:
        model, loading = architecture.from_pretrained(
            path, dtype=dtype or "auto", local_files_only=True, output_loading_info=True
        )
    except Exception as error:  # of every package that has a hand in it
        raise cannot_load(path, error) from error
    refuse_missing_weights(model, loading["missing_keys"], os.fspath(path))
    return model


def cannot_load(path: str | os.PathLike[str], error: Exception) -> InputError:
    """What to say of an error of transformers, or of what it calls."""
    reason = f"{type(error).__name__}: {error}".partition("\n")[0]
    return InputError(path, found=f"transformers cannot load the model: {reason}")


def refuse_missing_weights(model: nn.Module, missing: Iterable[str], path: str) -> None:
    """What a checkpoint lacks, transformers fills with random numbers; of those nothing would be learned.

    The head does not count: nothing that is measured depends on it.

    Raises
    ------
    InputError
        Weights of the mixers or of anything before the head are missing.
    """
    inside = f"{getattr(model, 'base_model_prefix', '')}."
    mixers = tuple(f"{site.name}." for site in live_sites(model).sites)
    has_base = any(name.startswith(inside) for name in mixers)
    lacking = [name for name in missing if name.startswith(inside) or not has_base]
    lacking = sorted(lacking, key=lambda name: (not name.startswith(mixers), name))
    if not lacking:
        return
    of_mixers = sum(name.startswith(mixers) for name in lacking)
    kind = "of its mixers' tensors" if of_mixers else "of its weights"
    more = (of_mixers or len(lacking)) - 1
    raise InputError(
        path,
        found=f"no {lacking[0]}" + (f" and {more} more {kind}" if more else ""),
        expected="all weights: transformers would take random ones",
    )


def on_device(model: nn.Module, device: str | None) -> nn.Module:
    """The model where it is to run.

    Raises
    ------
    SettingError
        There is no such device.
    """
    try:
        return model if device is None else model.to(device)
    except (RuntimeError, AssertionError) as error:  # AssertionError: a torch without CUDA
        reason = str(error).partition("\n")[0]
        raise SettingError(f"--device {device}: {reason}; expected cpu, or a device of this machine") from error


def known_tokens(model: nn.Module) -> int | None:
    """How many tokens the model has; None where it does not say."""
    try:
        embeddings = getattr(model, "get_input_embeddings", lambda: None)()
    except Exception:  # noqa: BLE001 - models of other people; NotImplementedError in transformers
        return None
    found = getattr(embeddings, "num_embeddings", None)
    return found if isinstance(found, int) else None


def readable_sites(model: nn.Module, name: str) -> LiveSites:
    """The sites of a model that mixes streams, all of which can be read.

    Raises
    ------
    LayoutError
        It has none, or some cannot be read: a composite without them would not be the model's.
    """
    found = live_sites(model)
    if found.unread:
        first = found.unread[0]
        raise LayoutError(
            name,
            found=f"site {first.name or '(the model)'} mixes streams in a way that cannot be read: {first.reason}",
            expected="sites that can all be read",
        )
    if not found.sites:
        raise LayoutError(
            name, found=f"{type(model).__name__} holds no module that mixes streams", expected="hyper-connections"
        )
    return found


def runner_of(model: nn.Module) -> Run:
    """How to run a model on token ids: by name and without a cache as models of transformers take them, else as is."""
    parameters = inspect.signature(model.forward).parameters
    if "input_ids" not in parameters:
        return model
    takes_more = any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters.values())
    without_cache = {"use_cache": False} if "use_cache" in parameters or takes_more else {}
    return lambda ids: model(input_ids=ids, **without_cache)


def run_on(run: Run, ids: Int[Tensor, "batch token"], name: str) -> None:
    """Run a model on token ids.

    Raises
    ------
    InputError
        It raised; what it said.
    """
    try:
        with torch.no_grad():
            run(ids)
    except MhcdiagError:
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {error}".partition("\n")[0]
        raise InputError(name, found=f"the model cannot be run on {list(ids.shape)} tokens: {reason}") from error


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Without dropout; a loaded model is the caller's, and every part of it gets its own mode back."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True

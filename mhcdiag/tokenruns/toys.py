"""Checkpoints of `mhcdiag toy`, run on a text."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from mhcdiag.errors import InputError, LayoutError, MhcdiagError, SettingError
from mhcdiag.layouts.checks import TOY_METADATA, TOY_TYPE
from mhcdiag.namedtensors import NamedTensors
from mhcdiag.tokenruns.interface import TextRun, skipped_tokens
from mhcdiag.tokenruns.text import read_text
from mhcdiag.toy import runfolder
from mhcdiag.toy.model import BLOCK_WEIGHTS, CONNECTION, Parameters, SiteRecord, ToyModel
from mhcdiag.toy.settings import ToySettings
from mhcdiag.toy.text import load_text

_WHOLE = "all tensors of a toy model: the mixers alone cannot be run"


def is_toy(checkpoint: NamedTensors) -> bool:
    """Whether `mhcdiag toy` wrote this checkpoint."""
    return TOY_METADATA in checkpoint.metadata or (checkpoint.config or {}).get("model_type") == TOY_TYPE


def run_toy(
    checkpoint: NamedTensors, text: str | None, *, tokens: int, device: str = "cpu", dtype: str | None = None
) -> TextRun:
    """Run a toy model on a text, in sequences as long as its context.

    Parameters
    ----------
    text
        A file; None takes the text that ships with this package. Characters that the model never saw are one token.
    tokens
        Most tokens.
    device, dtype
        Where to compute, and in which element type; None is float32, as it was trained.

    Raises
    ------
    InputError
        The text is shorter than a sequence, or the checkpoint holds not all tensors of the model.
    """
    assumed: list[str] = []
    settings = _settings(checkpoint, assumed)
    vocabulary = _vocabulary(checkpoint, settings, assumed)
    number_of = {char: at for at, char in enumerate(vocabulary)}
    ids = torch.tensor([number_of.get(char, len(vocabulary)) for char in read_text(text)])
    batch = _sequences(ids, tokens=tokens, length=settings.context, text=text)
    wide = torch.float64 if dtype == "float64" else torch.float32
    parameters = {name: value.to(device, wide) for name, value in _parameters(checkpoint, settings).items()}
    record: list[SiteRecord] = []
    try:
        with torch.no_grad():
            ToyModel(settings, parameters).logits(batch.to(device), record=record)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).partition("\n")[0]
        raise SettingError(f"--device {device}: {reason}") from error
    maps = [site.maps.res.cpu() for site in record if site.maps is not None and site.maps.res is not None]
    if len(maps) != len(record):
        raise LayoutError(
            checkpoint.path, found=f"topology {settings.topology}, which mixes no streams", expected="one that does"
        )
    return TextRun(
        sites=tuple(f"{at // 2}.{('attn', 'ffn')[at % 2]}" for at in range(len(maps))),
        maps=torch.stack(maps).permute(0, 2, 3, 1),
        first_tokens=tuple(range(0, batch.numel(), batch.shape[1])),
        assumed=tuple(assumed),
        skipped=skipped_tokens(batch),
    )


def _sequences(ids: Tensor, *, tokens: int, length: int, text: str | None) -> Int[Tensor, "sequence position"]:
    length = min(length, tokens)
    count = min(len(ids), tokens) // length
    if not count:
        raise InputError(text or "the text", found=f"{len(ids)} characters", expected=f"{length} or more, one sequence")
    return ids[: count * length].view(count, length)


def _config(checkpoint: NamedTensors) -> Mapping[str, Any]:
    """The file's own metadata over a config.json, which may be of another checkpoint."""
    try:
        found = json.loads(checkpoint.metadata.get(TOY_METADATA, "null")) or checkpoint.config or {}
    except ValueError as error:
        raise LayoutError(checkpoint.path, found=f"metadata key '{TOY_METADATA}' is not JSON") from error
    if not isinstance(found, Mapping):
        raise LayoutError(checkpoint.path, found=f"metadata key '{TOY_METADATA}' is no JSON object")
    return found


def _settings(checkpoint: NamedTensors, assumed: list[str]) -> ToySettings:
    """What the run depends on: as the checkpoint says, else as the folder of the run does."""
    config = _config(checkpoint)
    own = _own_settings(checkpoint) or _settings_of_folder(Path(checkpoint.path).parent, config)
    base = own or ToySettings()
    if own is None:
        assumed.append(f"heads: {base.heads}, the default of mhcdiag toy, since the checkpoint does not say")
    try:
        return replace(
            base,
            topology=str(config.get("topology", base.topology)),
            depth=int(config.get("num_hidden_layers", base.depth)),
            width=int(config.get("hidden_size", base.width)),
            streams=int(config.get("streams", base.streams)),
            sinkhorn_iters=int(config.get("sinkhorn_iters", base.sinkhorn_iters)),
            context=_shape(checkpoint, "position")[0],
        )
    except (TypeError, ValueError, SettingError) as error:
        raise LayoutError(checkpoint.path, found=f"settings that make no toy model: {error}") from error


def _own_settings(checkpoint: NamedTensors) -> ToySettings | None:
    text = checkpoint.metadata.get(runfolder.SETTINGS_KEY)
    if text is None:
        return None
    try:
        return ToySettings.from_json(json.loads(text))
    except (TypeError, ValueError, SettingError) as error:
        key = runfolder.SETTINGS_KEY
        raise LayoutError(checkpoint.path, found=f"metadata key '{key}' that makes no toy model: {error}") from error


def _settings_of_folder(folder: Path, config: Mapping[str, Any]) -> ToySettings | None:
    """Of the run in this folder, if it is of the same topology."""
    try:
        found = runfolder.stored_settings(folder)
    except (MhcdiagError, OSError):
        return None
    return found if found.topology == config.get("topology", found.topology) else None


def _vocabulary(checkpoint: NamedTensors, settings: ToySettings, assumed: list[str]) -> str:
    """The characters by number: as stored, else of the text that the run was trained on."""
    size = _shape(checkpoint, "embedding")[0]
    stored = checkpoint.metadata.get(runfolder.VOCABULARY_KEY)
    if stored is not None:
        found = stored
    else:
        found = load_text(settings.text, context=settings.context).vocabulary
        source = settings.text or "the standard library of this Python"
        assumed.append(f"vocabulary: that of {source}, since the checkpoint does not hold its own")
    if len(found) + 1 != size:
        raise InputError(
            checkpoint.path,
            found=f"an embedding of {size} characters, a vocabulary of {len(found) + 1}",
            expected="the text that it was trained on, as its settings.json names it",
        )
    return found


def _shape(checkpoint: NamedTensors, name: str) -> tuple[int, ...]:
    if name not in checkpoint.tensors or not checkpoint.tensors[name].shape:
        raise LayoutError(checkpoint.path, found=f"no tensor {name}", expected=_WHOLE)
    return checkpoint.tensors[name].shape


def _parameters(checkpoint: NamedTensors, settings: ToySettings) -> Parameters:
    """Stacked as `ToyModel` has them: the inverse of `runfolder.named_tensors`."""

    def read(name: str) -> Tensor:
        if name not in checkpoint.tensors:
            raise LayoutError(checkpoint.path, found=f"no tensor {name}", expected=_WHOLE)
        return checkpoint.read(name).float()

    found = {name: read(name) for name in ("embedding", "position", "head")}
    for name in BLOCK_WEIGHTS:
        found[name] = torch.stack([read(f"blocks.{block}.{name}") for block in range(settings.depth)])
    first = "blocks.0.attn."
    roles = [name.removeprefix(first) for name in checkpoint.tensors if name.startswith(first + CONNECTION)]
    sites = [f"blocks.{site // 2}.{('attn', 'ffn')[site % 2]}" for site in range(2 * settings.depth)]
    return found | {role: torch.stack([read(f"{site}.{role}") for site in sites]) for role in roles}

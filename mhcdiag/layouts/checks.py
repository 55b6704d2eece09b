"""Checks that every layout makes: on the tensors it reads, on what config.json says, on what the user says."""

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

from torch import Tensor

from mhcdiag.errors import LayoutError, SettingError
from mhcdiag.layouts.interface import Overrides, Site
from mhcdiag.namedtensors import NamedTensors
from mhcdiag.results.gain import NonFinite

TOY_METADATA, TOY_TYPE = "mhcdiag_toy", "mhcdiag-toy"
"""Key of the metadata, and `model_type`, by which our toy models say what they are."""


def is_toy(checkpoint: NamedTensors) -> bool:
    """Whether this is one of our toy models, whose tensors have the paper's names, as other layouts' have."""
    return TOY_METADATA in checkpoint.metadata or section(checkpoint).get("model_type") == TOY_TYPE


def require_shape(checkpoint: NamedTensors, name: str, expected: tuple[int, ...], *, meaning: str) -> None:
    """Refuse a tensor of another shape.

    Parameters
    ----------
    expected
        The shape; -1 stands for any size.
    meaning
        How the shape comes about, e.g. "n * (n + 2) rows for n = 4 streams".
    """
    found = checkpoint.tensors[name].shape
    fits = len(found) == len(expected) and all(e in (-1, f) for f, e in zip(found, expected, strict=True))
    if not fits:
        shown = tuple("any" if size == -1 else size for size in expected)
        raise LayoutError(
            checkpoint.path,
            found=f"tensor {name} has shape {list(found)}",
            expected=f"[{', '.join(map(str, shown))}] ({meaning})",
            hint="this is another layout or a damaged checkpoint",
        )


def require_layers(checkpoint: NamedTensors, found: Sequence[int], *, count: int | None, what: str) -> None:
    """Refuse a gap in the layers 0..count-1 (up to the last one found where the checkpoint does not say how many)."""
    last = max(found, default=-1) + 1 if count is None else count
    present = set(found)
    # A few are named: the number of layers comes from the file, and could be any.
    missing = list(islice((layer for layer in range(last) if layer not in present), 9))
    if missing:
        names = ", ".join(map(str, missing[:8])) + (", ..." if len(missing) > 8 else "")
        raise LayoutError(
            checkpoint.path,
            found=f"layer {names} has no {what}" if len(missing) == 1 else f"layers {names} have no {what}",
            expected=f"every layer from 0 to {last - 1}",
            hint="is a shard missing?",
        )


def read_float(checkpoint: NamedTensors, name: str) -> Tensor:
    """One tensor as float32; float64 stays as it is."""
    import torch

    tensor = checkpoint.read(name)
    if not tensor.is_floating_point():
        raise LayoutError(
            checkpoint.path,
            found=f"tensor {name} has element type {checkpoint.tensors[name].dtype}",
            expected="a floating-point mixing parameter",
            hint="quantised mixing parameters cannot be read",
        )
    return tensor if tensor.dtype == torch.float64 else tensor.float()


def describe_nonfinite(site: Site, values: Mapping[str, Tensor]) -> NonFinite | None:
    """The record of a site whose parameters (by full tensor name) hold NaN or infinity; None where they do not."""
    broken = {name: int((~tensor.isfinite()).sum()) for name, tensor in values.items()}
    broken = {name: count for name, count in broken.items() if count}
    if not broken:
        return None
    counts = ", ".join(f"{count} of {values[name].numel()} values of {name}" for name, count in broken.items())
    return NonFinite(site=site.name, tensors=tuple(broken), found=f"{counts} are NaN or infinite")


def refuse_overrides(overrides: Overrides, layout: str, *names: str) -> None:
    """Refuse overrides that mean nothing for a layout."""
    for name in names:
        if getattr(overrides, name) is not None:
            option = "--" + name.replace("_", "-")
            raise SettingError(f"{option} means nothing for layout {layout}: it has no such setting")


def section(checkpoint: NamedTensors, *nested: str) -> Mapping[str, Any]:
    """The configuration, or its first nested section of one of these names; empty where there is none.

    GLM-5.3-Flash and DeepSeek-V4.1 keep the language model's keys under `text_config`.
    """
    config = checkpoint.config or {}
    for name in nested:
        if isinstance(config.get(name), Mapping):
            return dict(config[name])
    return config


def model_type(checkpoint: NamedTensors) -> str:
    """`model_type` of the configuration; "" where there is none."""
    return str((checkpoint.config or {}).get("model_type", ""))


def integer(checkpoint: NamedTensors, config: Mapping[str, Any], *keys: str, at_least: int = 1) -> int | None:
    """The first of the keys that is set, as a whole number; None where none is."""
    for key in keys:
        value = config.get(key)
        if value is None:
            continue
        # JSON's true is a whole number to Python.
        if isinstance(value, bool) or not isinstance(value, int) or value < at_least:
            raise _wrong(checkpoint, key, value, f"a whole number of at least {at_least}")
        return value
    return None


def positive(checkpoint: NamedTensors, config: Mapping[str, Any], *keys: str) -> float | None:
    """The first of the keys that is set, as a number not below 0; None where none is."""
    for key in keys:
        value = config.get(key)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
            raise _wrong(checkpoint, key, value, "a finite number of at least 0")
        return float(value)
    return None


def _wrong(checkpoint: NamedTensors, key: str, value: object, expected: str) -> LayoutError:
    return LayoutError(
        checkpoint.path, found=f"config.json says {key} = {value!r}", expected=expected, hint="correct it"
    )


def iterations(
    checkpoint: NamedTensors, overrides: Overrides, assumed: list[str], *keys: str, default: int = 20
) -> int:
    """Sinkhorn iterations; the default is said in `assumed`."""
    config = section(checkpoint, "text_config")
    found = overrides.sinkhorn_iters or integer(checkpoint, config, *keys)
    if found is None:
        found = default
        assumed.append(f"Sinkhorn iterations: {found} ({_not_said(keys)}; --sinkhorn-iters)")
    return found


def sinkhorn_eps(
    checkpoint: NamedTensors, overrides: Overrides, assumed: list[str], *keys: str, default: float
) -> float:
    """Sinkhorn eps; where the implementation has a key for it, its default is said in `assumed`."""
    config = section(checkpoint, "text_config")
    found = overrides.sinkhorn_eps
    found = positive(checkpoint, config, *keys) if found is None else found
    if found is None:
        found = default
        if keys:
            assumed.append(f"Sinkhorn eps: {found:g} ({_not_said(keys)}; --sinkhorn-eps)")
    return found


def _not_said(keys: tuple[str, ...]) -> str:
    return "not in config.json" if keys else "not stored"

"""What a checkpoint holds and what was recognised in it, without measuring anything."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

from mhcdiag.errors import LayoutError
from mhcdiag.layouts import LAYOUTS, Layout, find_mixers, recognise
from mhcdiag.layouts.interface import MixerNames, Recognition
from mhcdiag.namedtensors import NamedTensors
from mhcdiag.results.inspection import Catalogue, InspectedTensor, Inspection, KnownContainer, KnownLayout, Trial
from mhcdiag.tensorfiles import CONTAINERS, locate


def catalogue() -> Catalogue:
    """All layouts and containers that can be read."""
    return Catalogue(
        layouts=tuple(
            KnownLayout(
                name=each.name, tensors=each.tensors, mixing=each.mixing, source=each.source, evidence=each.evidence
            )
            for each in LAYOUTS
        ),
        containers=tuple(KnownContainer(title=each.title, looks=each.looks) for each in CONTAINERS),
    )


def inspect(
    path: str | os.PathLike[str], *, key: str | None = None, layout: str | None = None, assume: str | None = None
) -> Inspection:
    """Look at a checkpoint: container, tensors, what was recognised, what was not, and why.

    Parameters
    ----------
    path
        A checkpoint, as for `gain`.
    key
        Which state dict of a pickle that holds several.
    layout
        The only layout to try; None tries all.
    assume
        `plain`, as for `gain`.

    Raises
    ------
    mhcdiag.MhcdiagError
        The files cannot be read. A checkpoint that no layout fits is a result, not an error.
    """
    located = locate(path)
    checkpoint = located.open(key=key)
    try:
        found, recognition = recognise(checkpoint, layout=layout, assume=assume)
        name, mixing, reason = found.name, found.mixing, ""
    except LayoutError as error:
        name, mixing, recognition = "", "", Recognition(model="", sites=())
        reason = str(error).removeprefix(f"{error.path}: ")
    mixers = find_mixers(checkpoint)
    infos = checkpoint.tensors.values()
    return Inspection(
        path=os.fspath(path),
        container=located.container.title,
        bytes_total=checkpoint.bytes_total,
        bytes_read=checkpoint.bytes_read,
        tensors=len(checkpoint.tensors),
        parameters=sum(prod(info.shape) for info in infos),
        dtypes=dict(Counter(info.dtype for info in infos).most_common()),
        config_keys=tuple(_shown_keys(checkpoint.config or {}, mixers)),
        has_config=checkpoint.config is not None,
        layout=name,
        mixing=mixing,
        model=recognition.model,
        sites=tuple(site.name for site in recognition.sites),
        assumed=recognition.assumed,
        mixers=tuple(_mixers(checkpoint, recognition, mixers)),
        trials=tuple(_trials(checkpoint, mixers, [each for each in LAYOUTS if layout in (None, each.name)])),
        reason=reason,
    )


def _shown_keys(config: Mapping[str, Any], mixers: MixerNames) -> list[str]:
    keys = [*(["model_type"] if "model_type" in config else []), *mixers.config_keys]
    found = []
    for key in keys:
        value: Any = config
        for part in [key] if key in config else key.split("."):
            value = value[part] if isinstance(value, Mapping) and part in value else None
        found.append(f"{key} = {value!r:.60}")
    return found


def _mixers(checkpoint: NamedTensors, recognition: Recognition, mixers: MixerNames) -> list[InspectedTensor]:
    uses: dict[str, str] = {}
    for site in recognition.sites:
        for role, tensor in site.tensors.items():
            first = uses.get(tensor, site.name).split()[0]  # one tensor may hold what all sites need
            uses[tensor] = f"{site.name} {role}" if first == site.name else f"{first} to {site.name} {role}"
    excluded = dict.fromkeys(recognition.excluded, "excluded")
    names = dict.fromkeys([*uses, *excluded, *mixers.tensors])
    return [
        InspectedTensor(
            name=name,
            dtype=checkpoint.tensors[name].dtype,
            shape=checkpoint.tensors[name].shape,
            use=uses.get(name) or excluded.get(name) or "not used",
        )
        for name in names
    ]


def _trials(checkpoint: NamedTensors, mixers: MixerNames, layouts: Sequence[Layout]) -> list[Trial]:
    trials = []
    for each in layouts:
        try:
            if each.recognise(checkpoint, mixers) is not None:
                trials.append(Trial(layout=each.name, reason=""))
        except LayoutError as error:
            trials.append(Trial(layout=each.name, reason=str(error).removeprefix(f"{error.path}: ")))
    return trials

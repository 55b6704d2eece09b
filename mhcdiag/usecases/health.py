"""What is wrong with the mixers of a checkpoint: `mhcdiag.health`."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch

from mhcdiag.errors import SettingError
from mhcdiag.health_checks import examine
from mhcdiag.health_checks.interface import Subject
from mhcdiag.layouts import recognise
from mhcdiag.layouts.families.plain import Plain
from mhcdiag.layouts.interface import Reading, Recognition, Settings
from mhcdiag.mappings.constraints import LogSinkhorn
from mhcdiag.mappings.interface import CHUNK_TOKENS, MapSource, Orientation, Stack
from mhcdiag.namedtensors import NamedTensors
from mhcdiag.results.health import HealthResult
from mhcdiag.tensorfiles import open_checkpoint
from mhcdiag.usecases.options import refuse_unusable
from mhcdiag.weight_readers.alternatives import predictions
from mhcdiag.weight_readers.observed import SiteActivations, read_activations, read_branch_scales, read_residual_scales
from mhcdiag.weight_readers.plain_weights import plain_weights
from mhcdiag.weight_readers.site_gates import read_gates

TOKENS = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class _Read:
    """A checkpoint with its mappings in memory."""

    subject: Subject
    layout: str
    recognition: Recognition
    reading: Reading
    inputs: str


def health(
    path: str | os.PathLike[str],
    *,
    against: str | os.PathLike[str] | None = None,
    captured: str | os.PathLike[str] | None = None,
    inputs: str | None = None,
    tokens: int = TOKENS,
    seed: int = 0,
    key: str | None = None,
    layout: str | None = None,
    orientation: str | None = None,
    sinkhorn_iters: int | None = None,
    only: Sequence[str] = (),
    thresholds: Mapping[str, float] | None = None,
) -> HealthResult:
    """Examine the mixers of a checkpoint like a doctor: each check with formula, source, threshold and evidence.

    Parameters
    ----------
    path
        A checkpoint, or a file of captured mappings.
    against
        An earlier checkpoint of the same model, to see what moved.
    captured
        Captured mappings with `x_in`, `x_out`, ... of a running implementation of this checkpoint.
    inputs, tokens, seed, key, layout, orientation, sinkhorn_iters
        As for `mhcdiag.gain`; at most 4096 tokens.
    only
        Names of the checks to make; none makes all.
    thresholds
        "check.threshold" to value, over the defaults.

    Raises
    ------
    mhcdiag.MhcdiagError
        An input cannot be read, or the options contradict it.
    """
    refuse_unusable(orientation=orientation, sinkhorn_iters=sinkhorn_iters, seed=seed)
    settings = Settings(
        orientation=None if orientation is None else Orientation(orientation), sinkhorn_iters=sinkhorn_iters
    )
    if not 1 <= tokens <= CHUNK_TOKENS:
        raise SettingError(f"{tokens} tokens: expected 1 to {CHUNK_TOKENS}")
    earlier = None
    if against is not None:
        earlier = _read(open_checkpoint(against, key=key), layout, settings, inputs, tokens, seed)
    activations = () if captured is None else _captured(open_checkpoint(captured))
    checkpoint = open_checkpoint(path, key=key)
    read = _read(checkpoint, layout, settings, inputs, tokens, seed, activations=activations, earlier=earlier)
    return HealthResult(
        path=os.fspath(path),
        layout=read.layout,
        model=read.recognition.model,
        streams=read.subject.maps.shape[1],
        sites=read.subject.sites,
        inputs=read.inputs,
        tokens=read.subject.maps.shape[-1],
        against="" if against is None else os.fspath(against),
        checks=examine(read.subject, only=only, thresholds=thresholds),
        assumed=(*read.recognition.assumed, *read.reading.assumed),
        notes=read.reading.notes,
    )


def _captured(checkpoint: NamedTensors) -> tuple[SiteActivations, ...]:
    _, recognition = recognise(checkpoint, layout="captured")
    found = read_activations(checkpoint, recognition)
    if not found:
        raise SettingError(f"{checkpoint.path}: no x_in beside the captured mappings; there is nothing to compare")
    return found


def _read(
    checkpoint: NamedTensors,
    layout: str | None,
    settings: Settings,
    inputs: str | None,
    tokens: int,
    seed: int,
    *,
    activations: tuple[SiteActivations, ...] = (),
    earlier: _Read | None = None,
) -> _Read:
    found, recognition = recognise(checkpoint, layout=layout)
    reading = found.read(checkpoint, recognition, settings, dynamic=inputs != "static")
    chosen, source = _source(reading, inputs, tokens, seed)
    stack = source.stack if isinstance(source, MapSource) else source
    maps = _maps(source, tokens)
    parameters = reading.parameters
    if parameters is None and reading.captured is not None:
        activations = activations or read_activations(checkpoint, recognition)
    if activations and len(activations) != len(stack.sites):
        raise SettingError(f"{len(activations)} captured sites for {len(stack.sites)} of {checkpoint.path}")
    if earlier is not None and earlier.subject.sites != stack.sites:
        raise SettingError(f"{checkpoint.path} and the earlier checkpoint have different sites")
    constraint = None if parameters is None else parameters.recipe.constraint
    subject = Subject(
        sites=stack.sites,
        maps=maps,
        parameters=parameters,
        temperature=constraint.temperature if isinstance(constraint, LogSinkhorn) else 1.0,
        gates=None
        if parameters is None
        else read_gates(checkpoint, recognition, stack.streams, unconstrained=constraint is None),
        activations=activations,
        exact=frozenset() if parameters is None else parameters.recipe.exact_directions(),
        earlier=None if earlier is None else earlier.subject,
        branch_scales=read_branch_scales(checkpoint),
        residual_scales=read_residual_scales(checkpoint),
        predict=None
        if parameters is None or not activations
        else partial(predictions, found, checkpoint, recognition, settings, activations),
        plain=plain_weights(checkpoint, stack.sites) if isinstance(found, Plain) else None,
    )
    return _Read(subject=subject, layout=found.name, recognition=recognition, reading=reading, inputs=chosen)


def _source(reading: Reading, inputs: str | None, tokens: int, seed: int) -> tuple[str, MapSource | Stack]:
    if reading.captured is not None:
        return "captured", reading.captured
    if reading.parameters is None:
        assert reading.identity_stack is not None
        return "static", reading.identity_stack
    if inputs == "static" or not reading.parameters.input_dependent:
        return "static", reading.parameters.static()
    if inputs not in (None, "random"):
        raise SettingError(f"inputs '{inputs}' do not exist here; possible: random, static")
    return "random", reading.parameters.random(tokens=tokens, seed=seed)


def _maps(source: MapSource | Stack, tokens: int) -> torch.Tensor:
    if isinstance(source, Stack):
        eye = torch.eye(source.streams, dtype=torch.float64)
        return eye.expand(len(source.sites), -1, -1).unsqueeze(-1).contiguous()
    return source.chunk(0, min(source.tokens, tokens)).double()

"""What is wrong with the mixers of a checkpoint: `mhcdiag.health`."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from mhcdiag.errors import SettingError
from mhcdiag.health_checks import examine
from mhcdiag.health_checks.interface import Subject
from mhcdiag.layouts import recognise
from mhcdiag.layouts.interface import Layout, Overrides, Recognition
from mhcdiag.layouts.readings import (
    CapturedReading,
    DiagonalReading,
    ParametricReading,
    Reading,
    UncomposedReading,
    UnmixedReading,
)
from mhcdiag.layouts.stored_parts import read_gates
from mhcdiag.mappings.constraints import LogSinkhorn
from mhcdiag.mappings.interface import CHUNK_TOKENS, Orientation
from mhcdiag.namedtensors import NamedTensors
from mhcdiag.results.gain import GainResult
from mhcdiag.results.health import HealthResult
from mhcdiag.tensorfiles import open_checkpoint
from mhcdiag.usecases.gain import gain as measure_gain
from mhcdiag.usecases.options import refuse_unusable
from mhcdiag.weight_readers.alternatives import predictions
from mhcdiag.weight_readers.gate_spreads import read_gate_spreads
from mhcdiag.weight_readers.observed import read_activations, read_branch_scales
from mhcdiag.weight_readers.plain_weights import plain_weights
from mhcdiag.weight_readers.records import SiteActivations
from mhcdiag.weight_readers.rounding import redrawn_maps, stored_coarsely

TOKENS = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class _Read:
    """A checkpoint with its mappings in memory."""

    subject: Subject
    layout: str
    recognition: Recognition
    reading: Reading
    inputs: str


@dataclass(frozen=True, kw_only=True, slots=True)
class HealthOptions:
    """How a checkpoint is examined; `health` says what each means."""

    against: str | os.PathLike[str] | None = None
    captured: str | os.PathLike[str] | None = None
    inputs: str | None = None
    tokens: int = TOKENS
    seed: int = 0
    key: str | None = None
    layout: str | None = None
    assume: str | None = None
    orientation: str | None = None
    sinkhorn_iters: int | None = None
    only: Sequence[str] = ()
    thresholds: Mapping[str, float] | None = None

    def __post_init__(self) -> None:
        refuse_unusable(
            assume=self.assume, orientation=self.orientation, sinkhorn_iters=self.sinkhorn_iters, seed=self.seed
        )
        if not 1 <= self.tokens <= CHUNK_TOKENS:
            raise SettingError(f"{self.tokens} tokens: expected 1 to {CHUNK_TOKENS}")

    @property
    def overrides(self) -> Overrides:
        """What to believe over the checkpoint."""
        orientation = None if self.orientation is None else Orientation(self.orientation)
        return Overrides(orientation=orientation, sinkhorn_iters=self.sinkhorn_iters)


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
    assume: str | None = None,
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
    inputs, tokens, seed, key, layout, assume, orientation, sinkhorn_iters
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
    options = HealthOptions(
        against=against,
        captured=captured,
        inputs=inputs,
        tokens=tokens,
        seed=seed,
        key=key,
        layout=layout,
        assume=assume,
        orientation=orientation,
        sinkhorn_iters=sinkhorn_iters,
        only=only,
        thresholds=thresholds,
    )
    return examined(path, options)


def examined(
    path: str | os.PathLike[str], options: HealthOptions, *, measured: GainResult | None = None
) -> HealthResult:
    """Examine a checkpoint; see `health`.

    Parameters
    ----------
    measured
        What was measured of its gain already; None measures it where the check of the gain asks for it.
    """
    earlier = None
    if options.against is not None:
        earlier = _read(open_checkpoint(options.against, key=options.key), options)
    activations = () if options.captured is None else _captured(open_checkpoint(options.captured))
    checkpoint = open_checkpoint(path, key=options.key)
    read = _read(checkpoint, options, activations=activations, earlier=earlier)
    measure = partial(_gain, path, options, None if options.inputs is None else read.inputs)
    subject = replace(read.subject, gain=measure if measured is None else lambda: measured)
    return HealthResult(
        path=os.fspath(path),
        layout=read.layout,
        model=read.recognition.model,
        streams=read.subject.maps.shape[1],
        sites=read.subject.sites,
        inputs=read.inputs,
        tokens=read.subject.maps.shape[-1],
        against="" if options.against is None else os.fspath(options.against),
        checks=examine(subject, only=options.only, thresholds=options.thresholds),
        assumed=(*read.recognition.assumed, *read.reading.assumed),
        notes=read.reading.notes,
    )


def _gain(path: str | os.PathLike[str], options: HealthOptions, inputs: str | None) -> GainResult:
    """What `mhcdiag gain` measures, on the inputs that were chosen for the other checks, or else on its own default."""
    return measure_gain(
        path,
        inputs=inputs,
        seed=options.seed,
        key=options.key,
        layout=options.layout,
        assume=options.assume,
        orientation=options.orientation,
        sinkhorn_iters=options.sinkhorn_iters,
    )


def _captured(checkpoint: NamedTensors) -> tuple[SiteActivations, ...]:
    _, recognition = recognise(checkpoint, layout="captured")
    found = read_activations(checkpoint, recognition)
    if not found:
        raise SettingError(f"{checkpoint.path}: no x_in beside the captured mappings; there is nothing to compare")
    return found


def _read(
    checkpoint: NamedTensors,
    options: HealthOptions,
    *,
    activations: tuple[SiteActivations, ...] = (),
    earlier: _Read | None = None,
) -> _Read:
    found, recognition = recognise(checkpoint, layout=options.layout, assume=options.assume)
    reading = found.read(checkpoint, recognition, options.overrides, dynamic=options.inputs != "static")
    chosen = _choose_inputs(reading, options.inputs)
    # Without a composite there are weights to examine still; the checks of mappings have nothing to say of one stream.
    mapped = UnmixedReading(stack=reading.stack) if isinstance(reading, UncomposedReading) else reading
    source = mapped.maps(chosen, tokens=options.tokens, seed=options.seed)
    sites = source.stack.sites
    if isinstance(reading, CapturedReading):
        activations = activations or read_activations(checkpoint, recognition)
    if activations and len(activations) != len(sites):
        raise SettingError(f"{len(activations)} captured sites for {len(sites)} of {checkpoint.path}")
    if earlier is not None and earlier.subject.sites != sites:
        raise SettingError(f"{checkpoint.path} and the earlier checkpoint have different sites")
    subject = Subject(
        sites=sites,
        maps=source.chunk(0, min(source.tokens, options.tokens)).double(),
        parameters=None,
        temperature=1.0,
        gates=None,
        activations=activations,
        exact=reading.exact_directions(),
        earlier=None if earlier is None else earlier.subject,
        branch_scales=read_branch_scales(checkpoint),
        residual_factors=reading.factors if isinstance(reading, DiagonalReading) else None,
        no_composite=reading.why if isinstance(reading, UncomposedReading) else "",
        mixes=not isinstance(mapped, UnmixedReading),
    )
    if isinstance(reading, ParametricReading):
        subject = _with_parameters(subject, reading, found, checkpoint, recognition, options.overrides)
    elif reading.blocks:
        subject = replace(subject, plain=plain_weights(checkpoint, reading.blocks))
    return _Read(subject=subject, layout=found.name, recognition=recognition, reading=reading, inputs=chosen)


def _choose_inputs(reading: Reading, wanted: str | None) -> str:
    """As for `gain`; but where there are no inputs to choose from, what is wanted is passed over in silence."""
    chosen = reading.choose_inputs(wanted if len(reading.inputs) > 1 else None)
    if chosen is None:
        raise SettingError(f"inputs '{wanted}' do not exist here; possible: {', '.join(reading.inputs)}")
    return chosen


def _with_parameters(
    subject: Subject,
    reading: ParametricReading,
    layout: Layout,
    checkpoint: NamedTensors,
    recognition: Recognition,
    overrides: Overrides,
) -> Subject:
    """What parameters add: their own numbers, read and write weights, and what they predict for given streams."""
    constraint = reading.parameters.recipe.constraint
    coarse = stored_coarsely(checkpoint, layout, recognition)
    moved = reading.parameters.factors is not None and constraint is not None
    spreads = read_gate_spreads(checkpoint, layout, recognition, reading.stack.streams) if moved else None
    predict = partial(predictions, layout, checkpoint, recognition, overrides, subject.activations)
    return replace(
        subject,
        parameters=reading.parameters,
        temperature=constraint.temperature if isinstance(constraint, LogSinkhorn) else 1.0,
        gates=read_gates(
            checkpoint, recognition, layout.gates, reading.stack.streams, unconstrained=constraint is None
        ),
        gate_spreads=spreads,
        coarse=coarse,
        redrawn=partial(
            redrawn_maps, checkpoint, layout, recognition, overrides, dynamic=reading.parameters.factors is not None
        ),
        unread_spreads=moved and spreads is None,
        predict=predict if subject.activations else None,
    )

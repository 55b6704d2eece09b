"""How strongly the residual streams of a checkpoint amplify: `mhcdiag.gain`."""

import gc
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial

import torch

from mhcdiag.errors import SettingError
from mhcdiag.kernels.choice import MANY_MATRICES
from mhcdiag.layouts import Layout, recognise
from mhcdiag.layouts.interface import Overrides, Recognition
from mhcdiag.layouts.readings import DiagonalReading, ParametricReading, Reading, UnmixedReading
from mhcdiag.mappings.interface import CHUNK_TOKENS, MapSource, Orientation, Stack
from mhcdiag.measures.gain import Gains, factor_gains, identity_gains, measure_gains, with_reached
from mhcdiag.namedtensors import NamedTensors
from mhcdiag.ranks import Alone, Ranks
from mhcdiag.results.gain import Bound, Direction, GainResult, NonFinite
from mhcdiag.tensorfiles import open_checkpoint
from mhcdiag.usecases.options import GainOptions, refuse_unusable
from mhcdiag.weight_readers.first_site import read_first_site


@dataclass(frozen=True, kw_only=True, slots=True)
class _Read:
    """What was read, and the mappings that are to be measured."""

    reading: Reading
    inputs: str
    maps: MapSource


@dataclass(frozen=True, kw_only=True, slots=True)
class _Measured:
    """Gains and how they were computed."""

    stack: Stack
    gains: Gains
    bound: dict[Direction, Bound]
    device: str
    dtype: str


def gain(
    path: str | os.PathLike[str],
    *,
    inputs: str | None = None,
    text: str | os.PathLike[str] | None = None,
    tokens: int = 1024,
    seed: int = 0,
    sites: tuple[int, int] | None = None,
    key: str | None = None,
    layout: str | None = None,
    assume: str | None = None,
    orientation: str | None = None,
    sinkhorn_iters: int | None = None,
    sinkhorn_eps: float | None = None,
    tanh: bool | None = None,
    device: str = "auto",
    dtype: str | None = None,
    ranks: Ranks | None = None,
) -> GainResult:
    """Measure the per-site and composite gain of a checkpoint, forward and backward (arXiv 2512.24880, section 3.1).

    Parameters
    ----------
    path
        A checkpoint file, a directory of shards, or a file of captured mappings.
    inputs
        Where the input-dependent part of the mappings comes from: `static` (it is zero), `aligned` (one direction per
        token at all sites), `random`, `embedding` (the first attention site alone, exactly, per token id), `text` (the
        model runs on real tokens: a checkpoint of `mhcdiag toy`, or a directory of a model of transformers) or
        `captured`; None takes `captured` for captured mappings, where the mappings depend on their input `aligned` if
        nothing constrains them and `random` if something does, else `static`.
    text
        File that the model runs on with inputs `text`; None takes the text that ships with this package.
    tokens
        Number of drawn tokens, of token ids from 0, or most tokens of the text.
    seed
        Seed of the drawn inputs, not negative.
    sites
        First and last site to analyse, counted from 1; None takes all.
    key
        Which state dict of a pickle that holds several.
    layout, assume, orientation, sinkhorn_iters, sinkhorn_eps, tanh
        What to believe over what the checkpoint says or does not say; see `mhcdiag gain --help`.
    device
        Where products are computed: `auto`, `cpu`, `cuda` or `mps`; `auto` takes a GPU above a million mappings. With
        inputs `text` the model runs there, too: on the CPU for `auto`.
    dtype
        Element type of the products, `float64` or `float32`; None is float64 (float32 on MPS). With inputs `text` the
        model then runs in float32, else in the type of its weights.
    ranks
        The processes of `mhcdiag.ranks.joined_ranks` that share the tokens; all of them call this alike.

    Raises
    ------
    mhcdiag.MhcdiagError
        The input cannot be read or recognised, or the options contradict it.
    """
    refuse_unusable(
        assume=assume,
        orientation=orientation,
        sinkhorn_iters=sinkhorn_iters,
        sinkhorn_eps=sinkhorn_eps,
        dtype=dtype,
    )
    overrides = Overrides(
        orientation=None if orientation is None else Orientation(orientation),
        sinkhorn_iters=sinkhorn_iters,
        sinkhorn_eps=sinkhorn_eps,
        tanh=tanh,
    )
    if text is not None and inputs != "text":
        raise SettingError("a text is what a model runs on: it needs inputs 'text' (--inputs text)")
    checkpoint = open_checkpoint(path, key=key)
    found, recognition = recognise(checkpoint, layout=layout, assume=assume)
    sites_total = len(recognition.sites)
    if inputs == "text":
        from mhcdiag.usecases.real_tokens import TextOptions, read_run

        words = None if text is None else os.fspath(text)
        options = TextOptions(text=words, tokens=tokens, device=device, dtype=dtype, sites=sites)
        run = read_run(checkpoint, found, recognition, overrides, options)
        sites_total, recognition = run.sites_total, run.recognition
        read = _Read(reading=run.reading, inputs=inputs, maps=run.maps)
    else:
        recognition = recognition if sites is None else _only_sites(recognition, sites)
        read = _read(checkpoint, found, recognition, overrides, inputs=inputs, tokens=tokens, seed=seed)
    ranks = ranks or Alone()
    opening = checkpoint.bytes_read  # every rank has read these, and they count once
    measured = _measure(read, device=device, dtype=dtype, ranks=ranks)
    bytes_read = opening + ranks.share(sum(ranks.gather(checkpoint.bytes_read - opening)))
    record = _record(os.fspath(path), checkpoint, found, recognition, read, measured, bytes_read=bytes_read)
    return replace(record, sites_total=sites_total)


def measurement(options: GainOptions) -> Callable[..., GainResult]:
    """Return what measures a checkpoint in the way that the options say."""
    gc.freeze()  # torch brings 300,000 objects; looking through them again and again costs more than reading headers
    return partial(gain, **asdict(options))


def _record(
    path: str,
    checkpoint: NamedTensors,
    layout: Layout,
    recognition: Recognition,
    read: _Read,
    measured: _Measured,
    *,
    bytes_read: int,
) -> GainResult:
    """Join what was measured with where it came from."""
    reading = read.reading
    return GainResult(
        path=path,
        layout=reading.reported_as(layout.name),
        model=recognition.model,
        streams=measured.stack.streams,
        sites=measured.stack.sites,
        tensors=measured.stack.tensors,
        inputs=read.inputs,
        tokens=measured.gains.tokens,
        span_tokens=measured.gains.span_tokens,
        dtype=measured.dtype,
        device=measured.device,
        kernel=measured.gains.kernel,
        bytes_read=bytes_read,
        bytes_total=checkpoint.bytes_total,
        assumed=(*recognition.assumed, *reading.assumed),
        skipped=recognition.skipped,
        excluded=recognition.excluded,
        notes=(*reading.notes, *reading.notes_on(read.inputs), *_memory_notes(measured.gains)),
        nonfinite=_nonfinite(reading, measured),
        gain=measured.gains.curves,
        worst=measured.gains.worst,
        spans=measured.gains.spans,
        bound=measured.bound,
        sinkhorn=measured.gains.sinkhorn,
        mean_mappings=measured.gains.mean_mappings,
        mean_composite=measured.gains.mean_composite,
        composes=reading.composes,
        tied_to=reading.tied_to,
        bound_doubt=reading.bound_doubt(),
    )


def _only_sites(recognition: Recognition, sites: tuple[int, int]) -> Recognition:
    first, last = sites
    count = len(recognition.sites)
    if not 1 <= first <= last <= count:
        raise SettingError(f"sites {first}:{last} are not within 1:{count}, the sites of this checkpoint")
    return replace(recognition, sites=recognition.sites[first - 1 : last])


def _read(
    checkpoint: NamedTensors,
    layout: Layout,
    recognition: Recognition,
    overrides: Overrides,
    *,
    inputs: str | None,
    tokens: int,
    seed: int,
) -> _Read:
    if inputs == "embedding":
        first = read_first_site(checkpoint, layout, recognition, overrides, tokens=tokens)
        return _Read(reading=first.reading, inputs=inputs, maps=first.maps)
    with _threads(1):
        reading = layout.read(checkpoint, recognition, overrides, dynamic=inputs != "static")
        chosen = reading.choose_inputs(inputs)
        if chosen is None:
            possible = ", ".join(reading.inputs)
            raise SettingError(f"inputs '{inputs}' do not exist for layout {layout.name}; possible: {possible}")
        return _Read(reading=reading, inputs=chosen, maps=reading.maps(chosen, tokens=tokens, seed=seed))


def _measure(read: _Read, *, device: str, dtype: str | None, ranks: Ranks) -> _Measured:
    reading, source = read.reading, read.maps
    if isinstance(reading, UnmixedReading):  # known without products, on any device
        gains = identity_gains(reading.stack)
        return _Measured(stack=reading.stack, gains=gains, bound=reading.bounds(), device="cpu", dtype="float64")
    if isinstance(reading, DiagonalReading):
        gains = factor_gains(reading.stack, reading.factors)
        return _Measured(stack=reading.stack, gains=gains, bound=reading.bounds(), device="cpu", dtype="float64")
    matrices = len(source.stack.sites) * source.tokens
    run_on = _device(device, matrices=matrices)
    products = dtype or ("float32" if run_on == "mps" else "float64")  # MPS knows no float64
    exact = reading.exact_directions()
    with _threads(1 if matrices <= MANY_MATRICES else torch.get_num_threads()):
        gains = measure_gains(
            source,
            exact_side=next(iter(exact)) if len(exact) == 1 else None,
            first_tokens=reading.first_tokens,
            dtype=torch.float32 if products == "float32" else torch.float64,
            device=run_on,
            ranks=ranks,
        )
        bound = reading.bounds()
        if isinstance(reading, ParametricReading) and (worst_inputs := reading.worst_inputs()) is not None:
            bound = with_reached(bound, worst_inputs, gains)
    return _Measured(stack=source.stack, gains=gains, bound=bound, device=run_on, dtype=products)


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Compute with so many threads.

    One for small stacks and for reading: a second gains nothing there, and on a busy machine it costs threefold, or a
    hundredfold for the small factorisations of reading.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _device(wanted: str, *, matrices: int) -> str:
    if wanted == "auto":
        return "cuda" if matrices > MANY_MATRICES and torch.cuda.is_available() else "cpu"
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not there.get(wanted, False):
        raise SettingError(
            f"device '{wanted}' is not there; available: {', '.join(d for d, yes in there.items() if yes)}"
        )
    return wanted


def _memory_notes(gains: Gains) -> tuple[str, ...]:
    if gains.piece >= CHUNK_TOKENS:
        return ()
    return (f"memory ran out: chunks of {CHUNK_TOKENS} tokens were halved until {gains.piece} fitted",)


def _nonfinite(reading: Reading, measured: _Measured) -> tuple[NonFinite, ...]:
    """Sites whose parameters or mappings hold NaN or infinity; parameters are the better culprit to name."""
    named = {broken.site: broken for broken in reading.nonfinite}
    stack, gains = measured.stack, measured.gains
    for site, tensor, count in zip(stack.sites, stack.tensors, gains.nonfinite_tokens, strict=True):
        if count and site not in named:
            found = f"the mapping of {count} of {gains.tokens} tokens holds NaN or infinity"
            named[site] = NonFinite(site=site, tensors=(tensor,), found=found)
    return tuple(named[site] for site in stack.sites if site in named)

"""The training loop of one toy run."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mhcdiag.errors import InputError, SettingError
from mhcdiag.kernels.composite.reference import gains, prefixes
from mhcdiag.results.cost import StepTime
from mhcdiag.results.gain import Definition, Direction
from mhcdiag.results.toy import StepRow, ToyRun
from mhcdiag.toy import runfolder
from mhcdiag.toy.model import CONNECTION, Parameters, SiteRecord, ToyModel, initial_parameters
from mhcdiag.toy.settings import ToySettings
from mhcdiag.toy.text import Corpus, load_text
from mhcdiag.toy.topologies import TOPOLOGIES


@dataclass(frozen=True, kw_only=True, slots=True)
class Probe:
    """Numbers of one forward pass on the held-out batch."""

    gain_forward: float
    """Of the whole model: amax, token mean."""
    gain_backward: float
    """The same over columns."""
    stream_rms: float
    """Root mean square behind the last site."""
    stream_max: float
    """Largest absolute value behind any site."""


@torch.no_grad()
def forward_pass(model: ToyModel, tokens: Int[Tensor, "batch position"]) -> list[SiteRecord]:
    """What passed each site, in depth order."""
    record: list[SiteRecord] = []
    model.logits(tokens, record=record)
    return record


def stacked_maps(record: list[SiteRecord]) -> Float[Tensor, "site stream stream token"] | None:
    """H_res of all sites, tokens last; None where nothing is mixed."""
    found = [site.maps.res for site in record if site.maps is not None and site.maps.res is not None]
    return torch.stack(found).permute(0, 2, 3, 1) if found else None


def measure(model: ToyModel, tokens: Int[Tensor, "batch position"]) -> Probe:
    """Gains and sizes on the held-out batch; gains are 1 by construction where nothing is mixed."""
    record = forward_pass(model, tokens)
    maps = stacked_maps(record)
    forward = backward = 1.0
    if maps is not None:
        whole = gains(prefixes(maps.double().contiguous())[-1:])
        means = {key: float((gain.sum_tokens() / maps.shape[-1]).numbers()[0]) for key, gain in whole.items()}
        forward = means[Direction.FORWARD, Definition.AMAX]
        backward = means[Direction.BACKWARD, Definition.AMAX]
    return Probe(
        gain_forward=forward,
        gain_backward=backward,
        stream_rms=float(record[-1].after.double().square().mean().sqrt()),
        stream_max=max(float(site.after.abs().max()) for site in record),
    )


BETAS = (0.9, 0.95)
"""Of AdamW, as in the paper's runs."""
WIDE = 256
"""Width from which a GPU pays; below, starting kernels takes longer than running them."""

OnStep = Callable[[StepRow], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Run:
    """What the steps of one run share."""

    settings: ToySettings
    folder: Path
    corpus: Corpus
    model: ToyModel
    optimiser: torch.optim.AdamW
    device: torch.device


def train(
    settings: ToySettings, folder: Path, *, force: bool = False, resume: bool = False, on_step: OnStep | None = None
) -> ToyRun:
    """Train one model and write its folder.

    A loss or gradient that is not finite ends the run at that step: it is a result, and what was written stays.

    Parameters
    ----------
    settings
        Of the run.
    folder
        Where it writes.
    force
        Replace an earlier run.
    resume
        Continue it.
    on_step
        Called with every step.

    Raises
    ------
    MhcdiagError
        The text or the folder cannot be used.
    """
    corpus = load_text(settings.text, context=settings.context)
    run = _start(settings, folder, corpus)
    runfolder.prepare(folder, settings, force=force, resume=resume)
    rows = _restore(run) if resume else []
    nan_step = next((row.step for row in rows if not _is_finite(row)), None)
    started = time.process_time()
    with one_thread(run.device.type):
        for step in range(len(rows) + 1, settings.steps + 1) if nan_step is None else ():
            row = _step(run, step)
            if _measures_at(settings, step) and _is_finite(row):
                row = _with_gains(run, row)
            rows.append(row)
            runfolder.append_row(folder, row)
            if on_step is not None:
                on_step(row)
            if not _is_finite(row):
                nan_step = step
                break
            if step in settings.checkpoint_steps():
                _write(run, step)
    return ToyRun(
        path=str(folder),
        topology=settings.topology,
        seed=settings.seed,
        rows=tuple(rows),
        nan_step=nan_step,
        seconds=math.nan if resume else time.process_time() - started,
    )


def read_run(folder: Path) -> ToyRun:
    """Return the record of a run that was written earlier.

    Raises
    ------
    InputError
        There is no run in the folder.
    """
    settings = runfolder.stored_settings(folder)
    rows = runfolder.read_rows(folder)
    broken = next((row.step for row in rows if not _is_finite(row)), None)
    return ToyRun(
        path=str(folder),
        topology=settings.topology,
        seed=settings.seed,
        rows=tuple(rows),
        nan_step=broken,
        seconds=math.nan,
    )


def _start(settings: ToySettings, folder: Path, corpus: Corpus) -> _Run:
    device = choose_device(settings)
    parameters = initial_parameters(settings, vocabulary=corpus.size)
    parameters = {name: value.to(device).requires_grad_() for name, value in parameters.items()}
    return _Run(
        settings=settings,
        folder=folder,
        corpus=corpus,
        model=ToyModel(settings, parameters),
        optimiser=_optimiser(settings, parameters),
        device=device,
    )


def _optimiser(settings: ToySettings, parameters: Parameters) -> torch.optim.AdamW:
    """AdamW that decays the transformer's matrices and leaves the connections alone, as the paper's code does."""
    connections = [value for name, value in parameters.items() if name.startswith(CONNECTION)]
    others = [value for name, value in parameters.items() if not name.startswith(CONNECTION)]
    groups = [{"params": others, "weight_decay": settings.weight_decay}]
    if connections:
        groups.append({"params": connections, "weight_decay": 0.0})
    return torch.optim.AdamW(groups, lr=settings.learning_rate, betas=BETAS)


def _step(run: _Run, step: int) -> StepRow:
    settings, parameters = run.settings, list(run.model.parameters.values())
    rate = settings.learning_rate * min(1.0, step / settings.warmup if settings.warmup else 1.0)
    for group in run.optimiser.param_groups:
        group["lr"] = rate
    batch = run.corpus.batch(seed=settings.seed, step=step, sequences=settings.batch, length=settings.context)
    loss = run.model.loss(batch.to(run.device))
    run.optimiser.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    norm = float(torch.nn.utils.clip_grad_norm_(parameters, settings.clip or math.inf))
    row = StepRow(step=step, loss=loss.item(), grad_norm=norm, learning_rate=rate)
    if not _is_finite(row):
        return row
    run.optimiser.step()
    return row


def _with_gains(run: _Run, row: StepRow) -> StepRow:
    probe = measure(run.model, _held_out(run))
    return StepRow(
        step=row.step,
        loss=row.loss,
        grad_norm=row.grad_norm,
        learning_rate=row.learning_rate,
        gain_forward=probe.gain_forward,
        gain_backward=probe.gain_backward,
        stream_rms=probe.stream_rms,
        stream_max=probe.stream_max,
    )


def _measures_at(settings: ToySettings, step: int) -> bool:
    return step % settings.log_every == 0 or step in (1, settings.steps)


def _held_out(run: _Run) -> torch.Tensor:
    settings = run.settings
    probe = run.corpus.probe(seed=settings.seed, sequences=settings.batch, length=settings.context)
    return probe[:, :-1].to(run.device)


def _write(run: _Run, step: int) -> None:
    vocabulary = run.corpus.vocabulary
    runfolder.write_checkpoint(run.folder, run.settings, step, run.model.parameters, vocabulary=vocabulary)
    runfolder.write_captured(run.folder, run.settings, step, forward_pass(run.model, _held_out(run)))
    runfolder.write_state(run.folder, step, run.model.parameters, run.optimiser)


def _restore(run: _Run) -> list[StepRow]:
    """Parameters and optimiser state of the newest checkpoint, and the log up to it (whole, if it ended in NaN)."""
    logged = runfolder.read_rows(run.folder)
    if logged and not _is_finite(logged[-1]):
        return logged
    state = runfolder.read_state(run.folder)
    if state is None:
        return runfolder.keep_rows(run.folder, 0)
    step, tensors = state
    rows = runfolder.keep_rows(run.folder, step)
    if len(rows) != step:
        raise InputError(
            run.folder / runfolder.LOG,
            found=f"{len(rows)} steps, but a state of step {step}",
            expected="the log of the same run",
            hint="--force starts it anew",
        )
    with torch.no_grad():
        for name, value in run.model.parameters.items():
            value.copy_(tensors[f"parameters.{name}"])
            moments = {key: tensors[f"{key}.{name}"] for key in ("step", "exp_avg", "exp_avg_sq")}
            run.optimiser.state[value] = {
                key: moment if key == "step" else moment.to(run.device) for key, moment in moments.items()
            }
    return rows


def _is_finite(row: StepRow) -> bool:
    return math.isfinite(row.loss) and math.isfinite(row.grad_norm)


def choose_device(settings: ToySettings) -> torch.device:
    """Return where to train.

    Raises
    ------
    SettingError
        The device is not there.
    """
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if settings.device == "auto":
        return torch.device("cuda" if there["cuda"] and settings.width >= WIDE else "cpu")
    if not there.get(settings.device, False):
        available = ", ".join(name for name, yes in there.items() if yes)
        raise SettingError(f"device '{settings.device}' is not there; available: {available}")
    return torch.device(settings.device)


@contextmanager
def one_thread(device: str = "cpu") -> Iterator[None]:
    """One thread on the CPU: the operations are too small for a second one to help."""
    before = torch.get_num_threads()
    torch.set_num_threads(1 if device == "cpu" else before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class TimedSteps:
    """Training steps that are taken one by one and leave nothing on disk."""

    def __init__(self, settings: ToySettings, corpus: Corpus) -> None:
        self._run = _start(settings, Path(), corpus)

    def step(self, step: int) -> StepRow:
        """Take one step."""
        return _step(self._run, step)


WARMUP = 2
"""Steps that do not count: they compile, and fill caches."""


def step_times(*, rounds: int = 9, depth: int = 30) -> tuple[StepTime, ...]:
    """Processor time of one training step per topology, `residual` first, as ratios to it.

    The topologies take turns, so that a slow minute of the machine hits all of them alike.

    Parameters
    ----------
    rounds
        Steps per topology that count.
    depth
        Transformer blocks.

    Returns
    -------
    tuple of StepTime
        Milliseconds of the median step, and its ratio to that of `residual`.
    """
    names = [topology.name for topology in TOPOLOGIES]
    corpus = load_text(None, context=ToySettings().context)
    runs = {name: TimedSteps(ToySettings(topology=name, depth=depth), corpus) for name in names}
    found: dict[str, list[float]] = {name: [] for name in names}
    with one_thread():
        for turn in range(WARMUP + rounds):
            for name, run in runs.items():
                started = time.process_time()
                run.step(turn + 1)
                if turn >= WARMUP:
                    found[name].append(1000 * (time.process_time() - started))
    middle = {name: median(times) for name, times in found.items()}
    return tuple(
        StepTime(topology=name, milliseconds=value, ratio=value / middle["residual"]) for name, value in middle.items()
    )

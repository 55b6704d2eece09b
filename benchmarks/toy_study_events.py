"""What happened in one run of the study: its first event, and what had warned of it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from statistics import fmean, median

from mhcdiag.errors import MhcdiagError
from mhcdiag.results.toy import StepRow, ToyRun
from mhcdiag.toy.settings import ToySettings
from mhcdiag.usecases.spikes import spikes

WINDOW = 30
"""Steps before a loss that its height is measured from, by their median."""
RISE, FEW = 1.0, 3
"""Nats above that level for so many steps in a row are an event; single hard batches hit every topology."""
CHANCE = 3.14
"""Loss in nats of a model that only knows how often each character occurs: the entropy of their frequencies."""
LAST = 25
"""Losses whose mean says whether a run has collapsed."""
NORM_FACTOR = 2.5
"""A gradient norm this many times the median of the steps before it is a warning."""
LEAD = 20
"""Steps before an event in which a warning counts for it."""
LEVEL = 1e5
"""The gain that is held against the other warnings."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunSummary:
    """One run in one line of the CSV; steps are -1 where nothing happened."""

    topology: str
    """Name of the topology."""
    learning_rate: float
    """Of the run."""
    seed: int
    """Of the run."""
    stream_dtype: str
    """Element type of the streams."""
    qk_norm: bool
    """Whether queries and keys were normalised."""
    sinkhorn_iters: int
    """Iterations of mHC."""
    steps: int
    """Steps that were trained."""
    loss: float
    """Mean of the last 50."""
    max_forward: float
    """Largest gain: whole model, amax, token mean."""
    max_backward: float
    """The same over columns."""
    crossing_1000: int
    """First measured step above 1000."""
    event: int
    """First step of the first event."""
    gain_before: float
    """Largest gain measured before the event, or at all."""
    collapsed: bool
    """Whether the last losses are those of guessing by frequency."""
    nan_step: int
    """Step at which training stopped."""
    lead_gain: int
    """Steps from the first gain above 1e5 to the event."""
    lead_norm: int
    """Steps from the first outlying gradient norm of the 20 before the event."""
    lead_detector: int
    """Steps from the first `gradspike` of `mhcdiag spikes` among the 20 before the event."""
    norm_warnings: int
    """Outlying gradient norms in the whole run, neighbours within 20 steps counted once."""
    detector_warnings: int
    """Events `gradspike` in the whole run."""
    detector_spikes: int
    """Events of the loss that `mhcdiag spikes` reports, blips left out."""

    @classmethod
    def from_row(cls, row: dict[str, str]) -> "RunSummary":
        """A line of the CSV."""
        readers = {"str": str, "float": float, "int": int, "bool": lambda text: text == "True"}
        values = {
            each.name: readers[getattr(each.type, "__name__", str(each.type))](row[each.name]) for each in fields(cls)
        }
        return cls(**values)


def summarise(run: ToyRun, settings: ToySettings) -> RunSummary:
    """Everything the tables need of one run."""
    rows = run.rows
    event = first_event(rows)
    before = rows if event is None else [row for row in rows if row.step < event]
    norms = _outlying_norms(rows)
    found = _detected(run)
    return RunSummary(
        topology=run.topology,
        learning_rate=settings.learning_rate,
        seed=run.seed,
        stream_dtype=settings.stream_dtype,
        qk_norm=settings.qk_norm,
        sinkhorn_iters=settings.sinkhorn_iters,
        steps=len(rows),
        loss=round(fmean(row.loss for row in rows[-50:]), 4),
        max_forward=float(f"{run.largest_gain('forward'):.5g}"),
        max_backward=float(f"{run.largest_gain('backward'):.5g}"),
        crossing_1000=_or_none(run.crossing()),
        event=_or_none(event),
        gain_before=float(
            f"{max((row.gain_forward for row in before if row.gain_forward is not None), default=1):.5g}"
        ),
        collapsed=not fmean(row.loss for row in rows[-LAST:]) < CHANCE,
        nan_step=_or_none(run.nan_step),
        lead_gain=_lead(event, [row.step for row in before if (row.gain_forward or 0) > LEVEL]),
        lead_norm=_lead(event, [step for step in norms if event is not None and event - LEAD <= step <= event]),
        lead_detector=_lead(
            event, [step for step in found["gradspike"] if event is not None and event - LEAD <= step <= event]
        ),
        norm_warnings=_grouped(norms),
        detector_warnings=len(found["gradspike"]),
        detector_spikes=len(found["loss"]),
    )


def first_event(rows: Sequence[StepRow]) -> int | None:
    """First step of the first loss spike, or of a loss that is not finite; None where there is none."""
    losses = [row.loss for row in rows]
    high = 0
    for at in range(WINDOW, len(losses)):
        if not math.isfinite(losses[at]):
            return rows[at].step
        rise = losses[at] - median(losses[at - WINDOW - high : at - high])
        high = high + 1 if rise > RISE else 0
        if high >= FEW:
            return rows[at].step - high + 1
    return next((row.step for row in rows if not math.isfinite(row.loss)), None)


def _outlying_norms(rows: Sequence[StepRow]) -> list[int]:
    norms = [row.grad_norm for row in rows]
    return [
        rows[at].step for at in range(WINDOW, len(norms)) if norms[at] > NORM_FACTOR * median(norms[at - WINDOW : at])
    ]


def _detected(run: ToyRun) -> dict[str, list[int]]:
    try:
        found = spikes(f"{run.path}/train.jsonl").series
    except MhcdiagError:
        return {"gradspike": [], "loss": []}
    return {
        "gradspike": [round(event.start) for event in found["grad_norm"].events if event.kind == "gradspike"],
        "loss": [round(event.start) for event in found["loss"].events if event.kind != "blip"],
    }


def _lead(event: int | None, warnings: Sequence[int]) -> int:
    return -1 if event is None or not warnings else event - min(warnings)


def _grouped(steps: Sequence[int]) -> int:
    return sum(1 for at, step in enumerate(steps) if at == 0 or step - steps[at - 1] > LEAD)


def _or_none(step: int | None) -> int:
    return -1 if step is None else step

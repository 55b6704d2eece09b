"""What to do about events that did not recover: go back and skip the data, as PaLM's training did."""

import math

from mhcdiag.results.spikes import Advice, Event, EventKind, LogResult

BACK = 100
"""Steps before the spike to restart from, as PaLM did."""

SKIP = (200, 500)
"""Batches to skip from there, as PaLM did."""

# A blip is over by definition, and a gradient spike alone has cost nothing.
HARMFUL = frozenset({EventKind.SPIKE, EventKind.SHIFT, EventKind.DIVERGENCE, EventKind.NAN})


def advice(result: LogResult) -> tuple[Advice, ...]:
    """Return the advice on the first event of the loss in each run that did not recover; steps are the log's.

    PaLM restarted from a checkpoint about 100 steps before a spike and skipped 200 to 500 batches; the
    same batches from another checkpoint did not spike (arXiv 2204.02311, section 5.1): a spike takes the state of the
    model and the batch together.
    """
    loss = result.series.get("loss")
    first: dict[int, Event] = {}
    for event in loss.events if loss is not None else ():
        # The message of a NaN before the first record has no step to go back from.
        if event.kind in HARMFUL and not event.recovered and math.isfinite(event.start):
            first.setdefault(event.run, event)
    return tuple(_advice(result, event) for event in first.values())


def _advice(result: LogResult, event: Event) -> Advice:
    begin = result.runs[event.run].first_step if event.run < len(result.runs) else 0.0
    target = max(event.start - BACK, begin)
    until = target + SKIP[1]
    text = (
        f"{event.kind} at step {_step(event.start)} did not recover: restart from a checkpoint at or before "
        f"step {_step(target)} and skip {SKIP[0]} to {SKIP[1]} batches from there (PaLM, arXiv 2204.02311, "
        "section 5.1)"
    )
    return Advice(path=result.path, run=event.run, rewind_to=target, skip_until=until, text=text)


def _step(step: float) -> str:
    return f"{step:,.0f}" if step == int(step) else f"{step:g}"

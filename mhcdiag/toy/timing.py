"""Step times of the toy topologies on this machine, in turns."""

import time
from statistics import median

from mhcdiag.results.cost import StepTime
from mhcdiag.toy.settings import ToySettings
from mhcdiag.toy.text import load_text
from mhcdiag.toy.topologies import TOPOLOGIES
from mhcdiag.toy.training import TimedSteps, one_thread

WARMUP = 2
"""Steps that do not count: they compile, and fill caches."""


def step_times(*, rounds: int = 9, depth: int = 30) -> tuple[StepTime, ...]:
    """Processor time of one training step per topology, `residual` first, as ratios to it.

    The topologies take turns, so that a slow minute of the machine hits all of them alike.

    Arguments: rounds: steps per topology that count; depth: transformer blocks.
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

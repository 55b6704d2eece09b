"""What gain, loss and gradient norm do in toy models of every topology, over seeds and learning rates.

    nice -n 15 python benchmarks/toy_study.py run DIRECTORY      train what is not trained yet (resumable)
    python benchmarks/toy_study.py summary DIRECTORY             write toy_study.csv and print the tables

Runs are ordered so that an early stop leaves whole comparisons. Each run is one folder of `mhcdiag toy train`; the
summary holds one line per run. An event is a loss that stands 1 nat above the median of the 30 steps before it for
three steps or more, or by 2 nats for one, or a loss that is not finite; a run has collapsed if its last losses are back
at what guessing by frequency gives.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

from mhcdiag.toy.settings import ToySettings
from mhcdiag.toy.training import train

TABLE = Path(__file__).parent / "toy_study.csv"
TOPOLOGIES = ("hc", "mhc", "residual", "identity-hc", "mhc-lite")
SEEDS = (0, 1, 2)
NORMAL, HIGH = 5e-3, 2e-2
STEPS = {NORMAL: 300, HIGH: 500}
WINDOW, FEW = 30, 3
"""Steps before an event that its height is measured from, and the number of steps that make a small rise an event."""
CHANCE = 3.0
"""Loss in nats that guessing characters by their frequency reaches on this text, rounded down."""
NORM_FACTOR = 2.5
"""A gradient norm this many times above the median of the steps before it is a warning."""
LEVELS = (1e3, 1e5, 1e7, 1e9)
"""Gains whose first crossing is reported, and the bands of the risk table."""


def planned() -> Iterator[tuple[str, ToySettings]]:
    """Name and settings of all runs, the most important ones first."""
    for seed in SEEDS:
        for rate in (HIGH, NORMAL):
            for topology in TOPOLOGIES[:4]:
                yield _run(topology, seed, rate)
        for topology in ("hc", "residual") if seed < 2 else ():
            yield _run(topology, seed, NORMAL, stream_dtype="fp16")
    yield _run("mhc", 0, NORMAL, stream_dtype="fp16")
    for iterations in (5, 100):
        yield _run("mhc", 0, NORMAL, sinkhorn_iters=iterations)
    for seed in SEEDS:
        yield _run("hc", seed, HIGH, qk_norm=True)
    for rate in (NORMAL, HIGH):
        for seed in SEEDS:
            yield _run("mhc-lite", seed, rate)


def _run(topology: str, seed: int, rate: float, **changes: object) -> tuple[str, ToySettings]:
    settings = ToySettings(
        topology=topology, seed=seed, learning_rate=rate, steps=STEPS[rate], checkpoints=2, **changes  # type: ignore[arg-type]
    )  # fmt: skip
    extra = "".join(f"-{name.replace('_', '')}-{value}" for name, value in changes.items())
    return f"{topology}-lr{rate:g}{extra}-seed{seed}", settings


def run_all(directory: Path) -> None:
    """Train what is missing; a run that was interrupted begins where its newest checkpoint stands."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, settings in planned():
        done = directory / name / "done"
        if not done.exists():
            result = train(settings, directory / name, resume=(directory / name / "settings.json").exists())
            done.write_text("")
            print(f"{name}: loss {result.final_loss():.3f}, gain {result.largest_gain('forward'):.3g}", flush=True)


if __name__ == "__main__":
    run_all(Path(sys.argv[2]))

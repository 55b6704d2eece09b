"""What gain, loss and gradient norm do in toy models of every topology, over seeds and learning rates.

    nice -n 15 python benchmarks/toy_study.py run DIRECTORY      train what is not trained yet (resumable)
    python benchmarks/toy_study.py summary DIRECTORY             write toy_study.csv and .png, print the README's tables

Runs are ordered so that an early stop leaves whole comparisons. Each run is one folder of `mhcdiag toy train`; the CSV
holds one line per run.
"""

import csv
import sys
from collections.abc import Iterator
from dataclasses import astuple, fields
from pathlib import Path

from toy_study_events import RunSummary, summarise
from toy_study_figure import draw
from toy_study_tables import tables

from mhcdiag.toy.settings import ToySettings
from mhcdiag.toy.training import read_run, train

TABLE = Path(__file__).parent / "toy_study.csv"
FIGURE = Path(__file__).parent / "toy_study.png"
TOPOLOGIES = ("hc", "mhc", "residual", "identity-hc")
SEEDS = (0, 1, 2)
NORMAL, HIGH = 5e-3, 2e-2
STEPS = {NORMAL: 300, HIGH: 500}


def planned() -> Iterator[tuple[str, ToySettings]]:
    """Name and settings of all runs, the most important ones first."""
    for seed in SEEDS:
        for rate in (HIGH, NORMAL):
            for topology in TOPOLOGIES:
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
    values = {"topology": topology, "seed": seed, "learning_rate": rate, "steps": STEPS[rate], "checkpoints": 2}
    extra = "".join(f"-{name.replace('_', '')}-{value}" for name, value in changes.items())
    return f"{topology}-lr{rate:g}{extra}-seed{seed}", ToySettings.from_json(values | changes)


def run_all(directory: Path) -> None:
    """Train what is missing; a run that was interrupted begins where its newest checkpoint stands."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, settings in planned():
        done = directory / name / "done"
        if not done.exists():
            result = train(settings, directory / name, resume=(directory / name / "settings.json").exists())
            done.write_text("")
            print(f"{name}: loss {result.final_loss():.3f}, gain {result.largest_gain('forward'):.3g}", flush=True)


def summarise_all(directory: Path) -> list[RunSummary]:
    """One summary per finished run, in the order of the plan."""
    return [summarise(read_run(directory / name), settings) for name, settings in _finished(directory)]


def _finished(directory: Path) -> list[tuple[str, ToySettings]]:
    return [(name, settings) for name, settings in planned() if (directory / name / "done").exists()]


def read_table() -> list[RunSummary]:
    """The committed summaries."""
    with TABLE.open(newline="") as file:
        return [RunSummary.from_row(row) for row in csv.DictReader(file)]


def main() -> None:
    """Parse the command line."""
    match sys.argv[1:]:
        case ["run", directory]:
            run_all(Path(directory))
        case ["summary", directory]:
            summaries = summarise_all(Path(directory))
            with TABLE.open("w", newline="") as file:
                writer = csv.writer(file, lineterminator="\n")
                writer.writerow(field.name for field in fields(RunSummary))
                writer.writerows(astuple(each) for each in summaries)
            finished = [(settings, read_run(Path(directory) / name)) for name, settings in _finished(Path(directory))]
            draw(finished, FIGURE)
            print(tables(read_table()))
        case ["tables"]:
            print(tables(read_table()))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()

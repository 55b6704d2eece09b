"""How well inputs made from weights alone predict the gain of real tokens, on runs that explode and that do not.

    nice -n 15 python benchmarks/input_study.py run DIRECTORY      train what is not trained yet (resumable, 10 minutes)
    nice -n 15 python benchmarks/input_study.py summary DIRECTORY  measure and write input_study.csv (3 minutes)
    python benchmarks/input_study.py tables                        print the tables of docs/inputs.md

Runs are split as wholes. What had to be chosen was chosen on the first ones, trained on the source of the standard
library; the others differ from them in width, depth, length and text, and four are of another implementation. The truth
is what the run's own held-out characters saw: captured mappings of 128 to 192 tokens.
"""

import pydoc_data.topics
import sys
from collections.abc import Iterator
from pathlib import Path

import torch
from input_study_package import PackageSettings, train_package
from input_study_tables import CheckpointRow, measured, read_table, tables, write_table

from mhcdiag.toy.settings import ToySettings
from mhcdiag.toy.training import train

CHOSEN, HELD_OUT, PACKAGE, CONSTRAINED = "chosen on", "held out", "held out, package", "mHC"


CHOSEN_ON = {
    "c1": {"depth": 30, "width": 32, "learning_rate": 5e-3, "steps": 200},
    "c2": {"depth": 30, "width": 32, "learning_rate": 3e-3, "steps": 300, "seed": 1},
    "c3": {"depth": 30, "width": 32, "learning_rate": 1e-2, "steps": 100, "seed": 2},
    "c4": {"depth": 12, "width": 48, "learning_rate": 1e-2, "steps": 200, "seed": 3},
    "c5": {"depth": 20, "width": 16, "learning_rate": 1e-2, "steps": 200, "seed": 4},
    "c6": {"depth": 30, "width": 32, "learning_rate": 1e-3, "steps": 200, "seed": 5},
    "c7": {"depth": 24, "width": 32, "learning_rate": 7e-3, "steps": 150, "seed": 6, "streams": 2},
}
OTHERS = {
    "h1": {"text": "prose", "depth": 36, "width": 24, "learning_rate": 4e-3, "steps": 250, "seed": 11},
    "h2": {"text": "prose", "depth": 16, "width": 64, "learning_rate": 6e-3, "steps": 250, "seed": 12, "context": 48},
    "h3": {"text": "headers", "depth": 24, "width": 40, "learning_rate": 5e-3, "steps": 240, "seed": 13},
    "h4": {"text": "headers", "depth": 40, "width": 20, "learning_rate": 8e-3, "steps": 120, "seed": 14},
    "h5": {"text": "prose", "depth": 10, "width": 96, "learning_rate": 1e-2, "steps": 300, "seed": 15, "heads": 4},
    "h6": {"text": "headers", "depth": 36, "width": 24, "learning_rate": 1e-3, "steps": 250, "seed": 16},
    "h7": {"text": "prose", "depth": 24, "width": 40, "learning_rate": 7e-4, "steps": 200, "seed": 17, "context": 48},
    "h8": {"text": "prose", "depth": 24, "width": 40, "learning_rate": 8e-3, "steps": 150, "seed": 18, "streams": 3},
    "h9": {"text": "headers", "depth": 28, "width": 28, "learning_rate": 2e-3, "steps": 400, "seed": 19},
    "h10": {"text": "headers", "depth": 16, "width": 64, "learning_rate": 3e-3, "steps": 250, "seed": 20},
    "h11": {
        "text": "prose",
        "depth": 48,
        "width": 24,
        "learning_rate": 3e-3,
        "steps": 200,
        "seed": 21,
        "qk_norm": True,
    },
    "h12": {"text": "headers", "depth": 6, "width": 40, "learning_rate": 5e-3, "steps": 300, "seed": 22, "streams": 6},
}
CONSTRAINED_RUNS = {
    "m1": {"topology": "mhc", "depth": 16, "width": 32, "learning_rate": 1e-2, "steps": 160, "seed": 41},
    "m2": {"topology": "mhc", "depth": 24, "width": 24, "learning_rate": 5e-3, "steps": 160, "seed": 42},
}
OF_PACKAGE = {
    "p1": {"text": "prose", "depth": 12, "width": 32, "learning_rate": 1e-2, "seed": 31},
    "p2": {"text": "headers", "depth": 10, "width": 48, "learning_rate": 1e-2, "seed": 32, "stream_embed": True},
    "p3": {"text": "prose", "depth": 10, "width": 32, "learning_rate": 4e-3, "seed": 33, "streams": 3, "tanh": False},
    "p4": {"text": "headers", "depth": 12, "width": 40, "learning_rate": 1e-3, "seed": 34},
}


def toy_runs(directory: Path) -> Iterator[tuple[str, str, ToySettings]]:
    """Part, name and settings of the toy's runs."""
    for name, values in CHOSEN_ON.items():
        yield CHOSEN, name, ToySettings.from_json(values | {"checkpoints": 10, "log_every": 50})
    for name, values in OTHERS.items():
        text = str(directory / f"{values['text']}.txt")
        yield HELD_OUT, name, ToySettings.from_json(values | {"checkpoints": 10, "log_every": 50, "text": text})
    for name, values in CONSTRAINED_RUNS.items():
        text = str(directory / "prose.txt")
        yield CONSTRAINED, name, ToySettings.from_json(values | {"checkpoints": 8, "log_every": 50, "text": text})


def package_runs(directory: Path) -> Iterator[tuple[str, PackageSettings]]:
    """Name and settings of the runs of the package `hyper-connections`."""
    for name, values in OF_PACKAGE.items():
        yield name, PackageSettings(**values | {"steps": 160, "text": str(directory / f"{values['text']}.txt")})


def write_texts(directory: Path) -> None:
    """English prose and C++, as they are on every machine where this runs."""
    topics = pydoc_data.topics.topics
    (directory / "prose.txt").write_text("\n".join(topics[name] for name in sorted(topics)))
    headers = sorted((Path(torch.__file__).parent / "include" / "ATen").glob("*.h"))[:120]
    (directory / "headers.txt").write_text("\n".join(header.read_text() for header in headers))


def run_all(directory: Path) -> None:
    """Train what is missing; a run of the toy that was interrupted begins where its newest checkpoint stands."""
    torch.set_num_threads(1)
    directory.mkdir(parents=True, exist_ok=True)
    write_texts(directory)
    for _, name, toy in toy_runs(directory):
        if not (directory / name / "done").exists():
            train(toy, directory / name, resume=(directory / name / "settings.json").exists())
            (directory / name / "done").write_text("")
            print(name, flush=True)
    for name, package in package_runs(directory):
        if not (directory / name / "done").exists():
            train_package(package, directory / name)
            (directory / name / "done").write_text("")
            print(name, flush=True)


def measure_all(directory: Path) -> Iterator[CheckpointRow]:
    """One row per checkpoint, in the order of the plan."""
    torch.set_num_threads(1)
    known = [(part, name, {}) for part, name, _ in toy_runs(directory)]
    known += [(PACKAGE, name, {"tanh": settings.tanh}) for name, settings in package_runs(directory)]
    for part, name, options in known:
        for checkpoint in sorted((directory / name).glob("step_*.safetensors")):
            yield measured(part, name, checkpoint, **options)


if __name__ == "__main__":
    if sys.argv[1] == "run":
        run_all(Path(sys.argv[2]))
    elif sys.argv[1] == "summary":
        write_table(measure_all(Path(sys.argv[2])))
    else:
        print(tables(read_table()))

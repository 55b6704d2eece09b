"""How well inputs made from weights alone predict the gain of real tokens, on toy runs that explode and that do not.

    nice -n 15 python benchmarks/input_study.py run DIRECTORY      train what is not trained yet (resumable, 30 minutes)
    python benchmarks/input_study.py summary DIRECTORY             write input_study.csv
    python benchmarks/input_study.py tables                        print the tables of docs/inputs.md

Runs are split as wholes. What had to be chosen was chosen on the first ones, trained on the source of the standard
library; the others differ from them in width, depth, length and text, and the figures that the program and the
documents state are of those alone. The truth is what the run's own held-out characters saw: captured mappings.
"""

import os
import pydoc_data.topics
import sys
from collections.abc import Iterator
from pathlib import Path

import torch

from mhcdiag.toy.settings import ToySettings
from mhcdiag.toy.training import train

CHOSEN, HELD_OUT = "chosen on", "held out"


def planned(directory: Path) -> Iterator[tuple[str, str, ToySettings]]:
    """Part, name and settings of all runs."""
    for name, values in CHOSEN_ON.items():
        yield CHOSEN, name, ToySettings(checkpoints=10, log_every=50, **values)
    texts = {"prose": directory / "prose.txt", "headers": directory / "headers.txt"}
    for name, values in OTHERS.items():
        text = texts[str(values["text"])]
        yield HELD_OUT, name, ToySettings(checkpoints=10, log_every=50, **values | {"text": str(text)})


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


def write_texts(directory: Path) -> None:
    """English prose and C++, as they are on every machine where this runs."""
    topics = pydoc_data.topics.topics
    (directory / "prose.txt").write_text("\n".join(topics[name] for name in sorted(topics)))
    headers = sorted((Path(torch.__file__).parent / "include" / "ATen").glob("*.h"))[:120]
    (directory / "headers.txt").write_text("\n".join(header.read_text() for header in headers))


def run_all(directory: Path) -> None:
    """Train what is missing; a run that was interrupted begins where its newest checkpoint stands."""
    directory.mkdir(parents=True, exist_ok=True)
    write_texts(directory)
    for _, name, settings in planned(directory):
        done = directory / name / "done"
        if not done.exists():
            result = train(settings, directory / name, resume=(directory / name / "settings.json").exists())
            done.write_text("")
            print(
                f"{name}: loss {result.final_loss():.3f}, gain {result.largest_gain('forward'):.3g}, "
                f"{os.times().user:.0f} s so far",
                flush=True,
            )


if __name__ == "__main__":
    run_all(Path(sys.argv[2]))

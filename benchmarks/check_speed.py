"""One `mhcdiag check` over 20 checkpoints and 20 logs against the 40 commands one by one.

    python benchmarks/check_speed.py [--runs 7]

The checkpoints are copies of the samples, the logs have 10,000 lines each. Bar: a quarter of the time.
"""

import argparse
import math
import random
import shlex
import shutil
import sys
import tempfile
from pathlib import Path

from timing import RUNS, alternate, mhcdiag, print_machine, print_ratios

SAMPLES = Path(__file__).parent.parent / "sample_checkpoints"
COPIES = 20
LINES = 10_000
BAR = 0.25


def write_log(path: Path, seed: int) -> None:
    """A healthy JSONL log: a falling loss with noise, and its gradient norm."""
    draw = random.Random(seed)
    with path.open("w", encoding="utf-8") as file:
        for step in range(LINES):
            loss = 2.4 + 8 * math.exp(-step / 900) + draw.gauss(0, 0.03)
            norm = 0.4 + 2 * math.exp(-step / 500) + abs(draw.gauss(0, 0.03))
            file.write(f'{{"step": {step}, "loss": {loss:.5f}, "grad_norm": {norm:.5f}, "lr": 0.0003}}\n')


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=RUNS)
    runs = parser.parse_args().runs
    print_machine()
    with tempfile.TemporaryDirectory() as directory:
        checkpoints = [Path(directory, f"step_{number}.safetensors") for number in range(COPIES)]
        logs = [Path(directory, f"run_{number}.jsonl") for number in range(COPIES)]
        for number, (checkpoint, log) in enumerate(zip(checkpoints, logs, strict=True)):
            shutil.copy(SAMPLES / ("mhc.safetensors" if number % 2 else "hc.safetensors"), checkpoint)
            write_log(log, seed=number)
        single = [mhcdiag("gain", path) for path in checkpoints] + [mhcdiag("spikes", path) for path in logs]
        # `;`, since half of the checkpoints fail their gate, as they should.
        one_by_one = ("sh", "-c", "; ".join(shlex.join(command) for command in single))
        print(f"\n{COPIES} checkpoints, {COPIES} logs of {LINES} lines, {runs} runs in turns")
        timings = alternate(
            {"one by one": one_by_one, "check": mhcdiag("check", "--isolated", *checkpoints, *logs)},
            runs=runs,
            may_exit=(0, 1),
        )
        met = print_ratios(timings, baseline="one by one", bars={"check": BAR})
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())

"""`mhcdiag check` over 20 checkpoints and 20 logs against the 40 commands one by one.

python benchmarks/check_speed.py [--runs 7] [--one-by-one 3]
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from shutil import copyfile

import numpy as np
from timing import IMPORT_TORCH, Run, Timing, mhcdiag, print_machine, run_once

SAMPLE = Path(__file__).parents[1] / "sample_checkpoints" / "mhc.safetensors"
INPUTS = 20
LINES = 10_000
BAR = 0.25
ANY_VERDICT = (0, 1, 2)


def write_log(path: Path, seed: int) -> None:
    """Write a run with a falling loss, a gradient norm, and three spikes that recover."""
    random = np.random.default_rng(seed)
    steps = np.arange(1, LINES + 1)
    loss = 2.4 + 8.6 * steps**-0.45 + 0.02 * random.standard_normal(LINES)
    norm = 0.4 * np.exp(0.12 * random.standard_normal(LINES))
    for start in random.integers(1000, LINES - 100, 3):
        loss[start : start + 30] += 1.6 * np.exp(-np.arange(30) / 9)
    rows = zip(steps.tolist(), loss.tolist(), norm.tolist(), strict=True)
    path.write_text(
        "".join(f'{{"step": {step}, "loss": {a:.4f}, "grad_norm": {b:.3f}, "lr": 3e-4}}\n' for step, a, b in rows)
    )


def make_inputs(folder: Path) -> tuple[list[Path], list[Path]]:
    """Checkpoints of sample size, and logs of 10,000 lines that differ in their seed."""
    checkpoints = [folder / f"step_{number}.safetensors" for number in range(INPUTS)]
    for path in checkpoints:
        copyfile(SAMPLE, path)
    logs = [folder / f"run_{number}.jsonl" for number in range(INPUTS)]
    for seed, path in enumerate(logs):
        write_log(path, seed)
    return checkpoints, logs


def run_all(commands: Sequence[Sequence[str]]) -> Run:
    """Run commands one after the other, and add them up."""
    started = time.perf_counter()
    runs = [run_once(command, may_exit=ANY_VERDICT) for command in commands]
    return Run(
        seconds=time.perf_counter() - started,
        processor_seconds=sum(run.processor_seconds for run in runs),
        peak_bytes=max(run.peak_bytes for run in runs),
    )


def measure(checkpoints: list[Path], logs: list[Path], *, runs: int, one_by_one: int) -> dict[str, Timing]:
    """Time all in turns: the 40 commands take so long that fewer runs of them have to do."""
    single = [mhcdiag("gain", path, "-q") for path in checkpoints] + [mhcdiag("spikes", path, "-q") for path in logs]
    commands = {
        "40 commands, one by one": (single, one_by_one),
        "mhcdiag check": ([mhcdiag("check", *checkpoints, *logs)], runs),
        "import torch": ([IMPORT_TORCH], runs),
    }
    found: dict[str, list[Run]] = {name: [] for name in commands}
    for turn in range(max(runs, one_by_one) + 1):
        for name, (lines, most) in commands.items():
            if turn <= most:
                run = run_all(lines[::INPUTS] if turn == 0 else lines)
                if turn:  # the first turn fills caches
                    found[name].append(run)
    return {name: Timing(runs=tuple(of_command)) for name, of_command in found.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--one-by-one", type=int, default=3)
    options = parser.parse_args()
    print_machine()
    sys.stdout.flush()
    with tempfile.TemporaryDirectory() as folder:
        checkpoints, logs = make_inputs(Path(folder))
        timings = measure(checkpoints, logs, runs=options.runs, one_by_one=options.one_by_one)
    against = timings["40 commands, one by one"]
    print(
        f"{'':26}{'runs':>5}{'fastest':>9}{'median':>8}{'processor':>11}{'ratio: fastest':>17}{'median':>8}{'cpu':>8}"
    )
    for name, timing in timings.items():
        ratios = (
            timing.fastest / against.fastest,
            timing.middle / against.middle,
            timing.processor / against.processor,
        )
        print(
            f"{name:26}{len(timing.runs):5}{timing.fastest:9.2f}{timing.middle:8.2f}{timing.processor:11.2f}"
            f"{ratios[0]:17.3f}{ratios[1]:8.3f}{ratios[2]:8.3f}  peak {timing.peak_bytes / 1e6:.0f} MB"
        )
    ratio = timings["mhcdiag check"].fastest / against.fastest
    print(f"\nmhcdiag check: {ratio:.3f} of the 40 commands, bar {BAR}: {'met' if ratio <= BAR else 'MISSED'}")
    return 0 if ratio <= BAR else 1


if __name__ == "__main__":
    sys.exit(main())

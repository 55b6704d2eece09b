"""`mhcdiag gain` on a sparse checkpoint of DeepSeek-V4-Flash's shape (160 GB) against `import torch`.

    python benchmarks/sparse_v4.py [--runs 7]

The checkpoint is made in a temporary directory, takes 0.16 GB of disk there, and is deleted at the end.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from sparse_checkpoint import SHARDS, write_sparse_checkpoint
from timing import IMPORT_TORCH, MEGABYTE, RUNS, Timing, alternate, mhcdiag, print_machine, print_ratios

STATIC_BAR = 1.5
RANDOM_SECONDS_BAR = 4.0
ALLOWANCE = 100 * MEGABYTE


def print_difference(name: str, value: float, bar: float, unit: str) -> bool:
    """One line of a difference to `import torch`; True if it is within its bar."""
    print(f"{name:34}{value:9.2f} {unit}, bar {bar:.2f} {unit}{'' if value <= bar else '  MISSED'}")
    return value <= bar


def print_differences(timings: dict[str, Timing], mapping_bytes: int) -> bool:
    """What static and random take beyond `import torch`; True if all bars are met."""
    base, static, random = (timings[name] for name in ("import torch", "static", "random"))
    static_memory = (static.peak_bytes - base.peak_bytes) / MEGABYTE
    random_memory = (random.peak_bytes - base.peak_bytes) / MEGABYTE
    met = [
        print_difference("static, peak memory beyond torch", static_memory, ALLOWANCE / MEGABYTE, "MB"),
        print_difference("random, time beyond torch", random.fastest - base.fastest, RANDOM_SECONDS_BAR, "s"),
        print_difference(
            "random, peak memory beyond torch", random_memory, (2 * mapping_bytes + ALLOWANCE) / MEGABYTE, "MB"
        ),
    ]
    return all(met)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=RUNS)
    runs = parser.parse_args().runs
    print_machine()
    with tempfile.TemporaryDirectory(prefix="sparse-v4-") as directory:
        written = write_sparse_checkpoint(Path(directory))
        print(
            f"{written.apparent_bytes / 1e9:.1f} GB in {SHARDS} shards with {written.tensors} tensors "
            f"({written.disk_bytes / 1e9:.2f} GB on disk), mapping tensors {written.mapping_bytes / MEGABYTE:.0f} MB; "
            f"{runs} runs in turns"
        )
        commands = {
            "import torch": IMPORT_TORCH,
            "static": mhcdiag("gain", directory, "--inputs", "static"),
            "random": mhcdiag("gain", directory),
        }
        timings = alternate(commands, runs=runs, may_exit=(0, 1))
    met = print_ratios(timings, baseline="import torch", bars={"static": STATIC_BAR})
    return 0 if print_differences(timings, written.mapping_bytes) and met else 1


if __name__ == "__main__":
    sys.exit(main())

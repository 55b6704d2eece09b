"""`mhcdiag gain` on a sample checkpoint, static and default (random) inputs, against `import torch`.

python benchmarks/gain_sample.py [--runs 7] [--samples hc.safetensors ...]
"""

import argparse
import sys
from pathlib import Path

from timing import IMPORT_TORCH, RUNS, alternate, mhcdiag, print_machine, print_ratios

SAMPLES = Path(__file__).parents[1] / "sample_checkpoints"
STATIC_BAR, DEFAULT_BAR = 1.3, 1.6


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--samples", nargs="+", default=["hc.safetensors", "mhc.safetensors", "deepseek_v4"])
    arguments = parser.parse_args()
    commands: dict[str, tuple[str, ...]] = {"import torch": IMPORT_TORCH}
    bars = {}
    for sample in arguments.samples:
        path = SAMPLES / sample
        commands[f"{sample}, static"] = mhcdiag("gain", path, "--inputs", "static")
        commands[f"{sample}, default"] = mhcdiag("gain", path)
        bars |= {f"{sample}, static": STATIC_BAR, f"{sample}, default": DEFAULT_BAR}
    print_machine()
    print(f"{arguments.runs} runs in turns")
    timings = alternate(commands, runs=arguments.runs, may_exit=(0, 1))
    return 0 if print_ratios(timings, baseline="import torch", bars=bars) else 1


if __name__ == "__main__":
    sys.exit(main())

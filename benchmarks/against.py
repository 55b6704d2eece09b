"""Time the package of another checkout against the one here, in turns: start, a sample, a million lines of a log.

    git worktree add ../before COMMIT
    python benchmarks/against.py ../before

Every command runs alternately with the package of either checkout (same interpreter, same installed packages).
"""

import argparse
import sys
import tempfile
from pathlib import Path

from spike_logs import synthetic_loss
from spike_speed import write_log
from timing import alternate, print_machine, print_ratios

ROOT = Path(__file__).parents[1]
SLACK = 1.05
"""Ratio that still counts as no slower: minima of seven runs on a shared machine differ by a few percent."""


def command(checkout: Path, *arguments: str | Path) -> tuple[str, ...]:
    """A command line of one checkout's package; `-P` keeps the working directory's package out."""
    return ("env", f"PYTHONPATH={checkout}", sys.executable, "-P", "-m", "mhcdiag", *map(str, arguments))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("other", type=Path)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--lines", type=int, default=1_000_000)
    options = parser.parse_args()
    print_machine()
    sample = ROOT / "sample_checkpoints" / "hc.safetensors"
    met = True
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log.jsonl"
        write_log(log, synthetic_loss(options.lines, seed=0)[0])
        for name, arguments in {
            "--help": ("--help",),
            "gain of a sample": ("gain", "--isolated", "-q", sample),
            "spikes of a log": ("spikes", "--isolated", "-q", log),
        }.items():
            commands = {
                f"{name}, other": command(options.other.resolve(), *arguments),
                f"{name}, this": command(ROOT, *arguments),
            }
            timings = alternate(commands, runs=options.runs, may_exit=(0, 1))
            met &= print_ratios(timings, baseline=f"{name}, other", bars={f"{name}, this": SLACK})
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())

"""Lines a second of text logs, beside a bare loop of `str.split`: `python benchmarks/text_speed.py [LINES]`.

With `--other CHECKOUT` the package of another checkout reads the same files in turns. CPU seconds of whole processes,
the start of Python taken off; the bare loop splits each line at its blanks and does nothing with the parts.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
from spike_logs import synthetic_loss
from timing import MEGABYTE, Timing, alternate, print_machine

ROOT = Path(__file__).parents[1]
BARE = "import sys\nfor line in open(sys.argv[1]): line.split()"
READ = "import sys\nfrom mhcdiag.runlogs import read_log\nread_log(sys.argv[1], log_format=sys.argv[2])"
START = "import sys\nfrom mhcdiag.runlogs import read_log"
WRITERS = {
    "generic": "[2024-05-11 10:20:30] step {step} | loss {loss:.4f} | grad_norm {norm:.3f} | lr 3.0e-04 | "
    "tok/s 123,456\n",
    "megatron": " iteration {step:8}/ 2000000 | consumed samples: {step:12} | "
    "elapsed time per iteration (ms): 7845.5 | learning rate: 6.678E-06 | global batch size:    64 | "
    "lm loss: {loss:.6E} | loss scale: 1.0 | grad norm: {norm:.3f} | number of skipped iterations:   0 | "
    "number of nan iterations:   0 |\n",
}


def write_log(path: Path, line: str, loss: np.ndarray) -> None:
    """Write one line a step."""
    norm = np.exp(np.random.default_rng(1).normal(-1, 0.1, len(loss)))
    with path.open("w") as out:
        for step, (one, two) in enumerate(zip(loss.tolist(), norm.tolist(), strict=True)):
            out.write(line.format(step=step, loss=one, norm=two))


def command(code: str, checkout: Path, *arguments: str | Path) -> tuple[str, ...]:
    """Code with the package of one checkout; `-P` keeps the working directory's package out."""
    return ("env", f"PYTHONPATH={checkout}", sys.executable, "-P", "-c", code, *map(str, arguments))


def print_rates(name: str, lines: int, timings: dict[str, Timing]) -> None:
    """Print lines a CPU second of the loop and of each checkout."""
    print(name)
    for what, timing in timings.items():
        if what.startswith("start"):
            continue
        start = timings["start bare"] if what == "bare str.split" else timings["start package"]
        seconds = timing.processor - start.processor
        rate, memory = lines / seconds, timing.peak_bytes / MEGABYTE
        print(f"  {what:16} {rate:12,.0f} lines per CPU second  {seconds:7.2f} CPU s  peak {memory:5.0f} MB")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lines", type=int, nargs="?", default=200_000)
    parser.add_argument("--other", type=Path)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    print_machine()
    loss, _ = synthetic_loss(options.lines, seed=0)
    with tempfile.TemporaryDirectory() as folder:
        for name, line in WRITERS.items():
            log = Path(folder) / f"{name}.log"
            write_log(log, line, loss)
            commands = {
                "start bare": command("import sys", ROOT),
                "start package": command(START, ROOT),
                "bare str.split": command(BARE, ROOT, log),
                "this": command(READ, ROOT, log, name),
            }
            if options.other is not None:
                commands["other"] = command(READ, options.other.resolve(), log, name)
            print_rates(name, options.lines, alternate(commands, runs=options.runs))
    return 0


if __name__ == "__main__":
    sys.exit(main())

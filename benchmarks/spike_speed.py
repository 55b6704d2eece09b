"""CPU seconds and peak memory for a JSONL log: `python benchmarks/spike_speed.py [LINES]`."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from spike_logs import synthetic_loss
from timing import MEGABYTE, RUNS, Timing, alternate, print_machine

BARE = "import json,sys\nfor line in open(sys.argv[1], 'rb'): json.loads(line)"
READ = "import sys\nfrom mhcdiag.runlogs import read_log\nread_log(sys.argv[1])"
WHOLE = "import sys\nfrom mhcdiag.usecases.spikes import spikes\nspikes(sys.argv[1])"
DETECT = f"""import sys, time
import numpy as np
from mhcdiag.detectors.excursions import ExcursionTracker
from mhcdiag.detectors.interface import LOSS_THRESHOLDS, DetectionSettings, Points
from mhcdiag.detectors.running_minimum import DivergenceTracker
loss = np.load(sys.argv[1])
points = Points(step=np.arange(len(loss), dtype=np.float64), line=np.arange(len(loss)), value=loss)
times = []
for _ in range({RUNS}):
    started = time.process_time()
    ExcursionTracker(DetectionSettings(), LOSS_THRESHOLDS).feed(points)
    DivergenceTracker().feed(points)
    times.append(time.process_time() - started)
print(min(times))"""

BARS = {"reading": 0.8, "reading and detection": 1.5}
"""CPU seconds against the loop."""
MOST_MEGABYTES = 300
LEAST_POINTS_PER_SECOND = 1e6


def write_log(path: Path, loss: np.ndarray) -> None:
    """Write about 100 bytes a line."""
    norm = np.exp(np.random.default_rng(1).normal(-1, 0.1, len(loss)))
    with path.open("w") as out:
        for step, (one, two) in enumerate(zip(loss.tolist(), norm.tolist(), strict=True)):
            record = {
                "step": step,
                "loss": one,
                "grad_norm": two,
                "lr": 3e-4,
                "tokens_per_sec": 123456.0 + step % 97,
            }
            out.write(json.dumps(record) + "\n")


def command(code: str, path: Path) -> tuple[str, ...]:
    return (sys.executable, "-c", code, str(path))


def print_timings(timings: dict[str, Timing]) -> bool:
    """Print CPU seconds of whole processes; True if all bars are met."""
    bare = timings["bare json.loads"].processor
    met = True
    for name, timing in timings.items():
        ratio, memory = timing.processor / bare, timing.peak_bytes / MEGABYTE
        print(f"{name:24} {timing.processor:6.2f} CPU s  {ratio:5.2f} x  {memory:6.0f} MB", end="")
        if name in BARS:
            fine = ratio <= BARS[name] and memory <= MOST_MEGABYTES
            met &= fine
            print(f"  bars {BARS[name]} x and {MOST_MEGABYTES} MB {'met' if fine else 'MISSED'}", end="")
        print()
    return met


def main() -> int:
    lines = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    print_machine()
    loss, _ = synthetic_loss(lines, seed=0)
    with tempfile.TemporaryDirectory() as folder:
        log, values = Path(folder) / "log.jsonl", Path(folder) / "loss.npy"
        write_log(log, loss)
        np.save(values, loss[np.isfinite(loss)])
        size = log.stat().st_size / MEGABYTE
        print(f"{lines:,} lines, {size:.0f} MB; least of {RUNS} runs in turns, start of Python included")
        codes = {"bare json.loads": BARE, "reading": READ, "reading and detection": WHOLE}
        met = print_timings(alternate({name: command(code, log) for name, code in codes.items()}))
        detection = subprocess.run(command(DETECT, values), capture_output=True, text=True, check=True)
    rate = lines / float(detection.stdout)
    fine = rate >= LEAST_POINTS_PER_SECOND
    print(f"detection alone: {rate / 1e6:.2f} million points per CPU second, bar 1 {'met' if fine else 'MISSED'}")
    return 0 if met and fine else 1


if __name__ == "__main__":
    sys.exit(main())

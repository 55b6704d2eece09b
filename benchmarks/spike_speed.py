"""CPU seconds and peak memory for a JSONL log: `python benchmarks/spike_speed.py [LINES]`."""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from spike_logs import synthetic_loss

BARE = "import json,sys\nfor line in open(sys.argv[1], 'rb'): json.loads(line)"
READ = "import sys\nfrom mhcdiag.runlogs import read_log\nread_log(sys.argv[1])"
WHOLE = "import sys\nfrom mhcdiag.logapi import spikes\nspikes(sys.argv[1])"


def write_log(path: Path, lines: int) -> None:
    """Write about 100 bytes a line."""
    loss, _ = synthetic_loss(lines, seed=0)
    norm = np.exp(np.random.default_rng(1).normal(-1, 0.1, lines))
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


def run(code: str, path: Path) -> tuple[float, float]:
    """Return CPU seconds and peak memory in MB of a fresh Python."""
    wrapped = (
        f"{code}\nimport resource\nuse = resource.getrusage(resource.RUSAGE_SELF)\n"
        "print(use.ru_utime + use.ru_stime, use.ru_maxrss / 1024)"
    )
    done = subprocess.run([sys.executable, "-c", wrapped, str(path)], capture_output=True, text=True, check=True)
    seconds, memory = done.stdout.split()[-2:]
    return float(seconds), float(memory)


def main() -> None:
    lines = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log.jsonl"
        write_log(path, lines)
        print(f"{lines:,} lines, {path.stat().st_size / 1e6:.0f} MB; best of 3")
        codes = {"bare json.loads": BARE, "reading": READ, "reading and detection": WHOLE}
        results = {name: min(run(code, path) for _ in range(3)) for name, code in codes.items()}
    bare = results["bare json.loads"][0]
    for name, (seconds, memory) in results.items():
        print(f"{name:24} {seconds:6.2f} CPU s  {seconds / bare:5.2f} x  {memory:6.0f} MB")
    from mhcdiag.detectors.excursions import ExcursionTracker
    from mhcdiag.detectors.interface import Points
    from mhcdiag.detectors.running_minimum import DivergenceTracker
    from mhcdiag.detectors.settings import LOSS, Settings

    loss, _ = synthetic_loss(lines, seed=0)
    loss = loss[np.isfinite(loss)]
    points = Points(step=np.arange(len(loss), dtype=np.float64), line=np.arange(len(loss)), value=loss)
    best = np.inf
    for _ in range(3):
        start = time.process_time()
        ExcursionTracker(Settings(), LOSS).feed(points)
        DivergenceTracker().feed(points)
        best = min(best, time.process_time() - start)
    print(f"detection alone: {len(loss) / best / 1e6:.2f} million points per CPU second")


if __name__ == "__main__":
    main()

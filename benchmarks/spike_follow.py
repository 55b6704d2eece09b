"""Time and memory of following a log that grows: `python benchmarks/spike_follow.py [LINES]`.

The log reaches `mhcdiag spikes --follow -` through a pipe, so that no disk is needed; every tenth of it the memory
of the process and its CPU time so far are read from /proc (Linux only).
"""

import os
import subprocess
import sys

import numpy as np
from timing import print_machine

BLOCK = 10_000
TENTHS = 10
MOST_GROWTH_MEGABYTES = 20
"""Allowed between the first tenth and the last: what the events of the log themselves take."""


def block(first: int, random: np.random.Generator) -> bytes:
    loss = 2.4 + 8.9 * (1 + np.arange(first, first + BLOCK) / 1000) ** -0.6 + 0.03 * random.standard_normal(BLOCK)
    if first and first % (50 * BLOCK) == 0:
        loss[:20] += 1.0
    lines = (
        f'{{"step": {first + i}, "loss": {one:.6g}, "grad_norm": 0.5, "lr": 0.0003}}\n' for i, one in enumerate(loss)
    )
    return "".join(lines).encode()


def used(pid: int) -> tuple[float, float]:
    """Resident memory in MB and CPU seconds of a running process."""
    with open(f"/proc/{pid}/statm") as statm:
        memory = int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return memory, (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> int:
    lines = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000_000
    print_machine()
    command = [sys.executable, "-m", "mhcdiag", "spikes", "--follow", "-", "--quiet"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    assert process.stdin is not None
    random, before, memories = np.random.default_rng(0), 0.0, []
    for tenth in range(TENTHS):
        for first in range(tenth * lines // TENTHS, (tenth + 1) * lines // TENTHS, BLOCK):
            process.stdin.write(block(first, random))
        memory, seconds = used(process.pid)
        memories.append(memory)
        print(
            f"{(tenth + 1) * lines // TENTHS:>12,} lines  {memory:6.1f} MB  {seconds - before:6.1f} CPU s", flush=True
        )
        before = seconds
    process.stdin.close()
    code = process.wait()
    flat = memories[-1] - memories[0] <= MOST_GROWTH_MEGABYTES
    print(f"exit code {code}; memory {'flat' if flat else 'GROWS'}")
    return 0 if flat and code == 0 else 1


if __name__ == "__main__":
    sys.exit(main())

"""Commands timed against each other, in turns, so that a slow minute of the machine hits all of them alike.

Of several runs on a shared machine the fastest one says most: everything that disturbs makes a run slower. Ratios of
minima therefore stand first, ratios of medians beside them. Processor time (user and system, all threads) hardly
depends on what else runs; on a busy machine it tells a slow program from a slow minute.

This process stays small on purpose: Linux counts the memory of the process that starts a command towards the command's
own peak, so importing torch here would falsify what is measured.
"""

import os
import platform
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from statistics import median

RUNS = 7
PACKAGES = ("torch", "numpy", "typer")
MEGABYTE = 1_000_000

IMPORT_TORCH = (sys.executable, "-c", "import torch")
"""What every command that computes has to pay at least."""


def mhcdiag(*arguments: str | Path) -> tuple[str, ...]:
    """A command line of mhcdiag."""
    return (sys.executable, "-m", "mhcdiag", *map(str, arguments))


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """One run of one command."""

    seconds: float
    """Wall time."""
    processor_seconds: float
    """User and system time of all its threads."""
    peak_bytes: int
    """Largest resident memory of the process."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Timing:
    """All runs of one command."""

    runs: tuple[Run, ...]

    @property
    def fastest(self) -> float:
        """Seconds of the fastest run."""
        return min(run.seconds for run in self.runs)

    @property
    def middle(self) -> float:
        """Median seconds."""
        return median(run.seconds for run in self.runs)

    @property
    def processor(self) -> float:
        """Least processor time of all runs, in seconds."""
        return min(run.processor_seconds for run in self.runs)

    @property
    def peak_bytes(self) -> int:
        """Largest resident memory over all runs."""
        return max(run.peak_bytes for run in self.runs)


def run_once(command: Sequence[str], *, may_exit: Sequence[int]) -> Run:
    """Run one command with its output thrown away; RuntimeError where it ends with any other exit code."""
    # Installed packages have their bytecode cached; this is set on some machines and would compile mhcdiag each time.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in may_exit:
        raise RuntimeError(f"{' '.join(command)} ended with exit code {process.returncode}")
    kilobyte = 1 if sys.platform == "darwin" else 1024  # macOS counts in bytes
    return Run(
        seconds=seconds,
        processor_seconds=usage.ru_utime + usage.ru_stime,
        peak_bytes=usage.ru_maxrss * kilobyte,
    )


def alternate(
    commands: Mapping[str, Sequence[str]], *, runs: int = RUNS, may_exit: Sequence[int] = (0,)
) -> dict[str, Timing]:
    """Time commands in turns, after one run of each that does not count (it fills caches)."""
    found: dict[str, list[Run]] = {name: [] for name in commands}
    for turn in range(runs + 1):
        for name, command in commands.items():
            run = run_once(command, may_exit=may_exit)
            if turn:
                found[name].append(run)
    return {name: Timing(runs=tuple(of_command)) for name, of_command in found.items()}


def print_machine() -> None:
    """What the numbers depend on."""
    load = " ".join(f"{average:.2f}" for average in os.getloadavg())
    threads = os.environ.get("OMP_NUM_THREADS", "not set")
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES if find_spec(name))
    print(f"{_processor()}, {os.cpu_count()} cores, OMP_NUM_THREADS {threads}, load average {load}")
    print(f"Python {platform.python_version()}, {packages}, {platform.system()} {platform.release()}")


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def print_ratios(timings: Mapping[str, Timing], *, baseline: str, bars: Mapping[str, float]) -> bool:
    """Print all timings; True if the ratio of minima of each command that has a bar is within it."""
    against = timings[baseline]
    print(
        f"{'':26}{'seconds: fastest':>18}{'median':>8}{'processor':>11}"
        f"{'ratios: fastest':>18}{'median':>8}{'processor':>11}"
    )
    met = True
    for name, timing in timings.items():
        ratio, bar = timing.fastest / against.fastest, bars.get(name)
        verdict = "" if bar is None else f", bar {bar} {'met' if ratio <= bar else 'MISSED'}"
        met = met and (bar is None or ratio <= bar)
        print(
            f"{name:26}{timing.fastest:18.2f}{timing.middle:8.2f}{timing.processor:11.2f}"
            f"{ratio:18.2f}{timing.middle / against.middle:8.2f}{timing.processor / against.processor:11.2f}"
            f"  peak {timing.peak_bytes / MEGABYTE:.0f} MB{verdict}"
        )
    return met

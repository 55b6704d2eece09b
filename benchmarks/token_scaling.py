"""`mhcdiag gain` on captured mappings of more and more tokens: time, and memory that must not grow; and on more ranks.

    python benchmarks/token_scaling.py [--tokens 1000 100000 10000000] [--ranks 1 2] [--figure token_scaling.svg]

Files of 6 sites are written to a temporary directory (3.8 GB for ten million tokens) and deleted at the end. Ranks
share a folder of four files of 2.5 million tokens each and have one thread each: otherwise a single rank takes all
cores, too. They run in turns, also with next to no tokens: that is the time that torchrun and the imports take.
"""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

import numpy
from timing import MEGABYTE, Run, alternate, mhcdiag, print_machine, run_once

from mhcdiag.usecases.capture import MapShape, MapWriter

SITES, STREAMS, PIECE = 6, 4, 100_000
FILES, FILE_TOKENS, FEW = 4, 2_500_000, 1000
BAR = 1.05
"""Largest ratio of peaks between the two largest numbers of tokens, both of which take the histogram."""


def write_maps(path: Path, tokens: int) -> None:
    """Captured mappings near the identity, piece by piece."""
    generator = numpy.random.default_rng(0)
    shape = MapShape(sites=[str(i) for i in range(SITES)], tokens=tokens, streams=STREAMS, first_tokens=[])
    piece = min(tokens, PIECE)
    noise = generator.standard_normal((piece, STREAMS, STREAMS), dtype=numpy.float32)
    maps = numpy.eye(STREAMS, dtype=numpy.float32) + numpy.float32(0.1) * noise
    with MapWriter(path, shape) as writer:
        for site in range(SITES):
            for start in range(0, tokens, piece):
                writer.write(site, start, maps[: tokens - start])


def over_tokens(folder: Path, counts: list[int]) -> dict[int, Run]:
    """One run per number of tokens, each with a file of its own."""
    runs = {}
    for tokens in counts:
        path = folder / "maps.safetensors"
        write_maps(path, tokens)
        runs[tokens] = run = run_once(mhcdiag("gain", path, "--json"), may_exit=(0,))
        path.unlink()
        print(f"{tokens:9} tokens: {run.seconds:7.2f} s, peak {run.peak_bytes / MEGABYTE:.0f} MB", flush=True)
    return runs


def over_ranks(folder: Path, counts: list[int]) -> dict[int, float]:
    """Seconds of each number of processes on the same folder, without their start."""
    torchrun = ("env", "OMP_NUM_THREADS=1", sys.executable, "-m", "torch.distributed.run", "--nproc-per-node")
    commands = {}
    for name, tokens in (("many", FILE_TOKENS), ("few", FEW)):
        (folder / name).mkdir()
        for part in range(FILES if counts else 0):
            write_maps(folder / name / f"part-{part}.safetensors", tokens)
        gain = mhcdiag("gain", folder / name, "--json")[1:]
        commands |= {f"{name} {ranks}": (*torchrun, str(ranks), *gain) for ranks in counts}
    timings = alternate(commands)
    found = {}
    for ranks in counts:
        whole, start = timings[f"many {ranks}"], timings[f"few {ranks}"]
        found[ranks] = whole.fastest - start.fastest
        print(
            f"{ranks:9} ranks:  {whole.fastest:7.2f} s (median {whole.middle:.2f}), start {start.fastest:.2f} s; "
            f"the rest {found[counts[0]] / found[ranks]:.2f} times as fast as on {counts[0]}",
            flush=True,
        )
    shutil.rmtree(folder / "many")
    return found


def draw(path: Path, tokens: dict[int, Run], ranks: dict[int, float]) -> None:
    """Time and memory over tokens, time over ranks."""
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot

    figure, (time, memory, shared) = pyplot.subplots(1, 3, figsize=(9, 2.6), layout="constrained")
    time.loglog(list(tokens), [run.seconds for run in tokens.values()], marker="o")
    time.set(
        title="one process", xlabel="tokens", ylabel="seconds", yticks=[1, 2, 5, 10, 20], yticklabels=[1, 2, 5, 10, 20]
    )
    time.minorticks_off()
    peaks = [run.peak_bytes / MEGABYTE for run in tokens.values()]
    memory.semilogx(list(tokens), peaks, marker="o")
    memory.set(title="peak memory", xlabel="tokens", ylabel="MB", ylim=(0, 1.1 * max(peaks)))
    shared.bar([str(count) for count in ranks], list(ranks.values()), width=0.5)
    shared.set(title="ten million tokens", xlabel="ranks, without their start", ylabel="seconds")
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tokens", type=int, nargs="+", default=[1_000, 10_000, 100_000, 1_000_000, 10_000_000])
    parser.add_argument("--ranks", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--figure", type=Path)
    options = parser.parse_args()
    print_machine()
    with tempfile.TemporaryDirectory() as folder:
        ranks = over_ranks(Path(folder), options.ranks)
        runs = over_tokens(Path(folder), options.tokens)
    if options.figure is not None:
        draw(options.figure, runs, ranks)
    peaks = [run.peak_bytes for run in runs.values()]
    growth = peaks[-1] / peaks[-2] if len(peaks) > 1 else 1.0
    met = "met" if growth <= BAR else "MISSED"
    print(f"peak of the largest against the one before: {growth:.2f}, bar {BAR}  {met}")
    print_machine()
    sys.exit(growth > BAR)


if __name__ == "__main__":
    main()

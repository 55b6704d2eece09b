"""`mhcdiag gain` on captured mappings of more and more tokens: time, and memory that must not grow; and on more ranks.

    python benchmarks/token_scaling.py [--tokens 1000 100000 10000000] [--ranks 1 2]

Files of 6 sites are written to a temporary directory (3.8 GB for ten million tokens) and deleted at the end.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import numpy
from timing import MEGABYTE, mhcdiag, print_machine, run_once

from mhcdiag.capture.writer import MapShape, MapWriter

SITES, STREAMS, PIECE = 6, 4, 100_000
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tokens", type=int, nargs="+", default=[1_000, 100_000, 1_000_000, 10_000_000])
    parser.add_argument("--ranks", type=int, nargs="+", default=[])
    options = parser.parse_args()
    print_machine()
    peaks = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "maps.safetensors"
        for tokens in options.tokens:
            write_maps(path, tokens)
            run = run_once(mhcdiag("gain", path, "--json"), may_exit=(0,))
            peaks.append(run.peak_bytes)
            print(f"{tokens:9} tokens: {run.seconds:7.2f} s, peak {run.peak_bytes / MEGABYTE:.0f} MB")
        for ranks in options.ranks:
            torchrun = (sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(ranks))
            run = run_once((*torchrun, *mhcdiag("gain", path, "--json")[1:]), may_exit=(0,))
            print(f"{ranks:9} ranks:  {run.seconds:7.2f} s")
    growth = peaks[-1] / peaks[-2] if len(peaks) > 1 else 1.0
    print(
        f"peak of the largest against the one before: {growth:.2f}, bar {BAR}  {'met' if growth <= BAR else 'MISSED'}"
    )
    sys.exit(growth > BAR)


if __name__ == "__main__":
    main()

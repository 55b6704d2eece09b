"""How the time of the composite kernel per mapping depends on the numbers of tokens, sites and streams.

    python benchmarks/kernel_scaling.py [--device cuda] [--rounds 7] [--figure kernel_scaling.svg]

Means and maxima of single, prefix and suffix products in both definitions, float32; the fastest round counts.
"""

import argparse
from pathlib import Path

import torch
from composites import in_turns, kernel_for, mappings
from timing import print_machine

from mhcdiag.kernels.composite.interface import Outputs

TOKENS = (1_000, 3_000, 10_000, 30_000, 100_000, 300_000)
SITES = (12, 30, 60, 120, 240)
STREAMS = (2, 3, 4, 8)


def nanoseconds(device: str, rounds: int, *, sites: int = 60, tokens: int = 4096, streams: int = 4) -> float:
    """Time per mapping."""
    maps = mappings(sites, tokens, dtype=torch.float32, device=device, streams=streams)
    kernel, view = kernel_for(maps), maps.permute(0, 2, 3, 1)
    took = in_turns({"kernel": lambda: kernel.chunk_gains(view, Outputs.NOTHING)}, rounds, device)
    found = took["kernel"] * 1e9 / (sites * tokens)
    print(f"{kernel.name}: {sites:4} sites, {tokens:6} tokens, n = {streams}: {found:8.1f} ns a mapping", flush=True)
    return found


def draw(path: Path, curves: dict[str, dict[int, float]]) -> None:
    """One panel per quantity."""
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, len(curves), figsize=(9, 2.6), layout="constrained")
    for panel, (name, curve) in zip(panels, curves.items(), strict=True):
        panel.plot(list(curve), list(curve.values()), marker="o")
        top = 1.1 * max(curve.values())
        panel.set(xlabel=name, ylabel="ns a mapping", ylim=(0, top), xscale="log" if name == "tokens" else "linear")
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--figure", type=Path)
    options = parser.parse_args()
    print_machine()
    where = (options.device, options.rounds)
    curves = {
        "tokens": {tokens: nanoseconds(*where, tokens=tokens, sites=12) for tokens in TOKENS},
        "sites": {sites: nanoseconds(*where, sites=sites) for sites in SITES},
        "n": {streams: nanoseconds(*where, streams=streams) for streams in STREAMS},
    }
    if options.figure is not None:
        draw(options.figure, curves)
    print_machine()


if __name__ == "__main__":
    main()

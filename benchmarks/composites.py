"""Composite gains of captured mappings: the compiled kernels against a plain torch loop and against memory bandwidth.

    python benchmarks/composites.py [--device cuda] [--rounds 9]

Everything that is compared runs in turns in one process, and the fastest round of each counts.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from timing import RUNS, print_machine
from torch import Tensor

from mhcdiag.kernels.composite.dispatch import choose_kernel
from mhcdiag.kernels.composite.interface import Kernel, Outputs

SMALLEST = """
import time, torch, numpy
begun = time.process_time()
import numba
print(time.process_time() - begun)

@numba.njit(cache=True)
def first(values):
    return values[0]

first(numpy.zeros(3))
print(time.process_time() - begun)
"""
COMPILE = """
import time, torch
begun = time.process_time()
from mhcdiag.kernels.composite.cpu import NumbaKernel
from mhcdiag.kernels.composite.interface import Outputs
NumbaKernel().chunk_gains(torch.eye(4).expand(3, 64, 4, 4).permute(0, 2, 3, 1), Outputs.NOTHING)
print(time.process_time() - begun)
"""


def mappings(sites: int, tokens: int, *, dtype: torch.dtype, device: str, streams: int = 4) -> Tensor:
    """[site, token, stream, stream] near the identity, as a file of captured mappings holds them."""
    noise = torch.randn(sites, tokens, streams, streams, device=device, dtype=dtype)
    return torch.eye(streams, device=device, dtype=dtype) + 0.1 * noise


def plain_loop(maps: Tensor) -> Tensor:
    """What one would write without thinking of speed: the same means and maxima, one product after the other."""
    found = [_reduced(mapping) for mapping in maps]
    for order, later_left in ((maps, True), (maps.flip(0), False)):
        product = None
        for mapping in order:
            product = mapping if product is None else (mapping @ product if later_left else product @ mapping)
            found.append(_reduced(product))
    return torch.stack(found)


def _reduced(matrices: Tensor) -> Tensor:
    sizes = matrices.abs()
    gains = [m.sum(axis).abs().amax(-1) for m in (matrices, sizes) for axis in (-1, -2)]
    return torch.stack([value for gain in gains for value in (gain.mean(), gain.amax())])


def plain_spans(maps: Tensor) -> Tensor:
    """All stretches by a loop over their ends: for every end, one batched product with all beginnings."""
    stack = maps[:1]
    found = []
    for b in range(len(maps)):
        stack = maps[:1] if b == 0 else torch.cat([maps[b] @ stack, maps[b : b + 1]])
        sizes = stack.abs()
        found += [m.sum(axis).abs().amax(-1).mean(-1) for m in (stack, sizes) for axis in (-1, -2)]
    return torch.cat(found)


def in_turns(jobs: dict[str, Callable[[], object]], rounds: int, device: str) -> dict[str, float]:
    """Fastest seconds of each job, after one run that does not count."""
    best = dict.fromkeys(jobs, float("inf"))
    for turn in range(rounds + 1):
        for name, job in jobs.items():
            begun = time.perf_counter()
            job()
            if device == "cuda":
                torch.cuda.synchronize()
            if turn:
                best[name] = min(best[name], time.perf_counter() - begun)
    return best


def kernel_for(maps: Tensor) -> Kernel:
    """The kernel that a large measurement would take."""
    products = torch.float64 if maps.dtype == torch.float64 else torch.float32
    return choose_kernel(device=maps.device.type, streams=maps.shape[-1], matrices=1 << 40, dtype=products)


def show(name: str, value: float, bar: float, unit: str = "times", *, at_least: bool = True) -> bool:
    """One measured number beside its bar; True where it is met."""
    met = value >= bar if at_least else value <= bar
    print(f"{name:58}{value:9.2f} {unit:8} bar {'>=' if at_least else '<='} {bar:g}  {'met' if met else 'MISSED'}")
    return met


def with_quantiles(kernel: Kernel, maps: Tensor) -> None:
    """Means, maxima and both order statistics of every curve."""
    tokens = maps.shape[-1]
    for gained in kernel.chunk_gains(maps, Outputs.PER_TOKEN).kinds.values():
        assert gained.per_token is not None
        kernel.order_statistics(gained.per_token.rows().mantissa, (tokens // 2, tokens - tokens // 100))


def small_and_quantiles(device: str, rounds: int) -> bool:
    """The 60 sites and 4096 tokens of the bar, on the CPU."""
    maps = mappings(60, 4096, dtype=torch.float32, device=device)
    kernel, view = kernel_for(maps), maps.permute(0, 2, 3, 1)
    took = in_turns(
        {
            "loop": lambda: plain_loop(maps),
            "kernel": lambda: kernel.chunk_gains(view, Outputs.NOTHING),
            "quantiles": lambda: with_quantiles(kernel, view),
        },
        rounds,
        device,
    )
    print(f"{kernel.name}: [60, 4096, 4, 4] fp32: " + ", ".join(f"{k} {v * 1e3:.1f} ms" for k, v in took.items()))
    return all((
        show("against the plain loop", took["loop"] / took["kernel"], 8),
        show("with quantiles, against without", took["quantiles"] / took["kernel"], 2, at_least=False),
    ))  # fmt: skip


def bandwidth(device: str, rounds: int) -> bool:
    """122 sites and 65,536 tokens against what memory gives: reading on a CPU, copying on a GPU."""
    on_gpu = device == "cuda"
    maps = mappings(122, 65_536, dtype=torch.bfloat16 if on_gpu else torch.float32, device=device)
    kernel, view = kernel_for(maps), maps.permute(0, 2, 3, 1)
    jobs: dict[str, Callable[[], object]] = {
        "memory": maps.clone if on_gpu else maps.sum,
        "kernel": lambda: kernel.chunk_gains(view, Outputs.NOTHING),
    }
    if on_gpu:
        jobs["loop"] = lambda: plain_loop(maps.float())
    took = in_turns(jobs, rounds, device)
    size = maps.numel() * maps.element_size()
    moved = 2 * size if on_gpu else size
    print(f"{kernel.name}: [122, 65536, 4, 4]: memory {moved / took['memory'] / 1e9:.1f} GB/s, "
          f"kernel {size / took['kernel'] / 1e9:.2f} GB/s")  # fmt: skip
    share = 100 * (size / took["kernel"]) / (moved / took["memory"])
    met = show("share of the measured bandwidth", share, 40 if on_gpu else 10, "%")
    return met and (not on_gpu or show("against the plain loop", took["loop"] / took["kernel"], 20))


def spans(device: str, rounds: int) -> bool:
    """All stretches of 122 sites."""
    maps = mappings(122, 4096, dtype=torch.float32, device=device)
    kernel, view = kernel_for(maps), maps.permute(0, 2, 3, 1)
    jobs = {"loop": lambda: plain_spans(maps), "kernel": lambda: kernel.span_sums(view)}
    took = in_turns(jobs, rounds, device)
    print(f"{kernel.name}: all spans of [122, 4096, 4, 4]: loop {took['loop']:.2f} s, kernel {took['kernel']:.2f} s")
    return show("all spans", took["kernel"], 0.8, "s", at_least=False)


def compilation() -> bool:
    """Processor seconds until the first result, in a new process: without and with what an earlier one compiled.

    Numba's own share is that of a function of one line, which was compiled before, too.
    """
    with tempfile.TemporaryDirectory() as cache:
        environment = os.environ | {"NUMBA_CACHE_DIR": cache}
        found = [
            float(
                subprocess.run([sys.executable, "-c", COMPILE], env=environment, capture_output=True, check=True).stdout
            )
            for _ in range(1 + RUNS)
        ]
        cold, warm = found[0], min(found[1:])
        script = Path(cache) / "smallest.py"
        script.write_text(SMALLEST)
        alone = [
            subprocess.run([sys.executable, script], env=environment, capture_output=True, check=True, text=True).stdout
            for _ in range(1 + RUNS)
        ]
    imported, called = (min(float(each.split()[k]) for each in alone[1:]) for k in range(2))
    print(f"import numba {imported:.2f} s, and a cached function of one line called: {called:.2f} s in all")
    return all((
        show("first result, nothing compiled yet", cold, 10, "s", at_least=False),
        show("first result, compiled before (Numba's import included)", warm, 0.5, "s", at_least=False),
    ))  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    print_machine()
    if options.device == "cuda":
        print(torch.cuda.get_device_name())
    parts = [bandwidth, spans] if options.device == "cuda" else [small_and_quantiles, bandwidth, spans]
    met = [part(options.device, options.rounds) for part in parts]
    if options.device == "cpu":
        met.append(compilation())
    sys.exit(not all(met))


if __name__ == "__main__":
    main()

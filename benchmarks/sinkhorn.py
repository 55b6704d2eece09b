"""Sinkhorn-Knopp, 20 iterations: the compiled kernels against a plain torch loop and against memory bandwidth.

    python benchmarks/sinkhorn.py [--device cuda] [--tokens 65536] [--rounds 9]

Everything that is compared runs in turns in one process, and the fastest round of each counts.
"""

import argparse
import sys

import torch
from composites import in_turns, show
from timing import print_machine
from torch import Tensor

from mhcdiag.kernels.sinkhorn.interface import SinkhornRule
from mhcdiag.kernels.sinkhorn.normalise import choose_sinkhorn, sinkhorn

RULE = SinkhornRule()
MANY = 1 << 40
"""So that the compiled kernel is taken."""
BARS = {torch.bfloat16: 25.0, torch.float32: 50.0}
"""Per cent of the copy bandwidth, on a GPU; there is none for a CPU."""


def plain_loop(logits: Tensor) -> Tensor:
    """What one would write without thinking of speed, tokens first: [token, row, column]."""
    matrix = logits.softmax(dim=-1) + RULE.eps
    for step in range(RULE.steps):
        matrix = matrix / (matrix.sum(dim=-1 if step % 2 else -2, keepdim=True) + RULE.eps)
    return matrix


def measure(streams: int, options: argparse.Namespace, dtype: torch.dtype) -> bool:
    """Forward alone, then forward and backward."""
    logits = 2 * torch.randn(streams, streams, options.tokens, device=options.device, dtype=dtype)
    tokens_first = logits.permute(2, 0, 1).contiguous()
    trained, plainly_trained = logits.clone().requires_grad_(), tokens_first.clone().requires_grad_()
    took = in_turns(
        {
            "copy": logits.clone,
            "loop": lambda: plain_loop(tokens_first),
            "kernel": lambda: sinkhorn(logits, RULE, matrices=MANY),
            "loop, with gradient": lambda: plain_loop(plainly_trained).sum().backward(),
            "kernel, with gradient": lambda: sinkhorn(trained, RULE, matrices=MANY).sum().backward(),
        },
        options.rounds,
        options.device,
    )
    moved = 2 * logits.numel() * logits.element_size() / 1e9
    name = f"{choose_sinkhorn(logits, matrices=MANY).name}, n = {streams}, {str(dtype).removeprefix('torch.')}"
    rates = ", ".join(f"{job} {1e3 * seconds:.2f} ms" for job, seconds in took.items())
    print(f"{name}: {rates}; copy {moved / took['copy']:.1f} GB/s, kernel {moved / took['kernel']:.2f} GB/s")
    for suffix in ("", ", with gradient"):
        print(f"    {took[f'loop{suffix}'] / took[f'kernel{suffix}']:.1f} times faster than the plain loop{suffix}")
    if options.device == "cpu" or streams != 4:
        return True
    return show("share of the copy bandwidth", 100 * took["copy"] / took["kernel"], BARS[dtype], "%")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--tokens", type=int)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    options.tokens = options.tokens or (1 << 16 if options.device == "cpu" else 1 << 22)
    print_machine()
    if options.device == "cuda":
        print(torch.cuda.get_device_name())
    dtypes = [torch.float32] if options.device == "cpu" else [torch.float32, torch.bfloat16]
    met = [measure(streams, options, dtype) for dtype in dtypes for streams in (2, 3, 4, 8)]
    sys.exit(not all(met))


if __name__ == "__main__":
    main()

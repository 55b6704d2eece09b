"""Everything that a GPU decides, in one command: right numbers first, then composites, Sinkhorn, scaling and `Monitor`.

    python benchmarks/gpu.py > gpu.txt

Needs a CUDA build of torch, the extra `gpu` (Triton) and what Triton compiles with: a C compiler and Python's headers.
Ends with 1 if a number is wrong or a bar is missed, and with 2 without a GPU.
"""

import subprocess
import sys
from importlib.util import find_spec
from itertools import product
from pathlib import Path

from mhcdiag.results.gain import Definition

SCRIPTS = ("composites.py", "sinkhorn.py", "kernel_scaling.py", "monitor_overhead.py")
STREAMS = (2, 3, 4, 8)
SITES, TOKENS = 7, 1003
TOLERANCE = 1e-5
"""Largest error of a gain as a share of the `norm` gain of the same product, of a Sinkhorn matrix as it is."""


def composites_are_right(device: str) -> bool:
    """Gains of every token, means, maxima, mean matrices and all spans against float64 on the CPU."""
    import torch
    from composites import mappings

    from mhcdiag.kernels.composite import gpu
    from mhcdiag.kernels.composite.interface import Outputs
    from mhcdiag.kernels.composite.reference import ReferenceKernel

    gpu.ReferenceKernel = None  # it answers where a chunk is not safe, and must not do so here
    every = Outputs.PER_TOKEN | Outputs.MATRICES
    right = True
    for streams, dtype in product(STREAMS, (torch.float32, torch.float64, torch.bfloat16)):
        maps = mappings(SITES, TOKENS, dtype=dtype, device="cpu", streams=streams).permute(0, 2, 3, 1)
        found = gpu.TritonKernel().chunk_gains(maps.to(device), every).kinds
        expected = ReferenceKernel().chunk_gains(maps.double(), every).kinds
        errors = []
        for kind, gained in found.items():
            for name in ("per_token", "sums", "maxima", "matrices"):
                mine, theirs = (getattr(each, name).mantissa.cpu().double() for each in (gained, expected[kind]))
                # Gains as a share of the norm gain in their direction, entries of that of their matrix.
                scale = theirs[[1, 1, 3, 3]] if name != "matrices" else theirs.abs().amax(dim=(-2, -1), keepdim=True)
                errors.append(((mine - theirs).abs() / scale).max().item())
        spans, of_reference = gpu.TritonKernel().span_sums(maps.to(device)), ReferenceKernel().span_sums(maps.double())
        for (direction, definition), sums in spans.items():
            mine, theirs = sums.mantissa.cpu().double(), of_reference[direction, definition].mantissa
            norm = of_reference[direction, Definition.NORM].mantissa
            errors.append(((mine - theirs).abs() / norm).nan_to_num().max().item())
        right &= max(errors) <= TOLERANCE
        print(f"composites and spans, n = {streams}, {dtype}: largest error {max(errors):.1e} of the norm gain")
    return right


def sinkhorn_is_right(device: str) -> bool:
    """Matrices, and the gradient of a sum of their squares, against float64 on the CPU."""
    import torch

    from mhcdiag.kernels.sinkhorn.interface import SinkhornRule
    from mhcdiag.kernels.sinkhorn.normalise import sinkhorn

    right = True
    for streams in STREAMS:
        logits = torch.randn(streams, streams, TOKENS)
        found, gradients = [], []
        for given in (logits.to(device), logits.double()):
            given.requires_grad_()
            found.append(sinkhorn(given, SinkhornRule(), matrices=1 << 40 if given.dtype == torch.float32 else 0))
            found[-1].square().sum().backward()
            gradients.append(given.grad)
        errors = [(mine.cpu() - theirs).abs().max().item() for mine, theirs in (found, gradients)]
        right &= max(errors) <= TOLERANCE
        print(f"Sinkhorn, n = {streams}: largest error {errors[0]:.1e}, of its gradient {errors[1]:.1e}")
    return right


def main() -> None:
    import torch

    if not torch.cuda.is_available() or find_spec("triton") is None:
        missing = "a GPU that torch can use" if not torch.cuda.is_available() else "Triton: pip install 'mhcdiag[gpu]'"
        print(f"benchmarks/gpu.py needs {missing}", file=sys.stderr)
        sys.exit(2)
    from mhcdiag.kernels.gpu_launch import try_out

    try_out("cuda")  # its traceback says what Triton lacks
    right = [composites_are_right("cuda"), sinkhorn_is_right("cuda")]
    print("against float64: " + ("right" if all(right) else "WRONG"), flush=True)
    ended = []
    for script in SCRIPTS:
        print(f"== {script}", flush=True)
        command = [sys.executable, str(Path(__file__).parent / script), "--device", "cuda"]
        ended.append(subprocess.run(command, check=False).returncode)
    sys.exit(not all(right) or any(ended))


if __name__ == "__main__":
    main()

"""Everything that a GPU decides, in one command: composites, Sinkhorn-Knopp, scaling and `Monitor`.

    python benchmarks/gpu.py > gpu.txt

Needs a CUDA build of torch and the extra `gpu` (Triton). Ends with 1 if a bar is missed, and with 2 without a GPU.
"""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

SCRIPTS = ("composites.py", "sinkhorn.py", "kernel_scaling.py", "monitor_overhead.py")


def main() -> None:
    import torch

    if not torch.cuda.is_available() or find_spec("triton") is None:
        missing = "a GPU that torch can use" if not torch.cuda.is_available() else "Triton: pip install 'mhcdiag[gpu]'"
        print(f"benchmarks/gpu.py needs {missing}", file=sys.stderr)
        sys.exit(2)
    ended = []
    for script in SCRIPTS:
        print(f"== {script}", flush=True)
        command = [sys.executable, str(Path(__file__).parent / script), "--device", "cuda"]
        ended.append(subprocess.run(command, check=False).returncode)
    sys.exit(any(ended))


if __name__ == "__main__":
    main()

"""What `mhcdiag.Monitor` costs on a training step of a small model with 60 sites on the CPU.

    python benchmarks/monitor_overhead.py [--steps 60] [--every 10]

Time inside hooks and reports is summed and set against the time of the steps themselves, in the same run.
"""

import argparse
import sys
import time

import torch
from hyper_connections import HyperConnections
from timing import print_machine
from torch import nn

from mhcdiag import Monitor

BAR = 1.0
SITES, STREAMS, WIDTH, TOKENS = 60, 4, 32, 128


class Mlp(nn.Sequential):
    """The branch of one site."""

    def __init__(self) -> None:
        super().__init__(nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--every", type=int, default=10)
    options = parser.parse_args()
    torch.manual_seed(0)
    model = nn.Sequential(*(HyperConnections(STREAMS, dim=WIDTH, layer_index=i, branch=Mlp()) for i in range(SITES)))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    tokens = torch.randn(4, TOKENS // 4, WIDTH).repeat_interleave(STREAMS, dim=0)
    with Monitor(model, every=options.every) as monitor:
        for step in range(options.steps + options.every):
            if step == options.every:  # the first report imports and allocates
                begun, monitor.seconds = time.perf_counter(), 0.0
            optimizer.zero_grad()
            model(tokens).square().mean().backward()
            optimizer.step()
            monitor.step()
        total = time.perf_counter() - begun
    print_machine()
    share = 100 * monitor.seconds / (total - monitor.seconds)
    print(f"{options.steps} steps of {1e3 * total / options.steps:.0f} ms, a report every {options.every}: "
          f"{share:.2f} % inside hooks and reports, bar {BAR:g} %  {'met' if share <= BAR else 'MISSED'}")  # fmt: skip
    sys.exit(share > BAR)


if __name__ == "__main__":
    main()

"""What `mhcdiag.Monitor` costs on a training step of a small model with 60 sites.

    python benchmarks/monitor_overhead.py [--steps 60] [--every 10] [--device cuda]

Time inside hooks and reports is summed and set against the time of the steps themselves, in the same run.
"""

import argparse
import sys
import time

import torch
from hyper_connections import HyperConnections
from timing import print_machine
from torch import Tensor, nn
from torch.nn import functional

from mhcdiag import Monitor

BARS = {"cpu": 1.0, "cuda": 0.5}
"""Per cent of the step."""
SITES, STREAMS, WIDTH, TOKENS, HEADS = 60, 4, 32, 128, 2


class Attention(nn.Module):
    """The branch of every other site."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.qkv, self.out = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        """Causal attention over [sequence, token, feature]."""
        parts = self.qkv(self.norm(x)).unflatten(-1, (3, HEADS, -1)).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(*parts.unbind(), is_causal=True)
        return self.out(mixed.transpose(1, 2).flatten(2))


class Mlp(nn.Sequential):
    """The branch of the sites between them."""

    def __init__(self) -> None:
        super().__init__(nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH))


def wait(device: str) -> None:
    """Until a GPU has done what it was given."""
    if device == "cuda":
        torch.cuda.synchronize()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--every", type=int, default=10)
    parser.add_argument("--device", choices=BARS, default="cpu")
    options = parser.parse_args()
    bar = BARS[options.device]
    torch.manual_seed(0)
    model = nn.Sequential(
        *(
            HyperConnections(STREAMS, dim=WIDTH, layer_index=i, branch=Mlp() if i % 2 else Attention())
            for i in range(SITES)
        )
    )
    model.to(options.device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    tokens = torch.randn(4, TOKENS // 4, WIDTH).repeat_interleave(STREAMS, dim=0).to(options.device)
    with Monitor(model, every=options.every) as monitor:
        for step in range(options.steps + options.every):
            if step == options.every:  # the first report imports and allocates
                wait(options.device)
                begun, monitor.seconds = time.perf_counter(), 0.0
            optimizer.zero_grad()
            model(tokens).square().mean().backward()
            optimizer.step()
            wait(options.device)  # or a report would wait for the step, and that would count as the report's
            monitor.step()
        wait(options.device)
        total = time.perf_counter() - begun
    print_machine()
    share = 100 * monitor.seconds / (total - monitor.seconds)
    print(f"{options.steps} steps of {1e3 * total / options.steps:.0f} ms, a report every {options.every}: "
          f"{share:.2f} % inside hooks and reports, bar {bar:g} %  {'met' if share <= bar else 'MISSED'}")  # fmt: skip
    sys.exit(share > bar)


if __name__ == "__main__":
    main()

"""LigerMHC's own kernels, run on the CPU by Triton's interpreter, against what we make of their parameters."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from mhcdiag.layouts import recognise
from mhcdiag.layouts.interface import Overrides
from mhcdiag.tensorfiles import open_checkpoint

STREAMS, ITERATIONS = 4, 3  # its kernels need a power of 2
# A process of its own: Triton decides for its interpreter when it is first imported.
RUN = f"""
import sys, torch
from liger_kernel.transformers.mhc import LigerMHC
from safetensors.torch import save_file

class Silent(torch.nn.Module):
    def forward(self, x):
        return torch.zeros_like(x)

torch.manual_seed(0)
torch.set_num_threads(1)
modules = torch.nn.ModuleList(
    LigerMHC(Silent(), hc={STREAMS}, c=8, tmax={ITERATIONS}, phi_dtype=torch.float32, allow_fp32=True)
    for _ in range(2)
)
for parameter in modules.parameters():
    torch.nn.init.normal_(parameter)
save_file({{name: value.contiguous() for name, value in modules.state_dict().items()}}, "model.safetensors")
before = torch.randn(2, 1, 5, {STREAMS}, 8)
with torch.no_grad():
    after = torch.stack([module(x) for module, x in zip(modules, before)])
save_file({{"before": before[:, 0].clone(), "after": after[:, 0].clone()}}, "pushed.safetensors")
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if find_spec("liger_kernel") is None or find_spec("triton") is None:
        pytest.skip("liger-kernel and triton are not installed")
    folder = tmp_path_factory.mktemp("liger")
    environment = os.environ | {"TRITON_INTERPRET": "1"}
    subprocess.run([sys.executable, "-c", RUN], cwd=folder, env=environment, check=True)
    return folder


def test_the_kernels_apply_what_we_read(folder: Path):
    """x_new = H x with H from the token's own projected input, and the transpose is far away."""
    checkpoint = open_checkpoint(folder / "model.safetensors")
    layout, recognition = recognise(checkpoint)
    assert layout.name == "liger"
    parameters = layout.read(checkpoint, recognition, Overrides(sinkhorn_iters=ITERATIONS), dynamic=True).parameters
    pushed = load_file(folder / "pushed.safetensors")
    for site, (before, after) in enumerate(zip(pushed["before"], pushed["after"], strict=True)):
        phi = checkpoint.read(f"{site}.phi")
        flat = before.flatten(1)
        z = flat @ phi[:, 2 * STREAMS :] / (flat.square().mean(-1, keepdim=True) + 1e-6).sqrt()
        logits = (parameters.scale[site] * z).T.reshape(STREAMS, STREAMS, -1) + parameters.base[site][..., None]
        maps = parameters.recipe.orient(parameters.recipe.constraint.apply(logits))
        np.testing.assert_allclose(torch.einsum("tsk,ksd->ktd", maps, before), after, atol=1e-4)
        assert (torch.einsum("stk,ksd->ktd", maps, before) - after).abs().max() > 0.05

"""Element types of the mapping tensors, and foreign ones elsewhere in the same file."""

import copy
from pathlib import Path

import pytest
import torch
from packages import lucidrains_stacks, transformers_hooks, transformers_models
from packages.checkpoints import read_tensors, write_checkpoint
from packages.transformers_models import DEEPSEEK_V4
from reference import disagreements, reference
from safetensors.torch import save_file

import mhcdiag

TYPES = {"bf16": torch.bfloat16, "f16": torch.float16, "f32": torch.float32}


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("streams", [1, 2, 3, 8])
def test_deepseek_v4(dtype: str, streams: int, tmp_path: Path):
    """The reference is the package's module with the rounded parameters."""
    model = transformers_models.deepseek_v4(layers=2, hidden=8, streams=streams, seed=streams)
    for _, mixer in transformers_models.mixers(model, DEEPSEEK_V4):
        for parameter in mixer.parameters():
            parameter.data = parameter.data.to(TYPES[dtype]).float()
    model.save_pretrained(tmp_path / "full")
    tensors = {
        name: tensor.to(TYPES[dtype]) if ".hc_" in name else tensor
        for name, tensor in read_tensors(tmp_path / "full").items()
    }
    save_file(tensors, tmp_path / "full" / "model.safetensors")
    result = mhcdiag.gain(tmp_path / "full", inputs="static")
    assert disagreements(result, reference(transformers_hooks.static_maps(model, DEEPSEEK_V4))) == []
    assert result.streams == streams
    assert mhcdiag.gain(tmp_path / "full", inputs="random", tokens=7).inputs == "random"


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("streams", [1, 2, 3, 8])
@pytest.mark.parametrize("kind", ["hc", "mhc", "mhc_v2"])
def test_hyper_connections(kind: str, dtype: str, streams: int, tmp_path: Path):
    model = lucidrains_stacks.stack(kind, sites=4, streams=streams, dim=11, seed=streams)
    rounded = copy.deepcopy(model).to(TYPES[dtype])
    expected = reference(lucidrains_stacks.static_maps(copy.deepcopy(rounded).float()))
    save_file(rounded.state_dict(), tmp_path / "model.safetensors")
    torch.save(rounded.state_dict(), tmp_path / "model.pt")
    for name in ("model.safetensors", "model.pt"):
        result = mhcdiag.gain(tmp_path / name, inputs="static")
        assert disagreements(result, expected) == []
        assert result.streams == streams


def test_quantised_tensors_elsewhere_in_the_file(build_case, tmp_path: Path):
    """What DeepSeek-V4 is released with: packed FP4 experts as int8, FP8 weights, power-of-two scales."""
    case = build_case("deepseek_v4")
    foreign = {
        "model.layers.0.ffn.experts.0.w1.weight": torch.zeros(8, 10, dtype=torch.int8),
        "model.layers.0.ffn.experts.0.w1.scale": torch.ones(8, 1).to(torch.float8_e8m0fnu),
        "model.layers.0.attn.wq_a.weight": torch.ones(5, 20).to(torch.float8_e4m3fn),
        "model.layers.0.attn.wq_a.scale": torch.ones(1, 1).to(torch.float8_e8m0fnu),
        "model.layers.1.attn.wkv.weight": torch.ones(8, 20).to(torch.float8_e5m2),
        "model.layers.1.attn.wkv.packed": torch.zeros(8, 10, dtype=torch.uint8).view(torch.float4_e2m1fn_x2),
    }
    path = write_checkpoint(tmp_path / "quantised", read_tensors(case.path) | foreign)
    config = (case.path / "config.json").read_text()
    (path / "config.json").write_text(config)
    result = mhcdiag.gain(path, inputs="static")
    assert disagreements(result, case.static_reference) == []
    assert not result.skipped

"""One DeepSeek-V4 checkpoint under every name its tensors go by, with head and MTP tensors as released."""

import re
from pathlib import Path

import pytest
import torch
from packages.checkpoints import read_tensors, rewrite, write_checkpoint
from reference import disagreements

import mhcdiag

SITE = re.compile(r"^model\.layers\.(\d+)\.hc_(attn|ffn)_(fn|base|scale)$")
HEAD = re.compile(r"^model\.hc_head\.hc_(fn|base|scale)$")

SPELLINGS = {
    "released": (r"layers.\1.hc_\2_\3", r"hc_head_\1"),
    "flat": (r"model.layers.\1.hc_\2_\3", r"model.hc_head.hc_\1"),
    "modules": (r"model.layers.\1.\2_hc.\3", r"model.hc_head.hc_\1"),
    "modules_without_model": (r"layers.\1.\2_hc.\3", r"hc_head.hc_\1"),
    "language_model": (r"language_model.model.layers.\1.\2_hc.\3", r"language_model.model.hc_head.hc_\1"),
}


def mtp_tensors(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """An MTP block with mixers and a head of its own, as the release has it."""
    block = {f"mtp.0.hc_{site}_{role}": tensors[f"model.layers.0.hc_{site}_{role}"]
             for site in ("attn", "ffn") for role in ("fn", "base", "scale")}  # fmt: skip
    head = {f"mtp.0.hc_head_{role}": tensors[f"model.hc_head.hc_{role}"] for role in ("fn", "base", "scale")}
    return {name: tensor.flip(0).contiguous() for name, tensor in (block | head).items()}


def respell(name: str, spelling: str) -> str:
    site, head = SPELLINGS[spelling]
    return HEAD.sub(head, SITE.sub(site, name))


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("name", ["deepseek_v4_three_streams", "deepseek_v4_deep"])
def test_every_spelling_gives_the_same_numbers(build_case, name: str, spelling: str, tmp_path: Path):
    case = build_case(name)
    extra = mtp_tensors(read_tensors(case.path))
    path = rewrite(case.path, tmp_path / spelling, lambda tensor: respell(tensor, spelling), extra)
    result = mhcdiag.gain(path, inputs="static")
    assert disagreements(result, case.static_reference) == []
    assert result.sites == mhcdiag.gain(case.path, inputs="static").sites
    heads = {respell(f"model.hc_head.hc_{role}", spelling) for role in ("fn", "base", "scale")}
    assert set(result.excluded) == set(extra) | heads
    assert not result.skipped


def test_layers_beyond_the_trunk_are_excluded(build_case, tmp_path: Path):
    """GLM-5.3-Flash numbers its MTP layer on: index `num_hidden_layers`."""
    case = build_case("glm5_next")
    tensors = read_tensors(case.path)
    extra = {
        name.replace("layers.0.", "layers.4."): tensor.flip(0).contiguous()
        for name, tensor in tensors.items()
        if name.startswith("model.language_model.layers.0.hc_")
    }
    assert len(extra) == 6
    result = mhcdiag.gain(rewrite(case.path, tmp_path / "mtp", lambda name: name, extra), inputs="static")
    assert disagreements(result, case.static_reference) == []
    assert set(extra) <= set(result.excluded)


def test_without_config_the_iterations_are_assumed_aloud(build_case, tmp_path: Path):
    case = build_case("deepseek_v4")
    result = mhcdiag.gain(write_checkpoint(tmp_path / "bare", read_tensors(case.path)), inputs="static")
    assert disagreements(result, case.static_reference) == []
    assert any("20" in said for said in result.assumed)


def test_without_config_iterations_and_eps_can_be_set(build_case, tmp_path: Path):
    case = build_case("deepseek_v4_three_streams")
    path = write_checkpoint(tmp_path / "bare", read_tensors(case.path))
    result = mhcdiag.gain(path, inputs="static", sinkhorn_iters=5, sinkhorn_eps=1e-3)
    assert disagreements(result, case.static_reference) == []
    assert disagreements(mhcdiag.gain(path, inputs="static"), case.static_reference)

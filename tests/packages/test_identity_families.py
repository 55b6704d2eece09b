"""Families that keep several streams but never mix them: gain 1 by construction."""

from pathlib import Path

import pytest
from packages import transformers_models
from packages.checkpoints import read_tensors, rewrite, save_shards, write_checkpoint

import mhcdiag


def released_hy_v4(name: str) -> str:
    """The released spelling, which `transformers` also reads: the site's name before `hc_pre`."""
    for site in ("hc_attn_layer", "hc_mlp_layer", "hc_head"):
        name = name.replace(f"hc_pre.{site}.", f"{site}.hc_pre.")
    return name


def assert_identity(result: mhcdiag.GainResult, *, sites: int, streams: int) -> None:
    assert result.layout == "identity"
    assert len(result.sites) == sites
    assert result.streams == streams
    assert {float(number) for curve in result.gain.values() for number in curve} == {1.0}
    assert len(result.gain) >= 60  # kinds, directions, definitions, reductions
    assert {float(span.value) for span in result.worst.values()} == {1.0}
    assert not result.skipped


@pytest.fixture(scope="session", params=[2, 4])
def hy_v4(request, tmp_path_factory):
    """With two streams `fn` has 8 = n(n + 2) rows, as a DeepSeek-V4 of two streams would."""
    path = tmp_path_factory.mktemp("hy_v4")
    model = transformers_models.hy_v4(layers=3, hidden=20, streams=request.param, seed=1)
    save_shards(model, path)
    return path, request.param


def test_hy_v4_as_saved_by_transformers(hy_v4):
    path, streams = hy_v4
    assert_identity(mhcdiag.gain(path), sites=6, streams=streams)


def test_hy_v4_as_released(hy_v4, tmp_path: Path):
    from transformers import HYV4ForCausalLM

    source, streams = hy_v4
    path = rewrite(source, tmp_path / "released", released_hy_v4, {})
    assert "model.layers.0.hc_attn_layer.hc_pre.hc_fn" in read_tensors(path)
    _, report = HYV4ForCausalLM.from_pretrained(path, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    assert_identity(mhcdiag.gain(path), sites=6, streams=streams)


def test_hy_v4_without_config(hy_v4, tmp_path: Path):
    source, streams = hy_v4
    path = write_checkpoint(tmp_path / "bare", read_tensors(source))
    assert_identity(mhcdiag.gain(path), sites=6, streams=streams)


def test_hy_v4_head_is_excluded(hy_v4):
    excluded = mhcdiag.gain(hy_v4[0]).excluded
    assert set(excluded) == {f"model.hc_pre.hc_head.hc_head_{role}" for role in ("fn", "base", "scale")}


def test_qwen4_exp(tmp_path: Path):
    save_shards(transformers_models.qwen4_exp(layers=4, hidden=20, streams=3, seed=1), tmp_path)
    result = mhcdiag.gain(tmp_path)
    assert_identity(result, sites=8, streams=3)
    assert result.sites[:2] == ("0.attn", "0.ffn")

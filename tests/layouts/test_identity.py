"""Families whose streams are never mixed: what proves it, and what does not."""

import pytest
import torch
from stacks import write

import mhcdiag
from mhcdiag.errors import LayoutError

STREAMS = 4


def hy_v4_tensors(*, scales: int | None = 2, rows: int = 2 * STREAMS) -> dict[str, torch.Tensor]:
    tensors = {}
    for layer in range(2):
        for kind in ("attn", "mlp"):
            path = f"model.layers.{layer}.hc_{kind}_layer.hc_pre."
            tensors[path + "hc_base"] = torch.zeros(rows)
            if scales is not None:
                tensors[path + "hc_scale"] = torch.ones(scales)
    return tensors


def qwen4_tensors() -> dict[str, torch.Tensor]:
    return {
        f"model.layers.{layer}.{kind}_hyper_connection.block_inject_weight": torch.zeros(STREAMS, 5)
        for layer in range(2)
        for kind in ("attn", "mlp")
    }


@pytest.mark.parametrize(
    ("tensors", "config"),
    [
        (hy_v4_tensors(), {"model_type": "hy_v4", "hc_mult": STREAMS}),
        (hy_v4_tensors(), None),
        (qwen4_tensors(), {"model_type": "qwen4_exp", "text_config": {"hc_count": STREAMS}}),
        (qwen4_tensors(), None),
    ],
)
def test_streams_that_are_never_mixed_have_gain_one(tmp_path, tensors, config):
    result = mhcdiag.gain(write(tmp_path, tensors, config=config))
    assert (result.layout, result.streams) == ("identity", STREAMS)
    assert result.sites == ("0.attn", "0.ffn", "1.attn", "1.ffn")
    assert set(result.curve("prefix", "forward", "norm", "max")) == {1.0}


@pytest.mark.parametrize(
    "tensors",
    [
        hy_v4_tensors(scales=3),  # DeepSeek-V4 for two streams: 8 rows are 2n + n * n there
        hy_v4_tensors(scales=None),  # the number of scales is the proof
        hy_v4_tensors(rows=2 * STREAMS + 1),
    ],
)
def test_without_the_proof_nothing_is_called_unmixed(tmp_path, tensors):
    with pytest.raises(LayoutError):
        mhcdiag.gain(write(tmp_path, tensors))


def test_a_site_with_other_streams_is_refused_by_name(tmp_path):
    other = "model.layers.1.hc_mlp_layer.hc_pre.hc_base"
    tensors = hy_v4_tensors() | {other: torch.zeros(2 * STREAMS + 1)}
    with pytest.raises(LayoutError, match=rf"tensor {other} has shape \[9\]; expected the same number of streams"):
        mhcdiag.gain(write(tmp_path, tensors))


def test_a_config_with_other_streams_is_believed_over_the_rows(tmp_path):
    with pytest.raises(LayoutError):
        mhcdiag.gain(write(tmp_path, hy_v4_tensors(), config={"model_type": "hy_v4", "hc_mult": 3}))

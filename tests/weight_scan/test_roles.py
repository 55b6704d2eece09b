"""Which tensors are the same matrix of other layers, and which numbers in a name count layers and experts."""

import pytest

from mhcdiag.weight_scan.parts import Part
from mhcdiag.weight_scan.roles import placed

NAMES = {
    "model.layers.3.mlp.up_proj.weight": ("model.layers.*.mlp.up_proj.weight", 3, None),
    "transformer.h.11.attn.c_attn.weight": ("transformer.h.*.attn.c_attn.weight", 11, None),
    "blk.7.ffn_up.weight": ("blk.*.ffn_up.weight", 7, None),
    "model.layers.1.block_sparse_moe.experts.5.w1.weight": (
        "model.layers.*.block_sparse_moe.experts.*.w1.weight", 1, 5,
    ),
    "model.layers.1.block_sparse_moe.experts.5.w3.weight": (
        "model.layers.*.block_sparse_moe.experts.*.w3.weight", 1, 5,
    ),
    "decoder.layers.2.mlp.experts.linear_fc1.weight9": ("decoder.layers.*.mlp.experts.linear_fc1.weight*", 2, 9),
    "encoder.block.1.layer.1.mlp.experts.expert_3.wi.weight": (
        "encoder.block.*.layer.*.mlp.experts.expert_*.wi.weight", 1, 3,
    ),
    "model.norm.weight": ("model.norm.weight", None, None),
    "head.0.weight": ("head.0.weight", None, None),
    "head.2.weight": ("head.2.weight", None, None),
    "mixers.0.beta": ("mixers.*.beta", 0, None),
    "mixers.1.beta": ("mixers.*.beta", 1, None),
    "mixers.2.beta": ("mixers.*.beta", 2, None),
    "model.layers.0.w.weight (rank 1)": ("model.layers.*.w.weight (rank *)", 0, None),
}  # fmt: skip


def test_numbers_of_layers_and_experts_are_told_from_others() -> None:
    parts = [(Part(tensor=name, index=(), stream=None), None) for name in NAMES]  # type: ignore[arg-type]
    found = {one.name: (one.role, one.layer, one.expert) for one in placed(parts)}  # type: ignore[arg-type]
    assert found == NAMES


@pytest.mark.parametrize("digits", [30, 5000])
def test_a_number_without_end_is_cut(digits: int) -> None:
    part = Part(tensor=f"layers.{'9' * digits}.w", index=(), stream=None)  # type: ignore[arg-type]
    (found,) = placed([(part, None)])  # type: ignore[list-item]
    assert (found.role, found.layer) == ("layers.*.w", 999_999_999)


def test_an_expert_of_a_stacked_tensor_has_the_number_of_its_index() -> None:
    part = Part(tensor="model.layers.4.mlp.experts.down_proj", index=(6,), stream=None)  # type: ignore[arg-type]
    (found,) = placed([(part, None)])  # type: ignore[list-item]
    assert (found.role, found.layer, found.expert) == ("model.layers.*.mlp.experts.down_proj[*]", 4, 6)
    assert found.name == "model.layers.4.mlp.experts.down_proj[6]"

"""What families take for granted where a checkpoint does not say, and parameters that some of its sites lack."""

import numpy as np
import pytest
import torch
from layouts.fused_families import gguf, telechat
from layouts.separate_families import mhc_cu, tokenbender
from stacks import CONFIG, deepseek_v4_tensors, hyper_connections_tensors, write

import mhcdiag
from mhcdiag.errors import LayoutError


def written(tmp_path, model, *, without: str = "", config=None):
    tensors = {
        name: torch.tensor(value, dtype=torch.float32).contiguous()
        for name, value in model.tensors.items()
        if name != without
    }
    return write(tmp_path, tensors, config=config)


def test_logits_of_telechat_are_cut_off_at_30(tmp_path):
    """From its code; a logit of 60 beside 45 is as good as equal."""
    model = telechat()
    for name in model.tensors:
        if name.endswith(".bias"):
            model.tensors[name] = np.tile([60.0, 45.0, 45.0], 5)
    config = {"mhc_sinkhorn_iterations": 2, "num_hidden_layers": 2}
    result = mhcdiag.gain(written(tmp_path, model, config=config), inputs="static")
    np.testing.assert_allclose(result.mean_mappings[0], np.full((3, 3), 1 / 3), atol=1e-6)


def test_the_eps_of_llama_cpp_is_1e_6(tmp_path):
    config = {"general.architecture": "deepseek4", "num_hidden_layers": 2, "hyper_connection.sinkhorn_iterations": 2}
    result = mhcdiag.gain(written(tmp_path, gguf(), config=config))
    assert [one for one in result.assumed if "eps" in one] == [
        "Sinkhorn eps: 1e-06 (not in config.json; --sinkhorn-eps)"
    ]


def test_the_eps_of_mhc_cu_is_1e_5(tmp_path):
    """A guard that skips rows whose sum is below it: only a matrix of tiny entries shows it."""
    model = mhc_cu(dynamic=False)
    for name in model.tensors:
        if name.endswith("H_res"):
            model.tensors[name] = np.full((3, 3), np.log(1.5e-5 / 3))
    path = written(tmp_path, model)
    normalised = mhcdiag.gain(path, inputs="static", sinkhorn_iters=1)
    np.testing.assert_allclose(normalised.mean_mappings[0], np.full((3, 3), 1 / 3), rtol=1e-5)
    left = mhcdiag.gain(path, inputs="static", sinkhorn_iters=1, sinkhorn_eps=2e-5)
    np.testing.assert_allclose(left.mean_mappings[0], np.full((3, 3), 0.5e-5), rtol=1e-5)


def test_one_dynamic_site_of_mhc_cu_makes_all_of_them_dynamic(tmp_path):
    path = written(tmp_path, mhc_cu(dynamic=True), without="layers.2.phi_res")
    with pytest.raises(LayoutError, match=r"module layers\.2\. has .*b_res.* but no phi_res"):
        mhcdiag.gain(path)


def test_a_blend_of_tokenbender_without_its_logits_is_refused(tmp_path):
    model = tokenbender({"sinkhorn_tau": 0.7, "sinkhorn_iters": 2}, identity_mix=True)
    lost = next(name for name in model.tensors if name.endswith("H_res_logits"))
    with pytest.raises(LayoutError, match="but no H_res_logits"):
        mhcdiag.gain(written(tmp_path, model, without=lost, config=model.config))


@pytest.mark.parametrize("bypass", [True, False])
def test_a_bypass_of_tokenbender_is_said_to_be_left_out(tmp_path, bypass: bool):
    model = tokenbender({"sinkhorn_tau": 0.7, "sinkhorn_iters": 2, "mhc_bypass_stream": bypass})
    notes = mhcdiag.gain(written(tmp_path, model, config=model.config)).notes
    assert any("bypass stream" in note for note in notes) is bypass


def test_one_module_with_a_layer_norm_is_not_lucidrains(tmp_path):
    """ByteDance's parameters have the same names; the norm beside any of them gives them away."""
    tensors = hyper_connections_tensors() | {"layers.0.attn.layer_norm.weight": torch.ones(7)}
    with pytest.raises(LayoutError):
        mhcdiag.gain(write(tmp_path, tensors))


def test_a_projection_with_one_axis_is_refused_by_name(tmp_path):
    config = {key: value for key, value in CONFIG.items() if key != "hidden_size"}
    tensors = deepseek_v4_tensors() | {"layers.1.hc_attn_fn": torch.zeros(8)}
    with pytest.raises(LayoutError, match=r"tensor layers\.1\.hc_attn_fn has shape \[8\]; expected \[8, 8\]"):
        mhcdiag.gain(write(tmp_path, tensors, config=config))

"""Which way round a mixing matrix is used, told by the packages' own layers with the branches at zero."""

import numpy as np
import pytest
import torch
from packages import lucidrains_stacks, transformers_models
from packages.transformers_hooks import push_streams
from packages.transformers_models import DEEPSEEK_V4, GLM5_NEXT, Family


def errors(maps: np.ndarray, before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Largest error per site of x_new = H x."""
    return abs(maps @ before - after).max((1, 2, 3))


@pytest.mark.parametrize(
    ("name", "family", "streams", "rounding"),
    [
        ("deepseek_v4", DEEPSEEK_V4, 4, 1e-6),
        ("deepseek_v4_three_streams", DEEPSEEK_V4, 3, 1e-6),
        ("deepseek_v4_two_streams", DEEPSEEK_V4, 2, 1e-6),
        ("glm5_next", GLM5_NEXT, 4, 0.05),  # its streams are BF16
    ],
)
def test_comb_is_applied_transposed(build_case, name: str, family: Family, streams: int, rounding: float):
    push = push_streams(build_case(name).model, family, streams=streams, seed=1)
    comb = np.stack([output[1].flatten(0, 1).float().numpy() for output in push.mixer_outputs])
    assert errors(comb.swapaxes(-1, -2), push.before, push.after).max() <= rounding
    assert errors(comb, push.before, push.after).min() > 0.2


@pytest.mark.parametrize(
    "kind", ["hc", "hc_without_tanh", "hc_views", "mhc", "mhc_proposals", "mhc_v2", "mhc_v2_mixed_norm"]
)
def test_the_matrix_read_off_a_wrapper_is_what_it_applies(kind: str):
    model = lucidrains_stacks.stack(kind, sites=4, streams=3, dim=7, seed=3)
    for _, wrapper in model.wrappers():
        wrapper.branch = Silent()
        streams = torch.randn(2, 5, 3, 7)
        maps = lucidrains_stacks.mixing(model, wrapper, streams)[None]
        before = streams.flatten(0, 1).numpy()[None]
        with torch.no_grad():
            after = model.unpack(wrapper(model.pack(streams))).flatten(0, 1).numpy()[None]
        assert errors(maps, before, after) <= 1e-5
        assert errors(maps.swapaxes(-1, -2), before, after) > 0.05


class Silent(torch.nn.Module):
    """A branch that adds nothing."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.zeros_like(x[0] if x.ndim == 4 else x)


@pytest.mark.parametrize("streams", [2, 4])
def test_hy_v4_leaves_its_streams_apart(streams: int):
    model = transformers_models.hy_v4(layers=3, hidden=20, streams=streams, seed=1)
    push = push_streams(model, transformers_models.HY_V4, streams=streams, seed=2)
    assert push.before.shape[0] == 6
    np.testing.assert_array_equal(push.after, push.before)


def test_qwen4_exp_leaves_its_streams_apart():
    model = transformers_models.qwen4_exp(layers=4, hidden=20, streams=3, seed=1)
    push = push_streams(model, transformers_models.QWEN4_EXP, streams=3, seed=2)
    assert push.before.shape[0] == 8
    np.testing.assert_array_equal(push.after, push.before)

"""Where DeepSeek-V4's settings come from, and which slices are the residual ones."""

import pytest
import torch
from stacks import CONFIG, deepseek_v4_tensors, write

from mhcdiag.layouts import recognise
from mhcdiag.layouts.interface import Overrides
from mhcdiag.layouts.readings import ParametricReading
from mhcdiag.mappings.interface import Orientation
from mhcdiag.tensorfiles import open_checkpoint

STREAMS, WIDTH = 3, 5
OWN = {"hc_mult": STREAMS, "hidden_size": WIDTH}


def read(tmp_path, *, without: tuple[str, ...] = (), settings: Overrides | None = None, **config) -> ParametricReading:
    known = {key: value for key, value in (CONFIG | OWN | config).items() if key not in without}
    checkpoint = open_checkpoint(write(tmp_path, deepseek_v4_tensors(streams=STREAMS, width=WIDTH), config=known))
    layout, recognition = recognise(checkpoint)
    return layout.read(checkpoint, recognition, settings or Overrides(), dynamic=True)


def test_the_configuration_says_iterations_and_both_eps(tmp_path):
    reading = read(tmp_path, hc_sinkhorn_iters=7, hc_eps=3e-4, rms_norm_eps=5e-3)
    recipe = reading.parameters.recipe
    assert (recipe.constraint.iterations, recipe.constraint.eps, recipe.norm.eps) == (7, 3e-4, 5e-3)
    assert (recipe.norm.per_stream, recipe.norm.clamped) == (False, False)
    assert recipe.orientation is Orientation.SOURCE_ROWS
    assert reading.assumed == ()


def test_the_user_has_the_last_word(tmp_path):
    settings = Overrides(sinkhorn_iters=2, sinkhorn_eps=0.0, orientation=Orientation.TARGET_ROWS)
    recipe = read(tmp_path, settings=settings).parameters.recipe
    assert (recipe.constraint.iterations, recipe.constraint.eps) == (2, 0.0)
    assert recipe.orientation is Orientation.TARGET_ROWS


@pytest.mark.parametrize(
    ("key", "default", "said"),
    [
        ("hc_sinkhorn_iters", 20, "Sinkhorn iterations: 20 (not in config.json; --sinkhorn-iters)"),
        ("hc_eps", 1e-6, "Sinkhorn eps: 1e-06 (not in config.json; --sinkhorn-eps)"),
        ("rms_norm_eps", 1e-6, "eps of the input norm: 1e-06 (not in config.json)"),
    ],
)
def test_what_is_not_said_is_assumed_aloud(tmp_path, key: str, default: float, said: str):
    changed = {"hc_sinkhorn_iters": 7, "hc_eps": 3e-4, "rms_norm_eps": 5e-3}
    reading = read(tmp_path, without=(key,), **changed)
    recipe = reading.parameters.recipe
    found = {
        "hc_sinkhorn_iters": recipe.constraint.iterations,
        "hc_eps": recipe.constraint.eps,
        "rms_norm_eps": recipe.norm.eps,
    }
    assert found == changed | {key: default}
    assert reading.assumed == (said,)


def test_the_older_key_of_the_norm_counts_too(tmp_path):
    assert read(tmp_path, without=("rms_norm_eps",), norm_eps=2e-3).parameters.recipe.norm.eps == 2e-3


def test_residual_entries_come_after_pre_and_post(tmp_path):
    tensors = deepseek_v4_tensors(streams=STREAMS, width=WIDTH)
    parameters = read(tmp_path).parameters
    names = [f"layers.{site // 2}.hc_{('attn', 'ffn')[site % 2]}_" for site in range(6)]
    for site, name in enumerate(names):
        expected = tensors[f"{name}base"][6:].reshape(STREAMS, STREAMS)
        assert torch.equal(parameters.base[site], expected)
        assert parameters.scale[site] == tensors[f"{name}scale"][2]
        weight = tensors[f"{name}fn"][6:].double()
        triangle = parameters.factors[site].triangle
        torch.testing.assert_close(triangle.T @ triangle, weight @ weight.T, rtol=1e-9, atol=1e-9)

"""`mhcdiag.conformance` on the packages' own mixers, applied rightly and wrongly."""

import pytest
import torch
from packages import transformers_models
from packages.transformers_models import DEEPSEEK_V4

import mhcdiag
from mhcdiag.errors import SettingError

CONFIG = {"hc_sinkhorn_iters": 20, "hc_eps": 1e-6, "rms_norm_eps": 1e-6, "num_hidden_layers": 1}


@pytest.fixture(scope="module")
def mixer() -> torch.nn.Module:
    model = transformers_models.deepseek_v4(layers=3, hidden=20, seed=1)
    return transformers_models.mixers(model, DEEPSEEK_V4)[0][1]


def comb(mixer: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
    return mixer(x[None])[1][0]


def test_the_transformers_mixer_conforms(mixer):
    right = mhcdiag.conformance(mixer, "deepseek-v4", apply=lambda x: comb(mixer, x).mT @ x, config=CONFIG)
    assert right.findings == ()
    assert right.overall["as it is"] < 1e-5


@pytest.mark.parametrize(
    ("wrong", "found"),
    [
        (lambda mixer, x: comb(mixer, x) @ x, "H is applied transposed"),
        (lambda _, x: x, "the streams are never mixed"),
        (lambda mixer, x: comb(mixer, x).mT @ x.flip(1), "x_out follows neither"),
    ],
)
def test_the_bugs_of_the_last_year_are_named(mixer, wrong, found: str):
    result = mhcdiag.conformance(mixer, "deepseek-v4", apply=lambda x: wrong(mixer, x), config=CONFIG)
    assert [finding.severity for finding in result.findings] == ["fail"]
    assert found in result.findings[0].what


def test_another_shape_is_refused(mixer):
    with pytest.raises(SettingError, match="give apply="):
        mhcdiag.conformance(mixer, "deepseek-v4", apply=lambda x: x[:1], config=CONFIG)


def test_a_layout_without_one_projection_is_refused(build_case):
    wrapper = dict(build_case("hc").model.wrappers())
    with pytest.raises(SettingError, match="layout hyper-connections cannot be compared"):
        mhcdiag.conformance(next(iter(wrapper.values())), "hyper-connections")

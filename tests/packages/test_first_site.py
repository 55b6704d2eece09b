"""`--inputs embedding` against what the first attention mixer of a transformers model returns, token id by token id."""

import numpy as np
import pytest
import torch
from packages.transformers_hooks import captured_maps
from packages.transformers_models import DEEPSEEK_V4, GLM5_NEXT, VOCABULARY
from reference import disagreements, reference

import mhcdiag
from mhcdiag.errors import LayoutError, SettingError


@pytest.mark.parametrize(("name", "family"), [("deepseek_v4_three_streams", DEEPSEEK_V4), ("glm5_next", GLM5_NEXT)])
@pytest.mark.parametrize("tokens", [VOCABULARY, 7])
def test_the_first_site_is_exact_for_every_token_id(build_case, name: str, family, tokens: int):
    case = build_case(name)
    ids = torch.arange(VOCABULARY)[None]
    first = captured_maps(case.model, family, ids)[:1, :tokens]
    result = mhcdiag.gain(case.path, inputs="embedding", tokens=tokens)
    assert (result.sites, result.tokens, result.inputs) == (("0.attn",), tokens, "embedding")
    assert disagreements(result, reference(first), relative=1e-5 if name != "glm5_next" else 0.02) == []
    assert np.ptp(np.abs(first).sum(-2).max(-1)) > 1e-3  # tokens differ, so that a wrong row would show


def test_more_tokens_than_there_are_take_all(build_case):
    assert mhcdiag.gain(build_case("deepseek_v4").path, inputs="embedding", tokens=10**6).tokens == VOCABULARY


def test_other_layouts_say_so(build_case):
    with pytest.raises(SettingError, match="inputs 'embedding' do not exist for layout hyper-connections"):
        mhcdiag.gain(build_case("hc").path, inputs="embedding")


def test_sites_without_the_first_are_refused(build_case):
    with pytest.raises(SettingError, match="--sites leaves it out"):
        mhcdiag.gain(build_case("deepseek_v4").path, inputs="embedding", sites=(2, 3))


def test_a_checkpoint_without_embedding_is_refused():
    with pytest.raises(LayoutError, match=r"embeddings: none; expected one of shape \[vocabulary, 32\]"):
        mhcdiag.gain("sample_checkpoints/deepseek_v4", inputs="embedding")

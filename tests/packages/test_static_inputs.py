"""Static inputs against the packages' own modules with the input-dependent part set to zero inside them."""

from pathlib import Path

import pytest
import torch
from reference import disagreements, reference

import mhcdiag


def test_static_inputs_give_the_numbers_of_the_modules(case):
    result = mhcdiag.gain(case.path, inputs="static", **case.iterations)
    assert disagreements(result, case.static_reference) == []
    assert result.inputs == "static"
    assert result.tokens == 1
    assert result.streams == case.static.shape[-1]
    assert not result.skipped
    assert not result.nonfinite


def test_sites_stand_in_the_order_in_which_the_model_runs_them(case):
    result = mhcdiag.gain(case.path, inputs="static")
    kinds = {"attn_hc": "hc_attn", "ffn_hc": "hc_ffn"}
    for module, tensor in zip(case.modules, result.tensors, strict=True):
        parent, _, kind = module.rpartition(".")
        assert tensor.startswith((f"{module}.", f"{parent}.{kinds.get(kind, kind)}_"))


@pytest.mark.parametrize(
    ("name", "names"),
    [
        ("deepseek_v4", ("0.attn", "0.ffn", "1.attn", "1.ffn", "2.attn", "2.ffn")),
        ("glm5_next", ("0.attn", "0.ffn", "1.attn", "1.ffn", "2.attn", "2.ffn", "3.attn", "3.ffn")),
        ("mhc_eight_streams", ("0.attn", "0.ffn", "1.attn", "1.ffn")),
    ],
)
def test_site_names(build_case, name: str, names: tuple[str, ...]):
    assert mhcdiag.gain(build_case(name).path, inputs="static").sites == names


def test_a_checkpoint_that_says_everything_leaves_nothing_to_assume(build_case):
    assert mhcdiag.gain(build_case("deepseek_v4").path, inputs="static").assumed == ()
    assert mhcdiag.gain(build_case("glm5_next").path, inputs="static").assumed == ()


def test_what_the_state_dict_does_not_say_is_assumed_aloud(build_case):
    assert any("tanh" in said for said in mhcdiag.gain(build_case("hc").path, inputs="random", tokens=7).assumed)
    assert any("iterations: 20" in said for said in mhcdiag.gain(build_case("mhc").path, inputs="static").assumed)
    numbered = mhcdiag.gain(build_case("mhc_numbered").path, inputs="static")
    assert any("order" in said for said in numbered.assumed)


@pytest.mark.parametrize("name", ["hc", "hc_numbered", "mhc", "mhc_v2_proposals"])
@pytest.mark.parametrize("nesting", ["bare", "trainer", "compiled"])
def test_pickled_state_dicts_give_the_same_numbers(build_case, name: str, nesting: str, tmp_path: Path):
    case = build_case(name)
    state = case.model.state_dict()
    if nesting == "compiled":
        state = {f"_orig_mod.{key}": value for key, value in state.items()}
    if nesting != "bare":
        optimizer = torch.optim.AdamW(case.model.parameters()).state_dict()
        state = {"model": state, "optimizer": optimizer, "step": 7}
    torch.save(state, tmp_path / "checkpoint.pt")
    result = mhcdiag.gain(tmp_path / "checkpoint.pt", inputs="static")
    assert disagreements(result, case.static_reference) == []
    assert result.sites == mhcdiag.gain(case.path, inputs="static").sites


@pytest.mark.parametrize("name", ["deepseek_v4_three_streams", "hc", "mhc"])
def test_the_other_orientation_is_the_transposed_mapping(build_case, name: str):
    case = build_case(name)
    result = mhcdiag.gain(case.path, inputs="static", orientation="target-rows")
    assert disagreements(result, reference(case.static.swapaxes(-1, -2))) == []


def test_some_of_the_sites(build_case):
    case = build_case("deepseek_v4_deep")
    result = mhcdiag.gain(case.path, inputs="static", sites=(4, 19))
    assert disagreements(result, reference(case.static[3:19])) == []
    assert (result.sites[0], result.sites[-1]) == ("1.ffn", "9.attn")

"""Which layout is found, and what is refused by name."""

import json

import pytest
import torch
from stacks import CONFIG, captured_tensors, deepseek_v4_tensors, hyper_connections_tensors, write

import mhcdiag
from mhcdiag.errors import LayoutError, SettingError
from mhcdiag.layouts import LAYOUTS, find_mixers, is_mixer_name
from mhcdiag.tensorfiles import open_checkpoint


def test_every_layout_has_a_name_of_its_own_and_a_source():
    assert len({layout.name for layout in LAYOUTS}) == len(LAYOUTS)
    assert all(layout.source for layout in LAYOUTS)


@pytest.mark.parametrize(
    "name",
    ["layers.0.hc_fn", "model.mhc.0.phi", "blocks.3.H_res_logits", "a.b_res", "streams", "x.stream0.w",
     "hyper_connection.w", "self_attn.static_alpha", "attn-hc", "decoder.layers.0.mapping_proj.weight"],
)  # fmt: skip
def test_what_looks_like_a_mixer(name: str):
    assert is_mixer_name(name)


@pytest.mark.parametrize(
    "name",
    ["model.layers.0.self_attn.q_proj.weight", "downstream.weight", "hcx", "upstreams", "mlp.h_residual", "hca.kv"],
)
def test_what_does_not(name: str):
    assert not is_mixer_name(name)


def test_switched_off_keys_do_not_look_like_mixers(tmp_path):
    config = {"mhc": False, "hc_mult": None, "text_config": {"hc_count": 4, "hidden_size": 8}, "upstream": 1}
    checkpoint = open_checkpoint(write(tmp_path, {"layers.0.w": torch.zeros(2)}, config=config))
    assert find_mixers(checkpoint).config_keys == ("text_config.hc_count",)


def test_an_ordinary_model_is_plain(tmp_path):
    tensors = {f"model.layers.{i}.mlp.weight": torch.zeros(2, 2) for i in range(11)}
    result = mhcdiag.gain(write(tmp_path, tensors, config={"model_type": "llama"}))
    assert (result.layout, result.streams, len(result.sites)) == ("plain", 1, 11)
    assert result.sites[2] == "model.layers.2"
    assert set(result.curve("prefix", "backward", "norm", "max")) == {1.0}


def test_an_unknown_mixer_is_refused_by_name(tmp_path):
    tensors = {"layers.0.w": torch.zeros(2), "layers.0.my_h_res": torch.zeros(4, 4)}
    with pytest.raises(LayoutError, match=r"what looks like a mixer: tensor layers\.0\.my_h_res \[4, 4\]"):
        mhcdiag.gain(write(tmp_path, tensors))


def test_an_ordinary_model_with_a_mixing_config_is_refused(tmp_path):
    tensors = {"layers.0.w": torch.zeros(2)}
    with pytest.raises(LayoutError, match="config key hc_mult"):
        mhcdiag.gain(write(tmp_path, tensors, config={"hc_mult": 4}))


def test_tensors_without_blocks_are_no_model(tmp_path):
    with pytest.raises(LayoutError, match=r"no blocks of a model that is known among 1 tensors \(weight\)"):
        mhcdiag.gain(write(tmp_path, {"weight": torch.zeros(2)}))


def test_two_layouts_in_one_file_are_both_named(tmp_path):
    tensors = deepseek_v4_tensors() | hyper_connections_tensors()
    with pytest.raises(LayoutError, match="layouts deepseek-v4 and hyper-connections both fit") as refused:
        mhcdiag.gain(write(tmp_path, tensors, config=CONFIG))
    result = mhcdiag.gain(tmp_path, layout="hyper-connections", inputs="static")
    gains = [result.curve("prefix", direction, "norm")[-1] for direction in ("forward", "backward")]
    assert f"{gains[0]:.4g} / {gains[1]:.4g} as hyper-connections); choose one by --layout" in str(refused.value)
    assert mhcdiag.gain(tmp_path, layout="hyper-connections").layout == "hyper-connections"


def test_a_layout_that_does_not_exist_is_refused_with_those_that_do(tmp_path):
    with pytest.raises(SettingError, match=r"there is no layout 'v4'; known: deepseek-v4, deepseek-v4\.1, "):
        mhcdiag.gain(write(tmp_path, deepseek_v4_tensors(), config=CONFIG), layout="v4")


def without(tensors, *prefixes: str):
    return {name: tensor for name, tensor in tensors.items() if not name.startswith(prefixes)}


def test_a_layer_missing_in_the_middle_is_named(tmp_path):
    tensors = without(deepseek_v4_tensors(), "layers.1.")
    with pytest.raises(LayoutError, match="layer 1 has no hc_attn tensors; expected every layer from 0 to 2"):
        mhcdiag.gain(write(tmp_path, tensors, config=CONFIG))


def test_missing_last_layers_are_named(tmp_path):
    with pytest.raises(LayoutError, match="layers 1, 2 have no hc_attn tensors"):
        mhcdiag.gain(write(tmp_path, deepseek_v4_tensors(layers=1), config=CONFIG))


def test_a_missing_site_is_named(tmp_path):
    tensors = without(deepseek_v4_tensors(), "layers.2.hc_ffn")
    with pytest.raises(LayoutError, match="layer 2 has no hc_ffn tensors"):
        mhcdiag.gain(write(tmp_path, tensors, config=CONFIG))


@pytest.mark.parametrize("role", ["fn", "base", "scale"])
def test_a_missing_tensor_is_named(tmp_path, role: str):
    tensors = without(deepseek_v4_tensors(), f"layers.1.hc_ffn_{role}")
    with pytest.raises(LayoutError, match=rf"layer 1 has layers\.1\.hc_ffn_\w+ but no {role} beside it"):
        mhcdiag.gain(write(tmp_path, tensors, config=CONFIG))


@pytest.mark.parametrize(
    ("name", "shape", "expected"),
    [
        ("layers.1.hc_attn_base", (9,), r"has shape \[9\]; expected \[8\] \(n \* \(n \+ 2\) for n = 2"),
        ("layers.1.hc_attn_scale", (2,), r"has shape \[2\]; expected \[3\]"),
        ("layers.1.hc_attn_fn", (8, 13), r"has shape \[8, 13\]; expected \[8, 14\]"),
        ("layers.1.hc_attn_fn", (14, 8), r"has shape \[14, 8\]; expected \[8, 14\]"),
    ],
)
def test_a_wrong_shape_is_named_with_the_right_one(tmp_path, name: str, shape: tuple[int, ...], expected: str):
    tensors = deepseek_v4_tensors() | {name: torch.zeros(shape)}
    with pytest.raises(LayoutError, match=rf"tensor {name} {expected}"):
        mhcdiag.gain(write(tmp_path, tensors, config=CONFIG))


def test_streams_that_contradict_the_config_are_refused(tmp_path):
    with pytest.raises(LayoutError, match="for n = 4 streams"):
        mhcdiag.gain(write(tmp_path, deepseek_v4_tensors(), config=CONFIG | {"hc_mult": 4}))


@pytest.mark.parametrize("value", ["20", 0, -1, 2.5, True])
def test_a_wrong_type_in_the_config_is_refused(tmp_path, value: object):
    with pytest.raises(LayoutError, match=r"config\.json says hc_sinkhorn_iters = .*; expected a whole number"):
        mhcdiag.gain(write(tmp_path, deepseek_v4_tensors(), config=CONFIG | {"hc_sinkhorn_iters": value}))


def test_integer_mixing_tensors_are_refused(tmp_path):
    tensors = deepseek_v4_tensors()
    tensors["layers.0.hc_attn_base"] = torch.zeros(8, dtype=torch.int8)
    with pytest.raises(LayoutError, match=r"hc_attn_base has element type I8; expected a floating-point"):
        mhcdiag.gain(write(tmp_path, tensors, config=CONFIG))


def test_a_lucidrains_module_missing_whole_is_named(tmp_path):
    tensors = without(hyper_connections_tensors(sites=8), "layers.2.")
    with pytest.raises(LayoutError, match=r"no tensor of layers\.2, between layers\.0 and layers\.3"):
        mhcdiag.gain(write(tmp_path, tensors))


def test_a_lucidrains_site_missing_in_part_is_named(tmp_path):
    tensors = without(hyper_connections_tensors(), "layers.1.attn.dynamic_alpha_fn")
    with pytest.raises(LayoutError, match=r"module layers\.1\.attn\. has .* but no dynamic_alpha_fn"):
        mhcdiag.gain(write(tmp_path, tensors))


def test_fractions_are_refused(tmp_path):
    tensors = hyper_connections_tensors()
    for name in tensors:
        if name.endswith("dynamic_beta_fn"):
            tensors[name] = torch.zeros(7, 2)
    with pytest.raises(LayoutError, match="2 fractions"):
        mhcdiag.gain(write(tmp_path, tensors))


def test_settings_that_mean_nothing_are_refused(tmp_path):
    path = write(tmp_path, hyper_connections_tensors())
    with pytest.raises(SettingError, match="--sinkhorn-iters means nothing for layout hyper-connections"):
        mhcdiag.gain(path, sinkhorn_iters=3)


class TestCaptured:
    """The interchange format."""

    maps = torch.rand(4, 5, 3, 3, generator=torch.Generator().manual_seed(0))

    def test_default_names(self, tmp_path):
        assert mhcdiag.gain(write(tmp_path, captured_tensors(self.maps))).sites == (
            "0.attn",
            "0.ffn",
            "1.attn",
            "1.ffn",
        )

    def test_names_and_first_tokens_from_metadata(self, tmp_path):
        metadata = {"sites": json.dumps(["a", "b", "c", "d"]), "first_tokens": "[0, 3]"}
        result = mhcdiag.gain(write(tmp_path, captured_tensors(self.maps), metadata=metadata))
        assert result.sites == ("a", "b", "c", "d")
        assert ("single", "forward", "norm", "mean_without_first") in result.gain

    def test_one_matrix_for_all_tokens(self, tmp_path):
        result = mhcdiag.gain(write(tmp_path, captured_tensors(self.maps[:, 0])))
        assert result.tokens == 1
        assert result.curve("single", "forward", "norm")[2] == pytest.approx(float(self.maps[2, 0].sum(dim=1).max()))

    @pytest.mark.parametrize(
        ("metadata", "message"),
        [
            ({"sites": "[1"}, "'sites' is not JSON"),
            ({"sites": '{"a": 1}'}, "'sites' is no list"),
            ({"sites": '["a"]'}, "'sites' lists 1 entries; expected a JSON list of 4 different names"),
            ({"sites": '["a", "a", "b", "c"]'}, "'sites' lists 4 entries"),
            ({"first_tokens": "[5]"}, "'first_tokens' holds something else"),
            ({"first_tokens": "[true]"}, "'first_tokens' holds something else"),
        ],
    )
    def test_bad_metadata_is_refused(self, tmp_path, metadata: dict[str, str], message: str):
        with pytest.raises(LayoutError, match=message):
            mhcdiag.gain(write(tmp_path, captured_tensors(self.maps), metadata=metadata))

    def test_a_missing_site_is_named(self, tmp_path):
        tensors = without(captured_tensors(self.maps), "layers.2.")
        with pytest.raises(LayoutError, match="layer 2 has no h_res"):
            mhcdiag.gain(write(tmp_path, tensors))

    @pytest.mark.parametrize("shape", [(6, 3, 3), (5, 2, 2), (5, 3, 2), (3,)])
    def test_unequal_shapes_are_refused(self, tmp_path, shape: tuple[int, ...]):
        tensors = captured_tensors(self.maps) | {"layers.3.h_res": torch.zeros(shape)}
        with pytest.raises(LayoutError, match=r"layers\.\d\.h_res has shape"):
            mhcdiag.gain(write(tmp_path, tensors))

    def test_no_tokens_are_refused(self, tmp_path):
        with pytest.raises(LayoutError, match="is empty"):
            mhcdiag.gain(write(tmp_path, captured_tensors(self.maps[:, :0])))

    def test_inputs_cannot_be_chosen(self, tmp_path):
        with pytest.raises(SettingError, match="inputs 'static' do not exist for layout captured"):
            mhcdiag.gain(write(tmp_path, captured_tensors(self.maps)), inputs="static")

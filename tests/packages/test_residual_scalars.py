"""Factors on the stream against running models with silent branches, channel by channel."""

from typing import Any

import pytest
import torch
from packages.tiny_transformers import as_checkpoint, build, config_of, silence, streams_through
from stacks import write
from torch import Tensor, nn

import mhcdiag
from mhcdiag.errors import LayoutError
from mhcdiag.layouts import recognise
from mhcdiag.layouts.interface import Overrides
from mhcdiag.layouts.readings import DiagonalReading
from mhcdiag.results.numbers import text
from mhcdiag.tensorfiles import open_checkpoint

FAMILIES = {
    # sites per block, whether a factor differs by channel, further configuration
    "doge": (2, True, {}),
    "gemma4_text": (1, False, {"vocab_size_per_layer_input": 99, "hidden_size_per_layer_input": 4}),
    "embedding_gemma2_text": (1, False, {}),
    "muse_spark_text": (2, True, {"residual_gate_temperature": 0.4}),
    "zaya": (2, True, {}),
    "beam": (2, False, {}),
}


def factors_of(path: Any) -> DiagonalReading:
    checkpoint = open_checkpoint(path)
    layout, recognition = recognise(checkpoint)
    assert layout.name == "residual-scalars"
    assert recognition.assumed == ()
    reading = layout.read(checkpoint, recognition, Overrides(), dynamic=True)
    assert isinstance(reading, DiagonalReading)
    return reading


@pytest.mark.parametrize("family", FAMILIES)
def test_composites_are_what_silent_blocks_do_to_each_channel(tmp_path, family: str):
    transformers = pytest.importorskip("transformers")
    if family not in transformers.CONFIG_MAPPING:
        pytest.skip(f"transformers {transformers.__version__} has no {family}")
    sites, by_channel, changes = FAMILIES[family]
    model = build(config_of(family, **changes))
    silence(model)
    (streams,) = streams_through(model).values()
    model.save_pretrained(tmp_path)
    reading = factors_of(tmp_path)
    assert (len(reading.stack.sites), reading.factors.shape[1] > 1) == (sites * len(streams), by_channel)
    factors = reading.factors.expand(-1, streams[0][0].shape[-1])
    for block, (given, left) in enumerate(streams):
        of_block = factors[sites * block : sites * (block + 1)].prod(dim=0)
        torch.testing.assert_close(left.double(), given.double() * of_block, rtol=1e-5, atol=1e-6)
    whole = factors.prod(dim=0)
    torch.testing.assert_close(streams[-1][1].double(), streams[0][0].double() * whole, rtol=1e-5, atol=1e-6)
    agree_with(tmp_path, factors)


def agree_with(path: Any, factors: Tensor) -> None:
    """Gain and health say the largest and the smallest product of these factors [site, channel]."""
    whole = factors.double().abs().prod(dim=0)
    result = mhcdiag.gain(path)
    for direction in ("forward", "backward"):
        for definition in ("norm", "amax"):
            curve = result.curve("prefix", direction, definition)
            expected = factors.double().abs().cumprod(dim=0).amax(dim=1).tolist()
            assert [float(number) for number in curve] == pytest.approx(expected, rel=1e-6)
        spans = [
            float(factors[a : b + 1].double().abs().prod(dim=0).max())
            for a in range(len(factors))
            for b in range(a, len(factors))
        ]
        assert float(result.worst[direction, "norm"].value) == pytest.approx(max(spans), rel=1e-6)
        assert float(result.bound[direction].worst) == pytest.approx(max(spans), rel=1e-6)
    note = next(note for note in result.notes if "multiplied by fixed factors" in note)
    assert text(float(whole.max())) in note
    (check,) = mhcdiag.health(path, only=["scales"]).checks
    assert check.overall["log_residual_product"] == pytest.approx(float(whole.log().max()), rel=1e-5, abs=1e-6)
    said = " ".join(finding.what for finding in check.findings)
    assert (f"multiply to {text(result.curve('prefix', 'forward', 'norm')[-1])}" in said) is bool(whole.max() > 10)


class Lambdas(nn.Module):
    """The trunk of nanochat with branches that write nothing, as its forward pass has it."""

    def __init__(self, resid: Tensor, x0: Tensor | None = None, backout: float | None = None) -> None:
        super().__init__()
        self.resid_lambdas = nn.Parameter(resid)
        if x0 is not None:
            self.x0_lambdas = nn.Parameter(x0)
        if backout is not None:
            self.backout_lambda = nn.Parameter(torch.tensor([backout]))
        blocks = [
            nn.ModuleDict({"attn": nn.ModuleDict({name: nn.Linear(4, 4, bias=False) for name in ("c_q", "c_proj")})})
            for _ in resid
        ]
        self.transformer = nn.ModuleDict({"h": nn.ModuleList(blocks), "wte": nn.Embedding(9, 4)})

    def forward(self, embedded: Tensor) -> Tensor:
        x, middle = embedded, embedded
        for layer in range(len(self.resid_lambdas)):
            for factor in self.resid_lambdas[layer].flatten():
                x = factor * x
            x = x + (self.x0_lambdas[layer] * embedded if hasattr(self, "x0_lambdas") else 0)
            middle = x if layer == len(self.resid_lambdas) // 2 else middle
        return x - (self.backout_lambda * middle if hasattr(self, "backout_lambda") else 0)


@pytest.mark.parametrize("columns", [(), (1,), (2,)])
def test_one_tensor_of_factors_for_all_layers(tmp_path, columns: tuple[int, ...]):
    resid = 0.6 + torch.rand(5, *columns, generator=torch.Generator().manual_seed(0)) * 1.5
    path = write(tmp_path, Lambdas(resid).state_dict())
    reading = factors_of(path)
    assert len(reading.stack.sites) == resid.numel()
    assert reading.stack.sites[0] == ("0.attn" if columns == (2,) else "0.layer")
    x = torch.randn(3, 4)
    torch.testing.assert_close(Lambdas(resid)(x), x * reading.factors.float().prod())
    agree_with(path, resid.reshape(-1, 1))
    assert reading.blocks == tuple(f"transformer.h.{layer}" for layer in range(5))


@pytest.mark.parametrize("backout", [None, 0.3])
def test_skips_beside_the_stream_are_noted_with_their_number(tmp_path, backout: float | None):
    generator = torch.Generator().manual_seed(1)
    resid, x0 = 0.8 + torch.rand(7, generator=generator), torch.rand(7, generator=generator)
    trunk = Lambdas(resid, x0, backout)
    path = write(tmp_path, trunk.state_dict())
    agree_with(path, resid[:, None])
    with torch.no_grad():
        reached = float(trunk(torch.ones(1)))
    (note,) = [note for note in mhcdiag.gain(path).notes if "the embedding is added again" in note]
    assert f"it leaves the last layer {reached:.4g} times" in note
    assert ("backout_lambda takes the stream of layer 3 off" in note) is (backout is not None)


@pytest.mark.parametrize(
    ("names", "sites"),
    [
        (("h.{}.gain_attn", "h.{}.gain_mlp"), ("0.attn", "0.ffn")),
        (("blk.{}.layer_output_scale.weight",), ("0.layer",)),
        (("attn_layers.layers.{}.2.residual_scale",), ("0.layer",)),
    ],
)
def test_other_spellings(tmp_path, names: tuple[str, ...], sites: tuple[str, ...]):
    values = {name.format(layer): torch.full((1,), 1.5 + layer) for layer in range(3) for name in names}
    branch = {"h": "attn.c_proj.weight", "blk": "attn_q.weight", "attn_layers": "1.to_q.weight"}
    stack = names[0].partition(".{}.")[0]
    tensors = values | {f"{stack}.0.{branch[stack.partition('.')[0]]}": torch.zeros(2, 2)}
    if stack == "blk":  # as llama.cpp writes Gemma 4
        tensors |= {f"blk.0.{name}.weight": torch.zeros(2, 2) for name in ("inp_gate", "proj")}
        tensors |= {"blk.0.post_norm.weight": torch.zeros(2), "per_layer_token_embd.weight": torch.zeros(9, 2)}
    config = {"general.architecture": "gemma4"} if "blk" in names[0] else None
    reading = factors_of(write(tmp_path, tensors, config=config))
    assert reading.stack.sites[: len(sites)] == sites
    assert reading.factors.flatten().tolist() == [value.item() for _, value in sorted(values.items())]


def test_lambdas_of_a_block_are_a_factor_and_a_skip(tmp_path):
    """modded-nanogpt: x = lambdas[0] x + lambdas[1] x0."""
    lambdas = torch.tensor([[1.2, 0.1], [0.9, 0.3], [1.5, -0.2]])
    tensors = {f"blocks.{i}.lambdas": lambdas[i].clone() for i in range(3)}
    tensors |= {f"blocks.{i}.mlp.c_fc.weight": torch.zeros(4, 4) for i in range(3)}
    reached = 1.0
    for factor, skip in lambdas.tolist():
        reached = factor * reached + skip
    reading = factors_of(write(tmp_path, tensors))
    assert reading.factors.flatten().tolist() == pytest.approx([1.2, 0.9, 1.5])
    assert f"{reached:.4g} times" in reading.notes[1]


def test_factors_of_one_are_a_gain_of_exactly_one(tmp_path):
    result = mhcdiag.gain(write(tmp_path, Lambdas(torch.ones(300)).state_dict()))
    assert set(result.curve("prefix", "forward", "norm")) == {1.0}
    assert result.worst["backward", "norm"].value == 1.0


def test_deep_stacks_do_not_overflow(tmp_path):
    result = mhcdiag.gain(write(tmp_path, Lambdas(torch.full((300,), 20.0)).state_dict()))
    assert result.curve("prefix", "forward", "norm")[-1].log10 == pytest.approx(300 * 1.3010299957, rel=1e-9)


@pytest.mark.parametrize(("value", "count"), [(float("nan"), 1), (float("inf"), 1), (0.0, 0)])
def test_broken_factors_are_named(tmp_path, value: float, count: int):
    resid = torch.tensor([1.0, value, 2.0])
    result = mhcdiag.gain(write(tmp_path, Lambdas(resid).state_dict()))
    assert [broken.site for broken in result.nonfinite] == ["1.layer"] * count
    assert result.curve("prefix", "forward", "norm")[0] == 1.0


def test_what_nothing_explains_beside_factors_is_refused(tmp_path):
    state = Lambdas(torch.ones(3)).state_dict()
    path = write(tmp_path, state | {f"transformer.h.{i}.mix": torch.ones(2, 2) for i in range(3)})
    with pytest.raises(
        LayoutError, match=r"factors on the stream \(resid_lambdas\), and beside them transformer\.h\.N\.mix"
    ):
        mhcdiag.gain(path)
    assert any("leave the stream alone (--assume plain)" in said for said in mhcdiag.gain(path, assume="plain").assumed)


@pytest.mark.parametrize(
    ("name", "shape", "what"),
    [
        ("skip_weights", (2,), "U-net skips"),
        ("mudd_w1", (2, 8, 4), "MUDD"),
        ("dense_bs.0", (4, 2), "MUDD"),
        ("dwa_modules.alphas.1", (3,), "DenseFormer"),
        ("weights.1.weight", (1, 3), "DenseFormer"),
        ("transformer.h.1.mlp_res_proj.weight", (1, 4), "Attention Residuals"),
        ("up_blocks.1.resnets.0.conv1.weight", (4, 4, 3, 3), "U-net skips"),
    ],
)
def test_skips_over_layers_leave_no_composite(tmp_path, name: str, shape: tuple[int, ...], what: str):
    path = write(tmp_path, Lambdas(torch.ones(3)).state_dict() | {name: torch.ones(shape)})
    with pytest.raises(LayoutError, match=rf"cross-layer: no fixed composite: .* \({what}: {name}"):
        mhcdiag.gain(path)
    found = mhcdiag.inspect(path)
    assert (found.layout, found.reason) == ("cross-layer", "")
    assert mhcdiag.health(path).layout == "cross-layer"


def test_a_skip_from_the_embedding_without_factors_is_one_too(tmp_path):
    state = Lambdas(torch.ones(3), torch.ones(3)).state_dict()
    del state["resid_lambdas"]
    with pytest.raises(LayoutError, match="each layer adds the embedding again"):
        mhcdiag.gain(write(tmp_path, state))


def test_a_family_that_was_not_read_is_assumed(tmp_path):
    tensors = {f"model.layers.{i}.layer_scalar": torch.full((1,), 2.0) for i in range(3)}
    tensors |= {f"model.layers.{i}.mlp.up_proj.weight": torch.zeros(2, 2) for i in range(3)}
    result = mhcdiag.gain(write(tmp_path, tensors, config={"model_type": "gemma9"}))
    assert result.curve("prefix", "forward", "norm")[-1] == 8.0
    assert any("(the code of model_type gemma9 was not read)" in said for said in result.assumed)


def test_a_missing_layer_is_named(tmp_path):
    tensors = {f"model.layers.{i}.layer_scalar": torch.ones(1) for i in (0, 2)}
    with pytest.raises(LayoutError, match=r"layer 1 has no factor on the stream \(layer\)"):
        mhcdiag.gain(write(tmp_path, tensors, config={"model_type": "gemma4_text", "num_hidden_layers": 3}))


def test_names_are_enough(tmp_path):
    """Nothing of a real checkpoint of Gemma 4 is left unexplained."""
    transformers = pytest.importorskip("transformers")
    if "gemma4_text" not in transformers.CONFIG_MAPPING:
        pytest.skip("no gemma4_text")
    checkpoint = as_checkpoint(build(config_of("gemma4_text"), device="meta"))
    assert recognise(checkpoint)[0].name == "residual-scalars"

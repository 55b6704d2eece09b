"""AltUp against the running Gemma 3n of `transformers`: silent branches, and the branches of real tokens."""

from typing import Any

import pytest
import torch
from torch import Tensor

import mhcdiag
from mhcdiag.layouts import recognise
from mhcdiag.layouts.interface import Overrides
from mhcdiag.layouts.readings import SampledReading
from mhcdiag.tensorfiles import open_checkpoint

pytest.importorskip("transformers")

LAYERS, WIDTH, TOKENS, VOCABULARY = 5, 24, 11, 64


def build(*, streams: int = 4, active: int = 0, spread: float = 0.4) -> Any:
    """A small model whose AltUp coefficients, norms and branches are all random."""
    from transformers import Gemma3nForCausalLM, Gemma3nTextConfig

    torch.manual_seed(3)
    config = Gemma3nTextConfig(
        vocab_size=VOCABULARY, vocab_size_per_layer_input=VOCABULARY, hidden_size=WIDTH, hidden_size_per_layer_input=4,
        intermediate_size=[16] * LAYERS, num_hidden_layers=LAYERS, num_attention_heads=2, num_key_value_heads=1,
        head_dim=12, num_kv_shared_layers=0, laurel_rank=2, activation_sparsity_pattern=[0.0] * LAYERS,
        layer_types=["full_attention"] * LAYERS, altup_num_inputs=streams, altup_active_idx=active,
        max_position_embeddings=64, pad_token_id=0, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    model = Gemma3nForCausalLM(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "coefs" in name:
                parameter.normal_(0, spread)
            elif "modality_router" in name:
                parameter.normal_(0, 3 * WIDTH**0.5)  # so that tanh is far from linear
            elif "norm" in name:
                parameter.uniform_(0.5, 1.5)
    return model.double()


def saved(model: Any, path: Any) -> Any:
    model.save_pretrained(path)
    return path


def reading_of(path: Any) -> Any:
    checkpoint = open_checkpoint(path)
    layout, recognition = recognise(checkpoint)
    assert layout.name == "altup"
    reading = layout.read(checkpoint, recognition, Overrides(), dynamic=True)
    assert isinstance(reading, SampledReading)
    return reading.draw(tokens=1, seed=0).parameters


def ran(model: Any) -> list[dict[str, Tensor]]:
    """What each layer's AltUp saw and gave on a sentence: streams [n, token, C] before and after both steps."""
    seen: list[dict[str, Tensor]] = []
    for layer in model.model.layers:
        altup = layer.altup
        predict, correct = altup.predict, altup.correct

        def predicting(streams: Tensor, predict: Any = predict) -> Tensor:
            seen.append({"x": streams[:, 0].clone()})
            return predict(streams)

        def correcting(predictions: Tensor, activated: Tensor, correct: Any = correct) -> Tensor:
            after = correct(predictions, activated)
            seen[-1] |= {"p": predictions[:, 0].clone(), "y": activated[0].clone(), "after": after[:, 0].clone()}
            return after

        altup.predict, altup.correct = predicting, correcting
    ids = torch.randint(3, VOCABULARY, (1, TOKENS), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        model(ids)
    return seen


def modalities(model: Any, layer: int, vector: Tensor) -> Tensor:
    with torch.no_grad():
        return model.model.layers[layer].altup.compute_router_modalities(vector)


@pytest.mark.parametrize(("streams", "active"), [(4, 0), (3, 2)])
def test_maps_are_what_the_layer_does_with_silent_branches(tmp_path, streams: int, active: int):
    model = build(streams=streams, active=active)
    parameters = reading_of(saved(model, tmp_path))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "layers" in name and "altup" not in name:
                parameter.zero_()
    for layer, step in enumerate(ran(model)):
        maps = parameters.sites[layer].maps(
            modalities(model, layer, step["x"][active]), modalities(model, layer, step["y"]), active
        )
        expected = torch.einsum("tij,jtc->itc", maps, step["x"])
        torch.testing.assert_close(step["after"], expected, rtol=1e-6, atol=1e-9)
        assert float((torch.einsum("tji,jtc->itc", maps, step["x"]) - expected).abs().max()) > 0.05  # not transposed


def test_maps_are_the_linear_part_on_real_tokens(tmp_path):
    """With b what the branches added to the layer's output, x_new = H x + (1 + c) b."""
    model = build()
    parameters = reading_of(saved(model, tmp_path))
    composites = torch.eye(4, dtype=torch.float64).expand(TOKENS, 4, 4)
    for layer, step in enumerate(ran(model)):
        correcting = modalities(model, layer, step["y"])
        maps = parameters.sites[layer].maps(modalities(model, layer, step["x"][0]), correcting, 0)
        branches = step["y"] - step["p"][0] / 2**0.5
        assert float(branches.abs().mean()) > 0.1
        written = (1 + correcting @ parameters.sites[layer].correct.T).T[:, :, None] * branches
        torch.testing.assert_close(
            step["after"], torch.einsum("tij,jtc->itc", maps, step["x"]) + written, rtol=1e-6, atol=1e-9
        )
        composites = maps @ composites
        assert bool((maps.abs() <= parameters.sites[layer].largest(0) + 1e-12).all())
    real = float(composites.abs().sum(dim=2).amax(dim=1).mean())
    result = mhcdiag.gain(tmp_path)
    sampled = result.curve("prefix", "forward", "norm")[-1]
    assert 0.3 < real / sampled < 3
    assert real <= result.bound["forward"].worst


def test_without_coefficients_laurel_alone_is_left(tmp_path):
    """The active stream keeps 1/sqrt 2 of itself and takes 1 - 1/sqrt 2 off each other one, layer by layer."""
    result = mhcdiag.gain(saved(build(spread=0.0), tmp_path))
    kept = 2**-0.5
    one = torch.eye(4, dtype=torch.float64)
    one[:, 0] += kept - 1
    whole = torch.linalg.matrix_power(one, LAYERS)
    for direction, axis in (("forward", 1), ("backward", 0)):
        expected = float(whole.abs().sum(dim=axis).max())
        assert result.curve("prefix", direction, "norm")[-1] == pytest.approx(expected, rel=1e-9)
    assert result.sites == tuple(f"{layer}.layer" for layer in range(LAYERS))


def test_random_maps_are_those_of_gaussian_streams(tmp_path):
    """The few numbers that are drawn have the distribution that whole streams give."""
    model = build()
    parameters = reading_of(saved(model, tmp_path))
    drawn = parameters.random(tokens=4000, seed=1).chunk(0, 4000)[2]
    streams = torch.randn(4, 4000, WIDTH, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    predicting = modalities(model, 2, streams[0])
    site = parameters.sites[2]
    after = streams[0] + torch.einsum("jk,tk,jtc->tc", site.predict[0], predicting, streams)
    given = site.maps(predicting, modalities(model, 2, after / 2**0.5), 0).permute(1, 2, 0)
    torch.testing.assert_close(drawn.mean(dim=-1), given.mean(dim=-1), rtol=0.1, atol=0.05)
    torch.testing.assert_close(drawn.std(dim=-1), given.std(dim=-1), rtol=0.1, atol=0.02)
    assert float(given.std(dim=-1).max()) > 0.3


def test_a_part_is_drawn_as_the_whole(tmp_path):
    path = saved(build(), tmp_path)
    whole = mhcdiag.gain(path, tokens=40)
    part = mhcdiag.gain(path, tokens=40, sites=(3, 4))
    assert part.curve("single", "forward", "norm") == whole.curve("single", "forward", "norm")[2:4]

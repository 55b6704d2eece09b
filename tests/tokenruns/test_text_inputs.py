"""`gain --inputs text`: the mappings of real tokens, against those hooked from the whole model."""

import json
import shutil
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import torch
from packages import transformers_hooks
from packages.transformers_models import DEEPSEEK_V4, GLM5_NEXT, VOCABULARY, deepseek_v4, glm5_next
from reference import reference
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import nn
from transformers import AutoModelForCausalLM, Glm5NextForConditionalGeneration, PreTrainedTokenizerFast

import mhcdiag
from mhcdiag.errors import InputError, LayoutError, SettingError
from mhcdiag.results.evidence import doubt_of_inputs
from mhcdiag.results.gain import Direction, GainResult
from mhcdiag.tokenruns import layerwise
from mhcdiag.tokenruns.layerwise import NotByBlocksError, block_paths, load_by_blocks
from mhcdiag.tokenruns.text import SAMPLE_NAME, read_text
from mhcdiag.toy.model import ToyModel
from mhcdiag.toy.settings import ToySettings
from mhcdiag.toy.training import forward_pass, train

IDS = torch.tensor([3 + 7 * i % 50 for i in range(600)])


def save_model(model: nn.Module, path: Path) -> Path:
    """A model with a tokenizer of one number a word."""
    model.save_pretrained(path)
    words = Tokenizer(models.WordLevel({f"w{i}": i for i in range(VOCABULARY)}, unk_token="w0"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(tokenizer_object=words).save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def model_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(deepseek_v4(layers=3, hidden=20, streams=3, seed=1), tmp_path_factory.mktemp("model"))


@pytest.fixture
def text(tmp_path: Path) -> Path:
    (tmp_path / "page.txt").write_text(" ".join(f"w{each}" for each in IDS.tolist()))
    return tmp_path / "page.txt"


def agrees(result: GainResult, maps: np.ndarray) -> None:
    expected = reference(maps)
    for key in (("prefix", "forward", "norm", "mean"), ("suffix", "backward", "norm", "max"),
                ("single", "backward", "amax", "p99")):  # fmt: skip
        np.testing.assert_allclose(result.curve(*key), expected.gain[key], rtol=1e-5)


def test_a_model_run_block_by_block_mixes_as_the_whole_one(model_path: Path, text: Path):
    result = mhcdiag.gain(model_path, inputs="text", text=text, tokens=600)
    model = AutoModelForCausalLM.from_pretrained(model_path)
    agrees(result, transformers_hooks.captured_maps(model, DEEPSEEK_V4, IDS[:512].view(2, 256)))
    assert (result.inputs, result.tokens, result.layout, result.sites_total) == ("text", 512, "deepseek-v4", 6)
    assert result.sites == ("0.attn", "0.ffn", "1.attn", "1.ffn", "2.attn", "2.ffn")
    assert result.tied_to.startswith("sha256:")
    assert (
        result.notes[-1] == f"text inputs: the model ran on 512 tokens of {text}; other text may amplify more or less"
    )
    static = mhcdiag.gain(model_path, inputs="static")
    for direction in Direction:  # what the layout guarantees stands beside what was measured
        assert result.bound[direction].worst == static.bound[direction].worst
    assert result.sinkhorn is not None


def test_the_mean_without_first_tokens_is_known(model_path: Path, text: Path):
    result = mhcdiag.gain(model_path, inputs="text", text=text, tokens=600)
    model = AutoModelForCausalLM.from_pretrained(model_path)
    maps = transformers_hooks.captured_maps(model, DEEPSEEK_V4, IDS[:512].view(2, 256))
    others = np.delete(maps, [0, 256], axis=1)
    np.testing.assert_allclose(
        result.curve("prefix", "backward", "norm", "mean_without_first"),
        reference(others).gain["prefix", "backward", "norm", "mean"],
        rtol=1e-5,
    )


def test_another_family_runs_block_by_block(tmp_path: Path, text: Path):
    path = save_model(glm5_next(layers=2, hidden=16, seed=1), tmp_path / "glm")
    result = mhcdiag.gain(path, inputs="text", text=text, tokens=40)
    model = Glm5NextForConditionalGeneration.from_pretrained(path)
    agrees(result, transformers_hooks.captured_maps(model, GLM5_NEXT, IDS[None, :40]))
    assert not any("loaded whole" in note for note in result.notes)


def test_one_block_at_a_time_is_in_memory(model_path: Path):
    """Numbers that are held while each block runs: the embedding, the last norms, and one block."""
    loaded = load_by_blocks(model_path)

    def held() -> int:
        return sum(each.numel() for each in loaded.model.parameters() if not each.is_meta)

    between, most = held(), []
    sizes = {name: sum(each.numel() for each in block.parameters()) for name, block in loaded.blocks.items()}
    for block in loaded.blocks.values():
        block.self_attn.register_forward_hook(lambda *_: most.append(held()))
    with torch.no_grad(), loaded.streaming():
        loaded.model.model(input_ids=IDS[None, :9], use_cache=False)
    assert most == [between + size for size in sizes.values()]
    assert held() == between < 0.1 * sum(sizes.values())
    assert not any(block._forward_pre_hooks for block in loaded.blocks.values())


def test_the_element_type_can_be_chosen(text: Path, tmp_path: Path):
    folder = save_model(deepseek_v4(layers=2, hidden=32, seed=1).to(torch.bfloat16), tmp_path / "half")
    stored, wide = (mhcdiag.gain(folder, inputs="text", text=text, tokens=64, dtype=each) for each in (None, "float32"))
    exact = mhcdiag.gain(folder, inputs="text", text=text, tokens=64, dtype="float64")
    assert (stored.dtype, wide.dtype, exact.dtype) == ("float64", "float32", "float64")
    one, other, last = (result.curve("prefix", "backward", "norm")[-1] for result in (stored, wide, exact))
    assert abs(other / last - 1) < 1e-6 < abs(one / last - 1)


def test_what_cannot_be_loaded_by_blocks_is_loaded_whole_and_said(model_path: Path, text: Path, monkeypatch):
    expected = mhcdiag.gain(model_path, inputs="text", text=text, tokens=64)
    monkeypatch.setattr(layerwise, "_lazy_class", lambda *_: (_ for _ in ()).throw(AttributeError("no such hook")))
    result = mhcdiag.gain(model_path, inputs="text", text=text, tokens=64)
    assert "loaded whole, not block by block: AttributeError: no such hook" in result.notes
    assert result.gain == expected.gain


def test_pickles_are_loaded_whole(model_path: Path, text: Path, tmp_path: Path):
    folder = tmp_path / "pickled"
    shutil.copytree(model_path, folder)
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    result = mhcdiag.gain(folder, inputs="text", text=text, tokens=64)
    assert "loaded whole, not block by block: its weights are not in safetensors files" in result.notes
    assert result.gain == mhcdiag.gain(model_path, inputs="text", text=text, tokens=64).gain


def test_float8_is_read_as_the_package_reads_it(tmp_path: Path, text: Path, monkeypatch):
    """The scales of blocks of weights are applied block by block as in the whole model."""
    pytest.importorskip("accelerate")
    path = save_model(deepseek_v4(layers=2, hidden=32, streams=3, seed=1), tmp_path / "eighth")
    tensors = load_file(path / "model.safetensors")
    stored = dict(tensors)
    for name in (each for each in tensors if each.endswith(".weight") and ".attn.w" in each):
        scale = tensors[name].abs().max() / 448
        stored[name] = (tensors[name] / scale).to(torch.float8_e4m3fn)
        stored[f"{name}_scale_inv"] = scale.reshape(1, 1)
    assert len(stored) > len(tensors)
    save_file(stored, path / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((path / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "fp8", "weight_block_size": [128, 128], "dequantize": True}
    (path / "config.json").write_text(json.dumps(config))
    by_blocks = mhcdiag.gain(path, inputs="text", text=text, tokens=64)
    assert not any("loaded whole" in note for note in by_blocks.notes)
    monkeypatch.setattr(layerwise, "_lazy_class", lambda *_: (_ for _ in ()).throw(AttributeError("no such hook")))
    assert by_blocks.gain == mhcdiag.gain(path, inputs="text", text=text, tokens=64).gain


@pytest.mark.parametrize("lost", ["layers.1.ffn.experts", "layers.2.hc_attn_base", "embed_tokens.weight"])
def test_weights_that_are_missing_are_not_made_up(model_path: Path, text: Path, tmp_path: Path, lost: str):
    folder = tmp_path / "model"
    shutil.copytree(model_path, folder)
    tensors = load_file(folder / "model.safetensors")
    kept = {name: each for name, each in tensors.items() if lost not in name}
    assert len(kept) < len(tensors)
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises((InputError, LayoutError), match=r"no |lacks"):
        mhcdiag.gain(folder, inputs="text", text=text, tokens=64)


def test_sites_can_be_chosen(model_path: Path, text: Path):
    whole = mhcdiag.gain(model_path, inputs="text", text=text, tokens=64)
    part = mhcdiag.gain(model_path, inputs="text", text=text, tokens=64, sites=(3, 4))
    assert (part.sites, part.sites_total) == (whole.sites[2:4], 6)
    assert part.curve("single", "backward", "norm") == whole.curve("single", "backward", "norm")[2:4]
    with pytest.raises(SettingError, match="sites 3:9 are not within 1:6, the sites that ran"):
        mhcdiag.gain(model_path, inputs="text", text=text, tokens=64, sites=(3, 9))


def test_options_that_mean_nothing_are_refused(model_path: Path, text: Path):
    with pytest.raises(SettingError, match="sinkhorn_iters means nothing for inputs 'text'"):
        mhcdiag.gain(model_path, inputs="text", text=text, sinkhorn_iters=3)
    with pytest.raises(SettingError, match=r"needs inputs 'text'"):
        mhcdiag.gain(model_path, text=text)
    with pytest.raises(SettingError, match=r"0 tokens"):
        mhcdiag.gain(model_path, inputs="text", tokens=0)
    with pytest.raises(SettingError, match=r"--device meteor: .*; expected cpu"):
        mhcdiag.gain(model_path, inputs="text", device="meteor")


def test_a_model_that_cannot_be_run_here_says_what_to_do(model_path: Path, tmp_path: Path, text: Path):
    with pytest.raises(InputError, match=r"cannot be run here; .*mhcdiag.capture\(model, text, out"):
        mhcdiag.gain(model_path / "model.safetensors", inputs="text")
    (tmp_path / "empty.txt").write_text(" \n")
    with pytest.raises(InputError, match="no words"):
        mhcdiag.gain(model_path, inputs="text", text=tmp_path / "empty.txt")
    with pytest.raises(InputError, match="cannot be read: No such file"):
        mhcdiag.gain(model_path, inputs="text", text=tmp_path / "nowhere.txt")


def test_sites_in_no_list_of_blocks_are_not_loaded_by_blocks():
    class Bare(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.block = deepseek_v4(layers=1, hidden=20, seed=1).model.layers[0]

    with pytest.raises(NotByBlocksError, match="no list of blocks"):
        block_paths(Bare())
    with pytest.raises(NotByBlocksError, match="holds no site"):
        block_paths(nn.Linear(2, 2))


def test_a_text_of_few_different_tokens_is_no_sample(model_path: Path, tmp_path: Path):
    (tmp_path / "same.txt").write_text("w7 w9 w11 " * 100)
    result = mhcdiag.gain(model_path, inputs="text", text=tmp_path / "same.txt")
    assert [each.reason for each in result.skipped] == [
        "3 different tokens among 256: no sample of what the model reads"
    ]
    assert doubt_of_inputs(result)


def test_a_text_of_many_is_measured(model_path: Path, text: Path):
    result = mhcdiag.gain(model_path, inputs="text", text=text)
    assert (result.skipped, doubt_of_inputs(result)) == ((), "")


def test_the_text_that_ships_has_many_scripts_and_enough_tokens():
    words = read_text(None)
    for part in ("harbour", "größere", "мост", "菜市场", "カタカナ", "할머니", "السوق", "बच्चे", "ตลาด", "def moving"):
        assert part in words
    scripts = {unicodedata.name(each).split()[0].removesuffix("-HIRAGANA") for each in words if each.isalpha()}
    assert len(scripts) == 15
    assert len(words.split()) > 700
    assert len(words) > 4096


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("toy") / "run"
    train(ToySettings(topology="hc", depth=3, width=16, steps=12, checkpoints=2, context=16, heads=4), folder)
    return folder


class TestToy:
    """Checkpoints of `mhcdiag toy`."""

    def test_the_gain_is_that_of_the_model_on_these_characters(self, run: Path, tmp_path: Path):
        path = tmp_path / "page.txt"
        path.write_text("def f(x):\n    return x + 1\n" * 40 + "ёё")
        result = mhcdiag.gain(run / "step_000012.safetensors", inputs="text", text=path, tokens=200)
        assert (result.tokens, result.assumed, result.inputs, result.layout) == (192, (), "text", "toy")
        settings = json.loads((run / "settings.json").read_text())
        model = ToyModel(ToySettings.from_json(settings), self.parameters(run))
        from mhcdiag.toy.text import load_text

        number_of = {char: at for at, char in enumerate(load_text(None, context=16).vocabulary)}
        ids = torch.tensor([number_of[char] for char in path.read_text()[:192]]).view(12, 16)
        record = forward_pass(model, ids)
        agrees(result, np.stack([site.maps.res.numpy() for site in record]))

    def parameters(self, run: Path) -> dict[str, torch.Tensor]:
        """As the run itself kept them, to be resumed."""
        state = load_file(run / "resume.safetensors")
        return {n.removeprefix("parameters."): v for n, v in state.items() if n.startswith("parameters.")}

    def test_characters_that_it_never_saw_are_one_token(self, run: Path):
        result = mhcdiag.gain(run / "step_000012.safetensors", inputs="text")
        assert result.tokens == 1024
        assert SAMPLE_NAME in result.notes[-1]

    def test_a_checkpoint_alone_knows_its_vocabulary_and_heads(self, run: Path, tmp_path: Path):
        alone = tmp_path / "alone.safetensors"
        shutil.copy(run / "step_000012.safetensors", alone)
        moved = mhcdiag.gain(alone, inputs="text", tokens=64)
        assert moved.assumed == ()
        assert moved.gain == mhcdiag.gain(run / "step_000012.safetensors", inputs="text", tokens=64).gain

    def test_what_an_older_checkpoint_does_not_say_is_assumed_aloud(self, run: Path, tmp_path: Path):
        from safetensors import safe_open

        with safe_open(run / "step_000012.safetensors", framework="pt") as file:
            metadata = {"mhcdiag_toy": file.metadata()["mhcdiag_toy"]}
        tensors = load_file(run / "step_000012.safetensors")
        save_file(tensors, tmp_path / "old.safetensors", metadata=metadata)
        assumed = mhcdiag.gain(tmp_path / "old.safetensors", inputs="text", tokens=64).assumed
        assert [each.partition(":")[0] for each in assumed] == ["heads", "vocabulary"]

    def test_mixers_alone_cannot_be_run(self, run: Path, tmp_path: Path):
        tensors = load_file(run / "step_000012.safetensors")
        from safetensors import safe_open

        with safe_open(run / "step_000012.safetensors", framework="pt") as file:
            metadata = file.metadata()
        mixers = {name: each for name, each in tensors.items() if ".hc." in name}
        save_file(mixers, tmp_path / "mixers.safetensors", metadata=metadata)
        with pytest.raises(LayoutError, match="the mixers alone cannot be run"):
            mhcdiag.gain(tmp_path / "mixers.safetensors", inputs="text")

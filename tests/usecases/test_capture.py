"""Captured mappings of tiny models against hooked ones, and what a user can do wrong."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from packages import transformers_hooks
from packages.transformers_models import DEEPSEEK_V4, VOCABULARY, deepseek_v4, hy_v4
from reference import reference
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

import mhcdiag
from mhcdiag.cli.main import run
from mhcdiag.errors import InputError, LayoutError, MissingExtraError, OutputError, SettingError
from mhcdiag.usecases.capture import MapShape, MapWriter, capture


def metadata_of(path: Path) -> dict[str, str]:
    with safe_open(path, framework="np") as file:
        return file.metadata()


WORDS = " ".join(f"w{3 + 7 * i % 50}" for i in range(53))


def save_model(model: object, path: Path) -> None:
    """A model with a tokenizer of one number a word."""
    model.save_pretrained(path)
    words = Tokenizer(models.WordLevel({f"w{i}": i for i in range(VOCABULARY)}, unk_token="w0"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(tokenizer_object=words).save_pretrained(path)


@pytest.fixture(scope="module")
def model_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model")
    save_model(deepseek_v4(layers=3, hidden=20, streams=3, seed=1), path)
    return path


@pytest.fixture
def text(tmp_path: Path) -> Path:
    (tmp_path / "page.txt").write_text(WORDS)
    return tmp_path / "page.txt"


def test_the_gain_of_captured_maps_is_that_of_hooked_ones(model_path: Path, text: Path, tmp_path: Path):
    from transformers import DeepseekV4ForCausalLM

    out = tmp_path / "maps.safetensors"
    found = capture(model_path, text=text, out=out, length=23)
    assert (found.sites, found.streams, found.tokens, found.sequences) == (6, 3, 53, 3)
    model = DeepseekV4ForCausalLM.from_pretrained(model_path)
    ids = torch.tensor([int(word[1:]) for word in WORDS.split()])
    hooked = [transformers_hooks.captured_maps(model, DEEPSEEK_V4, part[None]) for part in ids.split(23)]
    expected = reference(np.concatenate(hooked, axis=1))
    measured = mhcdiag.gain(out)
    assert (measured.layout, measured.tokens) == ("captured", 53)
    for key in (("prefix", "forward", "amax", "mean"), ("suffix", "backward", "norm", "max")):
        np.testing.assert_allclose(measured.curve(*key), expected.gain[key], rtol=1e-5)
    with safe_open(out, framework="np") as file:
        assert json.loads(file.metadata()["first_tokens"]) == [0, 23, 46]


def test_the_command_says_what_it_wrote(
    model_path: Path, text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    out = tmp_path / "maps.safetensors"
    assert run(["capture", str(model_path), "--text", str(text), "--out", str(out), "--tokens", "11"]) == 0
    assert "6 sites, 3 streams, 11 tokens" in capsys.readouterr().out


def test_a_model_that_is_loaded_gives_the_same_and_keeps_its_modes(model_path: Path, text: Path, tmp_path: Path):
    from transformers import DeepseekV4ForCausalLM

    model = DeepseekV4ForCausalLM.from_pretrained(model_path)
    model.train()
    model.model.layers[0].eval()
    before = [module.training for module in model.modules()]
    read, loaded = tmp_path / "read.safetensors", tmp_path / "loaded.safetensors"
    capture(model_path, text, read, length=23)
    found = mhcdiag.capture(model, text, loaded, length=23)
    assert isinstance(found, mhcdiag.Captured)
    of_file, of_module = load_file(read), load_file(loaded)
    assert of_file.keys() == of_module.keys()
    assert all(torch.equal(of_file[name], of_module[name]) for name in of_file)
    # The names of the weights differ: transformers gives them its own.
    assert found.tied_to == metadata_of(loaded)["tied_to"] != metadata_of(read)["tied_to"]
    assert [module.training for module in model.modules()] == before
    assert not any(module._forward_hooks for module in model.modules())


def test_a_loaded_model_needs_a_tokenizer_from_somewhere(model_path: Path, text: Path, tmp_path: Path):
    model, out = deepseek_v4(layers=3, hidden=20, streams=3, seed=1), tmp_path / "maps.safetensors"
    with pytest.raises(SettingError, match="DeepseekV4ForCausalLM was not loaded from a directory: give tokenizer="):
        capture(model, text, out)
    assert capture(model, text, out, tokenizer=model_path).tokens == 53


def test_a_model_that_mixes_nothing_is_refused(text: Path, tmp_path: Path):
    save_model(hy_v4(layers=2, hidden=16, streams=3, seed=1), tmp_path / "model")
    with pytest.raises(LayoutError, match="HYV4ForCausalLM holds no module that mixes streams"):
        capture(tmp_path / "model", text=text, out=tmp_path / "maps.safetensors")
    assert not (tmp_path / "maps.safetensors").exists()


def test_missing_pieces_are_named(model_path: Path, text: Path, tmp_path: Path):
    out = tmp_path / "maps.safetensors"
    with pytest.raises(InputError, match=r"nowhere.txt: cannot be read"):
        capture(model_path, text=tmp_path / "nowhere.txt", out=out)
    with pytest.raises(InputError, match="no tokenizer"):
        capture(tmp_path, text=text, out=out)
    with pytest.raises(OutputError, match="nowhere is no directory; make it first"):
        capture(model_path, text=text, out=tmp_path / "nowhere" / "maps.safetensors")
    with pytest.raises(SettingError, match="expected at least one"):
        capture(model_path, text=text, out=out, tokens=0)


@pytest.mark.parametrize(("place", "reason"), [("", "is a directory"), ("link", "is no ordinary file")])
def test_a_place_where_no_file_can_be_is_told_before_anything_is_read(tmp_path: Path, place: str, reason: str):
    (tmp_path / "link").symlink_to(tmp_path / "nothing")
    with pytest.raises(OutputError, match=reason):
        capture(tmp_path / "no model", text=tmp_path / "no text", out=tmp_path / place)


def test_mixers_that_the_checkpoint_lacks_are_not_made_up(model_path: Path, text: Path, tmp_path: Path):
    folder = tmp_path / "model"
    shutil.copytree(model_path, folder)
    tensors = load_file(folder / "model.safetensors")
    save_file(
        {name: each for name, each in tensors.items() if "layers.1.hc_attn" not in name},
        folder / "model.safetensors",
        metadata={"format": "pt"},
    )
    with pytest.raises(InputError, match=r"no model\.layers\.1\.attn_hc\.\w+ and 2 more of its mixers' tensors"):
        capture(folder, text=text, out=tmp_path / "maps.safetensors")


def test_whatever_transformers_cannot_load_is_named(model_path: Path, text: Path, tmp_path: Path):
    folder = tmp_path / "model"
    shutil.copytree(model_path, folder)
    (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:1000])
    with pytest.raises(InputError, match=r"transformers cannot load the model: \w+"):
        capture(folder, text=text, out=tmp_path / "maps.safetensors")


def test_a_device_that_is_not_there_is_named(model_path: Path, text: Path, tmp_path: Path):
    with pytest.raises(SettingError, match=r"--device meteor: .*; expected cpu"):
        capture(model_path, text=text, out=tmp_path / "maps.safetensors", device="meteor")


def test_tokens_that_the_model_does_not_know_are_named(model_path: Path, tmp_path: Path):
    folder = tmp_path / "model"
    shutil.copytree(model_path, folder)
    words = Tokenizer(models.WordLevel({f"w{i}": i + 1 for i in range(VOCABULARY)}, unk_token="w0"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(tokenizer_object=words).save_pretrained(folder)
    (tmp_path / "page.txt").write_text(f"w1 w{VOCABULARY - 1}")
    with pytest.raises(InputError, match=f"gives token {VOCABULARY}; expected tokens below {VOCABULARY}"):
        capture(folder, text=tmp_path / "page.txt", out=tmp_path / "maps.safetensors")


@pytest.mark.skipif(sys.platform != "linux", reason="limits the size of files")
def test_a_full_disk_leaves_nothing(tmp_path: Path):
    script = f"""
import resource, signal
from pathlib import Path
from mhcdiag.usecases.capture import MapShape, MapWriter
from mhcdiag.errors import OutputError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))
shape = MapShape(sites=("a",), tokens=999, streams=4, first_tokens=())
try:
    MapWriter(Path({str(tmp_path / "maps.safetensors")!r}), shape)
except OutputError as error:
    print(error)
"""
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert "File too large; nothing was written" in told
    assert list(tmp_path.iterdir()) == []


def test_without_transformers_the_extra_is_named(model_path: Path, text: Path, tmp_path: Path, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'mhcdiag\[hf\]'"):
        capture(model_path, text=text, out=tmp_path / "maps.safetensors")


def test_an_interrupted_run_leaves_nothing(tmp_path: Path):
    shape = MapShape(sites=("a", "b"), tokens=3, streams=2, first_tokens=())

    def interrupted() -> None:
        with MapWriter(tmp_path / "maps.safetensors", shape):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []


def test_what_is_captured_is_what_health_compares(model_path: Path, text: Path, tmp_path: Path):
    """The running model conforms to its weights; where H is applied the other way in one block, that is said."""
    from transformers import DeepseekV4ForCausalLM

    right, wrong = tmp_path / "right.safetensors", tmp_path / "wrong.safetensors"
    model = DeepseekV4ForCausalLM.from_pretrained(model_path)
    capture(model, text, right)
    found = load_file(right)
    assert {name.split(".")[-1] for name in found} == {"h_res", "x_in", "x_out", "branch", "post"}
    assert found["layers.5.x_out"].shape == (8, 3, 20)
    checked = mhcdiag.health(model_path, captured=right, only=("conformance",)).checks[0]
    assert (checked.findings, checked.not_checkable) == ((), "")
    assert checked.overall["as it is"] < 1e-6
    assert checked.overall["from weights"] < 1e-5
    layer = model.model.layers[1]

    def port(hidden_states, input_ids=None, **kwargs):
        post, comb, read = layer.attn_hc(hidden_states)
        added = layer.self_attn(layer.input_layernorm(read), **kwargs)[0]
        hidden_states = post[..., None] * added[..., None, :] + comb.transpose(-1, -2) @ hidden_states
        post, comb, read = layer.ffn_hc(hidden_states)
        added = layer.mlp(layer.post_attention_layernorm(read), input_ids=input_ids)
        return post[..., None] * added[..., None, :] + comb @ hidden_states

    layer.forward = port
    capture(model, text, wrong)
    checked = mhcdiag.health(model_path, captured=wrong, only=("conformance",)).checks[0]
    off = checked.per_site["as it is"]
    assert off[3] > 0.02
    assert max(off[:3] + off[4:]) < 1e-6
    assert checked.per_site["transposed"][3] < 1e-6
    assert [finding.severity for finding in checked.findings] == ["fail"]


def test_a_file_is_tied_to_the_weights_it_came_from(model_path: Path, text: Path, tmp_path: Path):
    from mhcdiag.tensorfiles import open_checkpoint
    from mhcdiag.tensorfiles.fingerprint import fingerprint

    out = tmp_path / "maps.safetensors"
    found = capture(model_path, text, out, step=160)
    assert found.tied_to == fingerprint(open_checkpoint(model_path))
    assert (metadata_of(out)["tied_to"], metadata_of(out)["step"]) == (found.tied_to, "160")


def bytes_of(words: str) -> list[int]:
    return [byte % VOCABULARY for byte in words.encode()]


def test_any_model_that_is_called_with_ids_is_captured(tmp_path: Path):
    """The wrappers of hyper-connections in a model of one's own, with a tokenizer of one's own and the text shipped."""
    from packages import lucidrains_stacks

    out = tmp_path / "maps.safetensors"
    model = lucidrains_stacks.stack("hc", sites=6, streams=3, dim=11, seed=0)
    found = capture(model, None, out, tokenizer=bytes_of, tokens=50, length=20)
    assert (found.sites, found.tokens, found.sequences, found.stack) == (6, 50, 3, "layers")
    from mhcdiag.tokenruns.text import read_text

    ids = torch.tensor(bytes_of(read_text(None))[:50])
    hooked = [lucidrains_stacks.captured_maps(model, part[None]) for part in ids.split(20)]
    measured = mhcdiag.gain(out)
    expected = reference(np.concatenate(hooked, axis=1))
    np.testing.assert_allclose(
        measured.curve("prefix", "forward", "norm"), expected.gain["prefix", "forward", "norm", "mean"], rtol=1e-5
    )
    details = load_file(out)
    mixed = details["layers.2.h_res"][:8] @ details["layers.2.x_in"]
    written = details["layers.2.post"][..., None] * details["layers.2.branch"][:, None]
    torch.testing.assert_close(details["layers.2.x_out"], mixed + written, rtol=1e-4, atol=1e-5)


def test_a_loop_is_captured_call_by_call(tmp_path: Path):
    from packages.live_models import Looped, calls_of

    model = Looped().eval()
    found = capture(model, None, tmp_path / "maps.safetensors", tokenizer=bytes_of, tokens=19, length=19)
    assert found.sites == 10
    measured = mhcdiag.gain(tmp_path / "maps.safetensors")
    assert measured.sites[2:8:2] == tuple(f"stack.layers.1.attn{end}" for end in ("", "@2", "@3"))
    from mhcdiag.tokenruns.text import read_text

    ids = torch.tensor(bytes_of(read_text(None))[:19])[None]
    expected = reference(calls_of(model.stack, lambda: model(ids))).gain["prefix", "forward", "norm", "mean"]
    np.testing.assert_allclose(measured.curve("prefix", "forward", "norm"), expected, rtol=1e-5)


def test_of_several_stacks_one_is_chosen(tmp_path: Path):
    from packages.live_models import Towers

    model, out = Towers(shorter=None).eval(), tmp_path / "maps.safetensors"
    with pytest.raises(SettingError, match=r"2 stacks of streams, 'encoder.layers', 'decoder.layers': choose one"):
        capture(model, None, out, tokenizer=bytes_of, tokens=19)
    assert not out.exists()
    assert capture(model, None, out, tokenizer=bytes_of, tokens=19, stack="decoder").stack == "decoder.layers"
    assert mhcdiag.gain(out).sites[0] == "decoder.layers.0.attn"


def test_sites_that_did_not_run_are_named(tmp_path: Path):
    from packages import lucidrains_stacks

    model = lucidrains_stacks.stack("hc", sites=4, streams=3, dim=11, seed=0)
    model.spare = lucidrains_stacks.stack("hc", sites=2, streams=3, dim=11, seed=0).layers
    found = capture(model, None, tmp_path / "maps.safetensors", tokenizer=bytes_of, tokens=19)
    assert (found.sites, found.idle) == (4, ("spare.0.ff", "spare.0.attn"))


def test_a_model_that_raises_is_named_with_what_it_said(tmp_path: Path):
    from packages import lucidrains_stacks

    model = lucidrains_stacks.stack("hc", sites=4, streams=3, dim=11, seed=0)

    def run(_ids):
        raise ValueError("no mask was given\nand more")

    with pytest.raises(InputError, match=r"Stack: the model cannot be run on \[1, 19\] tokens: ValueError: no mask"):
        capture(model, None, tmp_path / "maps.safetensors", tokenizer=bytes_of, tokens=19, run=run)
    with pytest.raises(InputError, match="the tokenizer failed: KeyError"):
        capture(model, None, tmp_path / "maps.safetensors", tokenizer={}.__getitem__)
    assert list(tmp_path.iterdir()) == []


def test_a_part_of_a_model_is_no_measurement_of_it(tmp_path: Path):
    """The sites of the other stack are skipped, so that the verdict is none on all sites."""
    from packages.live_models import Towers

    from mhcdiag.results.evidence import doubt_of_inputs

    out = tmp_path / "maps.safetensors"
    capture(Towers().eval(), None, out, tokenizer=bytes_of, tokens=256, stack="decoder")
    measured = mhcdiag.gain(out)
    assert [each.what for each in measured.skipped][:1] == ["encoder.layers.0.attn"]
    assert len(measured.skipped) == 6
    assert doubt_of_inputs(measured)


def test_all_of_a_model_is(tmp_path: Path):
    from packages import lucidrains_stacks

    from mhcdiag.results.evidence import doubt_of_inputs

    out = tmp_path / "maps.safetensors"
    model = lucidrains_stacks.stack("hc", sites=4, streams=3, dim=11, seed=0)
    capture(model, None, out, tokenizer=bytes_of, tokens=256)
    assert doubt_of_inputs(mhcdiag.gain(out)) == ""

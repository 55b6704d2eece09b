"""GGUF files: ours byte by byte, the package's own, and broken ones."""

import struct

import numpy as np
import pytest
from layouts.fused_families import gguf
from reference import disagreements, reference
from tensorfiles.gguf_files import gguf_bytes, write_gguf

import mhcdiag
from mhcdiag.errors import ContainerError, LayoutError, MissingExtraError, SettingError
from mhcdiag.tensorfiles import open_checkpoint

METADATA = {
    "general.architecture": "deepseek4",
    "deepseek4.block_count": 2,
    "deepseek4.hyper_connection.count": 3,
    "deepseek4.hyper_connection.sinkhorn_iterations": 2,
    "deepseek4.hyper_connection.epsilon": 1e-6,
    "tokenizer.ggml.tokens": ["a", "bc", "def"],
    "tokenizer.ggml.token_type": [1, 2, 3],
}


def half(tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """`fn` in F16, as llama.cpp converts it."""
    return {name: a.astype(np.float16) if "_fn" in name else a for name, a in tensors.items()}


def test_the_gain_is_that_of_the_formulas(tmp_path):
    model = gguf()
    head = {"output_hc_fn.weight": np.zeros((3, 15)), "mtp.0.hc_attn_fn.weight": np.zeros((3, 15))}
    path = write_gguf(tmp_path / "model.gguf", half(model.tensors) | head, METADATA)
    result = mhcdiag.gain(path, inputs="static")
    assert result.layout == "deepseek-v4-gguf"
    assert not result.assumed
    assert disagreements(result, reference(model.static()), relative=2e-6) == []
    assert set(head) <= set(result.excluded)
    assert mhcdiag.gain(path).inputs == "random"


def test_shapes_are_turned_round_and_rows_can_be_read(tmp_path):
    array = np.arange(24, dtype=np.float32).reshape(6, 4)
    checkpoint = open_checkpoint(write_gguf(tmp_path / "a.gguf", {"w": array, "one": array[:1, 0]}, {}))
    assert checkpoint.tensors["w"].shape == (6, 4)
    np.testing.assert_array_equal(checkpoint.read("w"), array)
    np.testing.assert_array_equal(checkpoint.read("w", rows=slice(2, 5)), array[2:5])
    assert checkpoint.bytes_read < 1000


def test_another_architecture_is_refused_by_name(tmp_path):
    path = write_gguf(tmp_path / "model.gguf", gguf().tensors, METADATA | {"general.architecture": "xing4"})
    with pytest.raises(LayoutError, match="architecture 'xing4' with DeepSeek-V4's tensor names"):
        mhcdiag.gain(path)


def test_an_ordinary_model_is_plain(tmp_path):
    tensors = {f"blk.{i}.ffn_up.weight": np.zeros((3, 2)) for i in range(5)}
    assert mhcdiag.gain(write_gguf(tmp_path / "a.gguf", tensors, {"general.architecture": "llama"})).layout == "plain"


def test_numbered_parts_are_one_model(tmp_path):
    model = gguf()
    names = list(model.tensors)
    for number, part in enumerate((names[:7], names[7:]), 1):
        tensors = {name: model.tensors[name] for name in part}
        write_gguf(tmp_path / f"m-{number:05}-of-00002.gguf", tensors, METADATA if number == 1 else {})
    for path in (tmp_path, tmp_path / "m-00001-of-00002.gguf", tmp_path / "m-00002-of-00002.gguf"):
        result = mhcdiag.gain(path, inputs="static")
        assert disagreements(result, reference(model.static()), relative=2e-6) == []
    (tmp_path / "m-00002-of-00002.gguf").unlink()
    with pytest.raises(ContainerError, match=r"m-00002-of-00002\.gguf: no such file"):
        open_checkpoint(tmp_path / "m-00001-of-00002.gguf")


def test_several_models_in_a_directory_are_listed(tmp_path):
    for name in ("a.gguf", "b.gguf"):
        write_gguf(tmp_path / name, {}, {})
    with pytest.raises(ContainerError, match=r"2 GGUF files: .*; expected one model"):
        open_checkpoint(tmp_path)


def test_every_truncation_is_refused(tmp_path):
    raw = gguf_bytes(gguf().tensors, METADATA)
    path = tmp_path / "a.gguf"
    for length in range(0, len(raw) - 1, 61):
        path.write_bytes(raw[:length])
        with pytest.raises(ContainerError):
            open_checkpoint(path)


@pytest.mark.parametrize(
    ("raw", "found"),
    [
        (gguf_bytes({}, {}, version=1), "GGUF version 1; expected version 2 or 3"),
        (b"GGUF" + struct.pack(">IQQ", 3, 0, 0), "a big-endian file"),
        (gguf_bytes({}, {"general.alignment": 3}), "an alignment of 3"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", 2**62), "bytes wanted at byte"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q1sI", 1, b"k", 77), "a value of type 77"),
        (b"junk", "no GGUF file"),
    ],
)
def test_broken_headers_are_refused(tmp_path, raw: bytes, found: str):
    (tmp_path / "a.gguf").write_bytes(raw)
    with pytest.raises(ContainerError, match=found):
        open_checkpoint(tmp_path / "a.gguf")


def test_a_key_means_nothing(tmp_path):
    with pytest.raises(SettingError, match="--key model"):
        open_checkpoint(write_gguf(tmp_path / "a.gguf", {}, {}), key="model")


def test_a_quantised_mixer_asks_for_the_extra_where_it_is_missing(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "gguf", None)
    raw = bytearray(gguf_bytes({"w": np.zeros(64, dtype=np.float16)}, {}))
    at = raw.rindex(struct.pack("<IQ", 1, 0))
    raw[at : at + 4] = struct.pack("<I", 8)
    (tmp_path / "a.gguf").write_bytes(raw)
    with pytest.raises(MissingExtraError, match=r"quantised as Q8_0 needs the extra 'gguf'"):
        open_checkpoint(tmp_path / "a.gguf").read("w")


def test_files_of_the_package_quantised_too(tmp_path):
    package = pytest.importorskip("gguf")
    values = np.random.default_rng(0).normal(size=(4, 64)).astype(np.float32)
    writer = package.GGUFWriter(tmp_path / "a.gguf", "deepseek4")
    writer.add_uint32("deepseek4.block_count", 7)
    writer.add_array("tokenizer.ggml.tokens", ["a", "b"])
    writer.add_tensor("plain", values)
    q8 = package.GGMLQuantizationType.Q8_0
    writer.add_tensor("small", package.quants.quantize(values, q8), raw_dtype=q8)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    checkpoint = open_checkpoint(tmp_path / "a.gguf")
    assert checkpoint.config["num_hidden_layers"] == 7
    np.testing.assert_array_equal(checkpoint.read("plain"), values)
    assert checkpoint.tensors["small"].dtype == "Q8_0"
    np.testing.assert_allclose(checkpoint.read("small"), values, atol=0.02)
    np.testing.assert_allclose(checkpoint.read("small", rows=slice(1, 3)), values[1:3], atol=0.02)

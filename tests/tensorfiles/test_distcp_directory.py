"""Torch distributed checkpoints, written by torch itself, and broken or hostile metadata."""

import os
import pickle
import warnings
from pathlib import Path

import pytest
import torch
from stacks import CONFIG, deepseek_v4_tensors, write

import mhcdiag
from mhcdiag.errors import ContainerError
from mhcdiag.tensorfiles import open_checkpoint
from mhcdiag.tensorfiles.distcp_metadata import read_metadata


def save(folder: Path, state: dict) -> Path:
    from torch.distributed.checkpoint import FileSystemWriter
    from torch.distributed.checkpoint import save as save_distributed

    with warnings.catch_warnings(action="ignore"):
        save_distributed(state, storage_writer=FileSystemWriter(folder), no_dist=True)
    return folder


@pytest.fixture
def folder(tmp_path) -> Path:
    tensors = deepseek_v4_tensors() | {
        "big": torch.arange(60.0).view(12, 5),
        "one": torch.tensor(3.0),
        "n": torch.ones(2, dtype=torch.bfloat16),
    }
    state = {"model": tensors, "optim": {"state": {"big": torch.zeros(12, 5)}, "step": 7}, "note": "text"}
    return save(tmp_path / "saved", state)


def test_the_model_is_found_and_nothing_else(folder):
    checkpoint = open_checkpoint(folder)
    assert set(checkpoint.tensors) == {*deepseek_v4_tensors(), "big", "one", "n"}
    assert checkpoint.tensors["n"].dtype == "BF16"
    assert checkpoint.tensors["big"].shape == (12, 5)


def test_values_and_rows(folder):
    checkpoint = open_checkpoint(folder)
    big = torch.arange(60.0).view(12, 5)
    assert checkpoint.read("big").equal(big)
    assert checkpoint.read("big", rows=slice(3, 7)).equal(big[3:7])
    assert checkpoint.read("one").equal(torch.tensor(3.0))
    assert checkpoint.read("n").dtype == torch.bfloat16


def test_the_gain_is_that_of_a_plain_file(folder, tmp_path):
    (folder / "config.json").write_text(
        '{"model_type": "deepseek_v4", "num_hidden_layers": 3, "hc_sinkhorn_iters": 20}'
    )
    plain = mhcdiag.gain(write(tmp_path / "plain", deepseek_v4_tensors(), config=CONFIG), inputs="static")
    assert mhcdiag.gain(folder, inputs="static").gain == plain.gain


def test_nothing_is_read_before_it_is_asked_for(tmp_path):
    folder = save(tmp_path / "saved", {"model": {"large": torch.zeros(1000, 1000), "small": torch.zeros(3)}})
    checkpoint = open_checkpoint(folder)
    before = checkpoint.bytes_read
    assert before < 10_000
    checkpoint.read("small")
    assert checkpoint.bytes_read - before < 5_000


def test_chunks_of_several_files_are_put_together(tmp_path, monkeypatch):
    """Two ranks hold rows 0-1 and 2-4; the metadata of the whole are written by hand."""
    from torch.distributed.checkpoint import metadata as m
    from torch.distributed.checkpoint.filesystem import _StorageInfo

    whole = torch.arange(15.0).view(5, 3)
    chunks, storage = [], {}
    for file, first, last in (("__0_0.distcp", 0, 2), ("__1_0.distcp", 2, 5)):
        with (tmp_path / file).open("wb") as out:
            out.write(b"padding")
            torch.save(whole[first:last].clone(), out)
            length = out.tell() - 7
        offsets = torch.Size((first, 0))
        chunks.append(m.ChunkStorageMetadata(offsets=offsets, sizes=torch.Size((last - first, 3))))
        storage[m.MetadataIndex("w", offsets)] = _StorageInfo(file, 7, length)
    tensor = m.TensorStorageMetadata(
        properties=m.TensorProperties(dtype=torch.float32), size=torch.Size((5, 3)), chunks=chunks
    )
    with (tmp_path / ".metadata").open("wb") as out:
        pickle.dump(m.Metadata(state_dict_metadata={"w": tensor}, storage_data=storage), out)
    checkpoint = open_checkpoint(tmp_path)
    assert checkpoint.read("w").equal(whole)
    assert checkpoint.read("w", rows=slice(1, 4)).equal(whole[1:4])
    assert checkpoint.read("w", rows=slice(3, 5)).equal(whole[3:5])


def test_stacked_layers_are_offered_one_by_one(tmp_path):
    stack = torch.arange(24.0).view(4, 3, 2)
    name = "decoder.layers.self_attention_hyper_connection.bias"
    checkpoint = open_checkpoint(save(tmp_path / "saved", {name: stack}))
    assert list(checkpoint.tensors) == [name.replace("layers.", f"layers.{i}.") for i in range(4)]
    assert checkpoint.tensors["decoder.layers.2.self_attention_hyper_connection.bias"].shape == (3, 2)
    assert checkpoint.read("decoder.layers.2.self_attention_hyper_connection.bias").equal(stack[2])
    assert checkpoint.read("decoder.layers.2.self_attention_hyper_connection.bias", rows=slice(1, 2)).equal(
        stack[2, 1:2]
    )


def test_another_key_can_be_chosen(tmp_path):
    folder = save(tmp_path / "saved", {"model": {"a": torch.zeros(1)}, "ema": {"a": torch.ones(1)}})
    assert open_checkpoint(folder).read("a").item() == 0
    assert open_checkpoint(folder, key="ema").read("a").item() == 1
    with pytest.raises(ContainerError, match="no --key 'emma': the keys are"):
        open_checkpoint(folder, key="emma")


def test_a_missing_shard_is_named(folder):
    (shard,) = folder.glob("*.distcp")
    shard.unlink()
    with pytest.raises(ContainerError, match=rf"{shard.name}: no such file, but \.metadata names it"):
        open_checkpoint(folder)


def test_missing_metadata_are_said(folder):
    (folder / ".metadata").unlink()
    with pytest.raises(ContainerError, match=r"shards of a distributed checkpoint .*; expected \.metadata beside them"):
        open_checkpoint(folder)


def test_a_truncated_shard_is_refused(folder):
    (shard,) = folder.glob("*.distcp")
    os.truncate(shard, 100)
    checkpoint = open_checkpoint(folder)
    with pytest.raises(ContainerError, match="the file ends at byte"):
        checkpoint.read("layers.2.hc_ffn_base")


class Attack:
    """Would create a file when unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_metadata_that_ask_for_code_run_nothing(tmp_path):
    (tmp_path / "__0_0.distcp").write_bytes(b"")
    (tmp_path / ".metadata").write_bytes(pickle.dumps({"a": Attack(tmp_path / "done")}))
    with pytest.raises(ContainerError, match=r"the pickle asks for '(posix|nt)\.mkdir', which could run code; nothing"):
        open_checkpoint(tmp_path)
    assert not (tmp_path / "done").exists()


@pytest.mark.parametrize("module", ["builtins", "torch", "torch.serialization", "os"])
@pytest.mark.parametrize("name", ["eval", "load", "getattr", "system", "_load"])
def test_no_function_is_handed_out(tmp_path, module: str, name: str):
    """Names of torch in lower case become text, which cannot be called; all others are refused."""
    path = tmp_path / ".metadata"
    path.write_bytes(f"c{module}\n{name}\n(S'x'\ntR.".encode())
    with pytest.raises(ContainerError, match=r"asks for|cannot be read: TypeError"):
        read_metadata(str(path))


def test_members_of_an_enumeration_as_python_3_11_2_pickles_them(tmp_path, monkeypatch):
    from torch.distributed.checkpoint.metadata import _MEM_FORMAT_ENCODING

    monkeypatch.setattr(
        _MEM_FORMAT_ENCODING, "__reduce_ex__", lambda member, _protocol: (getattr, (type(member), member.name))
    )
    folder = save(tmp_path / "saved", {"model": {"big": torch.arange(60.0).view(12, 5)}})
    assert b"getattr" in (folder / ".metadata").read_bytes()
    assert open_checkpoint(folder).read("big").equal(torch.arange(60.0).view(12, 5))


@pytest.mark.parametrize("owner", [b"cbuiltins\ngetattr\n", b"ctorch\nSize\n", b"S'text'\n"])
def test_attributes_of_anything_else_are_refused(tmp_path, owner: bytes):
    path = tmp_path / ".metadata"
    path.write_bytes(b"cbuiltins\ngetattr\n(" + owner + b"S'__class__'\ntR.")
    with pytest.raises(ContainerError, match=r"asks for 'builtins\.getattr', which could run code"):
        read_metadata(str(path))


@pytest.mark.parametrize("content", [b"", b"\x80\x04", b"junk", pickle.dumps([1, 2]), pickle.dumps({})])
def test_broken_metadata_are_refused(tmp_path, content: bytes):
    (tmp_path / ".metadata").write_bytes(content)
    with pytest.raises(ContainerError, match="pickle"):
        open_checkpoint(tmp_path)


def test_metadata_cut_off_anywhere_are_refused_or_complete(folder, tmp_path):
    raw = (folder / ".metadata").read_bytes()
    path = tmp_path / "cut"
    for length in range(0, len(raw), 97):
        path.write_bytes(raw[:length])
        with pytest.raises(ContainerError):
            read_metadata(str(path))

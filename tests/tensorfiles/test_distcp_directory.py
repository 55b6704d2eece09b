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


def save_chunks(folder: Path, shape: tuple[int, ...], chunks: list[tuple[tuple[int, ...], tuple[int, ...]]]) -> Path:
    """Save the numbers from 0 on in this shape, each chunk (offsets, sizes) in a file of its own.

    The metadata of the whole are written by hand, sound or not: torch would write no others than sound ones. What lies
    outside of the shape is cut off from the values and kept in the metadata.
    """
    from torch.distributed.checkpoint import metadata as m
    from torch.distributed.checkpoint.filesystem import _StorageInfo

    whole = torch.arange(float(torch.Size(shape).numel())).view(shape)
    found, storage = [], {}
    for rank, (offsets, sizes) in enumerate(chunks):
        values = torch.full(sizes, -1.0)
        part = whole[tuple(slice(max(o, 0), o + s) for o, s in zip(offsets, sizes, strict=True))]
        if part.shape == values.shape:
            values = part.clone()
        with (folder / f"__{rank}_0.distcp").open("wb") as out:
            out.write(b"padding")
            torch.save(values, out)
            length = out.tell() - 7
        found.append(m.ChunkStorageMetadata(offsets=torch.Size(offsets), sizes=torch.Size(sizes)))
        storage[m.MetadataIndex("w", torch.Size(offsets))] = _StorageInfo(f"__{rank}_0.distcp", 7, length)
    tensor = m.TensorStorageMetadata(
        properties=m.TensorProperties(dtype=torch.float32), size=torch.Size(shape), chunks=found
    )
    with (folder / ".metadata").open("wb") as out:
        pickle.dump(m.Metadata(state_dict_metadata={"w": tensor}, storage_data=storage), out)
    return folder


def test_chunks_of_several_files_are_put_together(tmp_path):
    checkpoint = open_checkpoint(save_chunks(tmp_path, (5, 3), [((0, 0), (2, 3)), ((2, 0), (3, 3))]))
    whole = torch.arange(15.0).view(5, 3)
    assert checkpoint.read("w").equal(whole)
    assert checkpoint.read("w", rows=slice(1, 4)).equal(whole[1:4])
    assert checkpoint.read("w", rows=slice(3, 5)).equal(whole[3:5])


def test_chunks_split_along_every_axis_are_put_together(tmp_path):
    chunks = [((row, column), (2, 2)) for row in (0, 2) for column in (0, 2)] + [((4, 0), (1, 4))]
    checkpoint = open_checkpoint(save_chunks(tmp_path, (5, 4), chunks))
    whole = torch.arange(20.0).view(5, 4)
    assert checkpoint.read("w").equal(whole)
    for first in range(5):
        for last in range(first, 6):
            assert checkpoint.read("w", rows=slice(first, last)).equal(whole[first:last])


@pytest.mark.parametrize(
    ("chunks", "message"),
    [
        pytest.param([((0, 0), (2, 3))], "the chunks of tensor 'w' cover 6 of 15 elements", id="rows missing"),
        pytest.param([((0, 0), (5, 2))], "the chunks of tensor 'w' cover 10 of 15 elements", id="a column missing"),
        pytest.param(
            [((0, 0), (3, 3)), ((2, 0), (3, 3))],
            r"a chunk of tensor 'w' at \[2, 0\] overlaps another",
            id="one row twice",
        ),
        pytest.param(
            [((0, 0), (2, 3)), ((1, 0), (3, 3))],
            r"a chunk of tensor 'w' at \[1, 0\] overlaps another",
            id="as many elements as the tensor, one row twice and the last one missing",
        ),
        pytest.param(
            [((0, 0), (5, 2)), ((0, 1), (5, 1))],
            r"a chunk of tensor 'w' at \[0, 1\] overlaps another",
            id="as many elements as the tensor, one column twice and the last one missing",
        ),
        pytest.param(
            [((0, 0), (6, 3))], r"at \[0, 0\] of shape \[6, 3\] lies outside of its shape \[5, 3\]", id="one row beyond"
        ),
        pytest.param([((0, 1), (5, 3))], r"at \[0, 1\] of shape \[5, 3\] lies outside", id="one column beyond"),
        pytest.param([((-1, 0), (6, 3))], r"at \[-1, 0\] of shape \[6, 3\] lies outside", id="a row before the first"),
        pytest.param(
            [((0, -3), (5, 3))], r"at \[0, -3\] of shape \[5, 3\] lies outside", id="a column before the first"
        ),
        pytest.param([((0,), (5,))], r"at \[0\] of shape \[5\] lies outside", id="an axis missing"),
        pytest.param([((), ())], r"at \[\] of shape \[\] lies outside", id="no axes"),
        pytest.param([], "cover 0 of 15 elements", id="no chunks"),
    ],
)
def test_chunks_that_do_not_cover_each_element_once_are_refused(tmp_path, chunks, message: str):
    checkpoint = open_checkpoint(save_chunks(tmp_path, (5, 3), chunks))
    with pytest.raises(ContainerError, match=message):
        checkpoint.read("w")


def test_a_gap_outside_of_the_rows_that_were_asked_for_does_not_matter(tmp_path):
    checkpoint = open_checkpoint(save_chunks(tmp_path, (5, 3), [((0, 0), (2, 3))]))
    assert checkpoint.read("w", rows=slice(0, 2)).tolist() == [[0, 1, 2], [3, 4, 5]]
    with pytest.raises(ContainerError, match="cover 3 of 6 elements"):
        checkpoint.read("w", rows=slice(1, 3))


@pytest.mark.parametrize("shape", [(), (1,)])
def test_a_single_number_that_stands_in_two_chunks_is_refused(tmp_path, shape: tuple[int, ...]):
    nowhere = tuple(0 for _ in shape)
    checkpoint = open_checkpoint(save_chunks(tmp_path, shape, [(nowhere, shape), (nowhere, shape)]))
    with pytest.raises(ContainerError, match="overlaps another"):
        checkpoint.read("w")


@pytest.mark.parametrize("name", ["../x", "sub/x", "/x"])
def test_a_shard_that_lies_elsewhere_is_refused(tmp_path, name: str):
    inside = tmp_path / "checkpoint"
    inside.mkdir()
    save_chunks(inside, (5, 3), [((0, 0), (5, 3))])
    metadata = (inside / ".metadata").read_bytes()
    usual = b"X\x0c\0\0\0__0_0.distcp" if b"X\x0c\0\0\0" in metadata else b"\x8c\x0c__0_0.distcp"
    head = b"X" + len(name).to_bytes(4, "little") if usual[:1] == b"X" else b"\x8c" + bytes([len(name)])
    assert usual in metadata
    changed = metadata.replace(usual, head + name.encode())
    # A frame of protocol 4 says how long it is.
    length = int.from_bytes(changed[3:11], "little") + len(changed) - len(metadata)
    (inside / ".metadata").write_bytes(changed[:3] + length.to_bytes(8, "little") + changed[11:])
    (tmp_path / "x").write_bytes(b"")
    with pytest.raises(ContainerError, match=rf"\.metadata names the shard '{name}'; expected a file beside it"):
        open_checkpoint(inside)


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

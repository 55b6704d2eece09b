"""What containers give piece by piece is what they give as a whole, and no stored copy is left out."""

import json
import struct
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from plantedweights import CONTAINERS, as_dcp
from safetensors.torch import save_file
from tensorfiles.gguf_files import gguf_bytes, write_gguf

from mhcdiag.errors import ContainerError, MhcdiagError, MissingExtraError
from mhcdiag.namedtensors import TensorInfo
from mhcdiag.tensorfiles import open_checkpoint
from mhcdiag.tensorfiles.distcp_metadata import Chunk
from mhcdiag.tensorfiles.streams import Stream, further_in, raw_bytes, streams_of, tensor_reader, unread_in

G = torch.Generator().manual_seed(0)
TENSORS = {
    "model.layers.0.w": torch.randn(40, 30, generator=G),
    "model.layers.0.h": torch.randn(7, 5, 3, generator=G).bfloat16(),
    "v": torch.randn(11, generator=G).half(),
    "n": torch.tensor(3.0),
    "e": torch.zeros(0, 4),
}


def gathered(stream: Stream, step: int = 64) -> np.ndarray:
    """All elements of a stream by its blocks, read in steps, in the element type that it names."""
    kind = {"F32": np.float32, "F64": np.float64, "F16": np.float16, "BF16": np.uint16, "I64": np.int64, "U8": np.uint8}
    found = np.zeros(stream.shape, dtype=kind[stream.dtype])
    buffer = memoryview(bytearray(4096))
    for block in stream.blocks:
        part = np.zeros(block.shape, dtype=found.dtype).reshape(-1)
        for first in range(0, part.size, step):
            count = min(step, part.size - first)
            part[first : first + count] = np.array(block.read(first, count, buffer)).view(found.dtype)
        place = tuple(slice(o, o + s) for o, s in zip(block.offsets, block.shape, strict=True))
        found[place] = part.reshape(block.shape)
    return found


def numbers(tensor: torch.Tensor) -> np.ndarray:
    return tensor.view(torch.uint16).numpy() if tensor.dtype == torch.bfloat16 else tensor.numpy()


def assert_gives(path: Path, tensors: dict[str, torch.Tensor]) -> None:
    checkpoint = open_checkpoint(path)
    for name, tensor in tensors.items():
        (stream,) = streams_of(checkpoint, name)
        assert stream.shape == tuple(tensor.shape)
        assert np.array_equal(gathered(stream), numbers(tensor.contiguous())), name


@pytest.mark.parametrize("container", [name for name in CONTAINERS if name != "gguf"])
def test_pieces_make_up_the_tensor(container: str, tmp_path: Path) -> None:
    assert_gives(CONTAINERS[container](tmp_path / "m", TENSORS), TENSORS)


def test_pieces_of_a_gguf_file_make_up_the_tensor(tmp_path: Path) -> None:
    tensors = {name: tensor for name, tensor in TENSORS.items() if tensor.dtype != torch.bfloat16 and tensor.ndim}
    del tensors["e"]
    path = write_gguf(tmp_path / "a.gguf", {name: tensor.numpy() for name, tensor in tensors.items()}, {})
    assert_gives(path, tensors)


def test_quantised_values_ask_for_the_extra_where_it_is_missing(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "gguf", None)
    raw = bytearray(gguf_bytes({"w": np.zeros(64, dtype=np.float16)}, {}))
    at = raw.rindex(struct.pack("<IQ", 1, 0))
    raw[at : at + 4] = struct.pack("<I", 8)  # Q8_0
    (tmp_path / "a.gguf").write_bytes(raw)
    with pytest.raises(MissingExtraError, match=r"values quantised as Q8_0 needs the extra 'gguf'"):
        streams_of(open_checkpoint(tmp_path / "a.gguf"), "w")


def test_quantised_values_are_given_as_float32(tmp_path: Path) -> None:
    package = pytest.importorskip("gguf")
    values = np.random.default_rng(0).normal(size=(4, 64)).astype(np.float32)
    q8 = package.GGMLQuantizationType.Q8_0
    writer = package.GGUFWriter(tmp_path / "a.gguf", "llama")
    writer.add_tensor("w", package.quants.quantize(values, q8), raw_dtype=q8)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    (stream,) = streams_of(open_checkpoint(tmp_path / "a.gguf"), "w")
    assert (stream.dtype, stream.stored, stream.bytes, stream.blocks[0].group) == ("F32", "Q8_0", 272, 32)
    assert np.abs(gathered(stream) - values).max() < 0.02


@pytest.mark.parametrize("compressed", [False, True])
def test_pieces_of_numpy_arrays_make_up_the_array(compressed: bool, tmp_path: Path) -> None:
    arrays = {
        "a": np.arange(600.0).reshape(20, 30), "b": np.arange(7, dtype=np.float32),
        "f": np.asfortranarray(np.arange(12.0).reshape(3, 4)), "i": np.arange(5),
    }  # fmt: skip
    (np.savez_compressed if compressed else np.savez)(tmp_path / "a.npz", **arrays)
    checkpoint = open_checkpoint(tmp_path / "a.npz")
    for name, array in arrays.items():
        (stream,) = streams_of(checkpoint, name)
        assert np.array_equal(gathered(stream), array), name
    maps = np.arange(3 * 5 * 4.0).reshape(3, 5, 2, 2)
    (np.savez_compressed if compressed else np.savez)(tmp_path / "b.npz", h_res=maps)
    for site in range(3):
        (stream,) = streams_of(open_checkpoint(tmp_path / "b.npz"), f"layers.{site}.h_res")
        assert np.array_equal(gathered(stream), maps[site])


def test_views_of_other_orders_give_their_elements_in_order(tmp_path: Path) -> None:
    base = torch.randn(12, 10, generator=torch.Generator().manual_seed(1))
    tensors = {"t": base.t(), "s": base[:, ::3], "o": base[3:7], "whole": base}
    torch.save(tensors, tmp_path / "a.pt")
    assert_gives(tmp_path / "a.pt", tensors)


def test_complex_numbers_are_read_as_their_parts(tmp_path: Path) -> None:
    values = torch.complex(torch.arange(6.0).reshape(2, 3), -torch.ones(2, 3))
    save_file({"c": values}, tmp_path / "a.safetensors")
    torch.save({"c": values}, tmp_path / "a.pt")
    for path in (tmp_path / "a.safetensors", tmp_path / "a.pt", as_dcp(tmp_path / "d", {"c": values})):
        (stream,) = streams_of(open_checkpoint(path), "c")
        assert stream.dtype == "F32"
        assert np.array_equal(gathered(stream), torch.view_as_real(values).numpy())


def test_what_expand_repeats_is_read_once(tmp_path: Path) -> None:
    torch.save({"a": torch.arange(3.0)[:, None].expand(3, 1_000_000_000)}, tmp_path / "a.pt")
    (stream,) = streams_of(open_checkpoint(tmp_path / "a.pt"), "a")
    assert stream.shape == (3, 1)
    assert gathered(stream)[:, 0].tolist() == [0, 1, 2]


def test_tied_tensors_have_one_memory_and_others_have_not(tmp_path: Path) -> None:
    one = torch.ones(4, 4)
    torch.save({"a": one, "b": one, "c": one.clone()}, tmp_path / "a.pt")
    checkpoint = open_checkpoint(tmp_path / "a.pt")
    a, b, c = (streams_of(checkpoint, name)[0].memory for name in "abc")
    assert a == b != c


def test_values_of_a_mapped_file_are_read_from_it_and_counted(tmp_path: Path) -> None:
    torch.save({"a": torch.randn(1000, 100), "b": torch.randn(5, 5).t()}, tmp_path / "a.pt")
    checkpoint = open_checkpoint(tmp_path / "a.pt")
    before = checkpoint.bytes_read
    (stream,) = streams_of(checkpoint, "a")
    buffer = memoryview(bytearray(400))
    read = stream.blocks[0].read(50_000, 100, buffer)
    assert np.shares_memory(read, np.frombuffer(buffer, dtype=np.uint8))
    assert np.array_equal(np.array(read).view(np.float32), checkpoint.read("a")[500].numpy())
    assert checkpoint.bytes_read - before >= 400


# What files hold beside the model


def test_tensors_beside_the_model_are_named_by_the_keys_that_lead_to_them(tmp_path: Path) -> None:
    shared = torch.ones(2)
    beside = {"optimizer": {"state": {0: {"exp_avg": shared, "again": shared}}, "param_groups": [{"lr": 1.0}]}}
    endless: list = [torch.zeros(1)]
    torch.save({"model": TENSORS, **beside, "rng": [torch.arange(3), endless]}, tmp_path / "a.pt")
    checkpoint = open_checkpoint(tmp_path / "a.pt")
    assert set(checkpoint.tensors) == set(TENSORS)
    assert further_in(checkpoint) == ["optimizer.state.0.exp_avg", "rng.0", "rng.1.0"]
    (stream,) = streams_of(checkpoint, "rng.0")
    assert gathered(stream).tolist() == [0, 1, 2]


def test_the_optimizer_of_a_distributed_checkpoint_is_beside_it(tmp_path: Path) -> None:
    from torch.distributed.checkpoint import FileSystemWriter
    from torch.distributed.checkpoint import save as save_distributed

    state = {"model": {"w": torch.ones(3, 3)}, "optim": {"w": {"exp_avg": torch.full((3, 3), 2.0)}}}
    with warnings.catch_warnings(action="ignore"):
        save_distributed(state, storage_writer=FileSystemWriter(tmp_path / "d"), no_dist=True)
    checkpoint = open_checkpoint(tmp_path / "d")
    assert list(checkpoint.tensors) == ["w"]
    (name,) = further_in(checkpoint)
    assert "exp_avg" in name
    assert (gathered(streams_of(checkpoint, name)[0]) == 2).all()


def test_files_and_tensors_that_the_index_leaves_out_are_said(tmp_path: Path) -> None:
    save_file({"a": torch.ones(1), "b": torch.ones(1)}, tmp_path / "model-00001-of-00002.safetensors")
    save_file({"b": torch.ones(1)}, tmp_path / "model-00002-of-00002.safetensors")
    save_file({"c": torch.ones(1)}, tmp_path / "other.safetensors")
    weight_map = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    assert list(unread_in(open_checkpoint(tmp_path))) == [
        "1 file beside it, not part of it: 'other.safetensors'",
        "1 tensor of model-00001-of-00002.safetensors that the index places in another shard",
    ]


def test_every_rank_and_every_copy_is_given(tmp_path: Path) -> None:
    for rank in range(2):
        state = {"module": {"w": torch.full((4, 4), float(rank))}, "optimizer": None}
        torch.save(state, tmp_path / f"mp_rank_0{rank}_model_states.pt")
    checkpoint = open_checkpoint(tmp_path)
    with pytest.raises(ContainerError, match="differs between 2 tensor-parallel ranks"):
        checkpoint.read("w")
    streams = streams_of(checkpoint, "w")
    assert [stream.name for stream in streams] == ["w (rank 0)", "w (rank 1)"]
    assert [gathered(stream)[0, 0] for stream in streams] == [0.0, 1.0]


# Distributed checkpoints, chunk by chunk


def test_stacked_layers_are_given_one_by_one(tmp_path: Path) -> None:
    stacked = torch.arange(3 * 4 * 5.0).reshape(3, 4, 5)
    checkpoint = open_checkpoint(as_dcp(tmp_path / "d", {"decoder.layers.mlp.weight": stacked}))
    for layer in range(3):
        (stream,) = streams_of(checkpoint, f"decoder.layers.{layer}.mlp.weight")
        assert np.array_equal(gathered(stream), stacked[layer].numpy())


def test_chunks_that_torch_saved_in_another_order_are_read_all_the_same(tmp_path: Path) -> None:
    base = torch.randn(6, 8, generator=torch.Generator().manual_seed(2))
    assert_gives(as_dcp(tmp_path / "d", {"t": base.t(), "v": base[:, 2:5]}), {"t": base.t(), "v": base[:, 2:5]})


def chunk(offsets: tuple[int, ...], sizes: tuple[int, ...]) -> Chunk:
    return Chunk(offsets=offsets, sizes=sizes, file="a", start=0, length=0)


@pytest.mark.parametrize(
    ("chunks", "message"),
    [
        ([chunk((0, 0), (2, 4)), chunk((2, 0), (2, 4))], None),
        ([chunk((0, 0), (4, 1)), chunk((0, 1), (4, 3))], None),
        ([chunk((0, 0), (2, 4))], "hold 8 of 16 elements"),
        ([chunk((0, 0), (3, 4)), chunk((2, 0), (1, 4))], "overlap"),
        ([chunk((0, 0), (4, 5))], "outside of its shape"),
        ([chunk((0,), (16,))], "outside of its shape"),
    ],
)
def test_chunks_must_cover_each_element_once(chunks, message: str | None) -> None:
    from mhcdiag.tensorfiles.distcp_chunks import what_is_wrong

    found = what_is_wrong(chunks, (4, 4))
    assert found is None if message is None else message in str(found)


def test_a_chunk_that_is_damaged_is_refused_when_it_is_read(tmp_path: Path) -> None:
    path = as_dcp(tmp_path / "d", {"w": torch.ones(100, 100)})
    (shard,) = path.glob("*.distcp")
    data = bytearray(shard.read_bytes())
    data[:200] = bytes(200)
    shard.write_bytes(data)
    with pytest.raises(MhcdiagError):
        gathered(streams_of(open_checkpoint(path), "w")[0])


# Readers


@pytest.mark.parametrize("size", [0, 1 << 40])
def test_a_tensor_that_somebody_else_makes_is_read_whole_or_by_rows(size: int) -> None:
    values = torch.arange(60.0).reshape(10, 6)
    asked: list[slice | None] = []

    def load(rows: slice | None) -> torch.Tensor:
        asked.append(rows)
        return values if rows is None else values[rows]

    read = tensor_reader(load, (10, 6), size=size)
    found = [np.array(read(first, 12, memoryview(b""))).view(np.float32) for first in range(0, 60, 12)]
    assert np.array_equal(np.concatenate(found), np.arange(60.0))
    assert asked == ([None] if size == 0 else [slice(top, top + 2) for top in range(0, 10, 2)])


def test_bytes_of_a_tensor_are_its_own() -> None:
    assert raw_bytes(torch.tensor(1.0)).view(np.float32).tolist() == [1.0]
    assert raw_bytes(torch.tensor([1 + 2j])).view(np.float32).tolist() == [1.0, 2.0]
    assert raw_bytes(torch.tensor([True, False])).tolist() == [1, 0]


def test_a_checkpoint_without_streams_is_read_through_read(tmp_path: Path) -> None:
    class Plain:
        def __init__(self) -> None:
            self.tensors = {"a": TensorInfo("a", "F32", (10, 6))}

        def read(self, name, *, rows=None):
            values = torch.arange(60.0).reshape(10, 6)
            return values if rows is None else values[rows]

    (stream,) = streams_of(Plain(), "a")
    assert np.array_equal(gathered(stream).reshape(-1), np.arange(60.0))
    assert further_in(Plain()) == []
    assert list(unread_in(Plain())) == []

"""Pieces come in order, several at a time from a server, and one that cannot be read takes only its tensor along."""

import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save
from tensorfiles.range_server import Site, serve

import mhcdiag
from mhcdiag.errors import ContainerError
from mhcdiag.tensorfiles.streams import Block, Stream
from mhcdiag.weight_scan import reading
from mhcdiag.weight_scan.parts import Part
from mhcdiag.weight_scan.reading import read_in_order


def part_of(name: str, length: int, *, broken: bool = False, seen: set[int] | None = None) -> Part:
    """A vector 0, 1, 2, ... whose pieces take longer the earlier they stand."""

    def read(first: int, count: int, buffer: memoryview):
        time.sleep(0.002 if first else 0.01)
        if seen is not None:
            seen.add(threading.get_ident())
        if broken and first:
            raise ContainerError(name, found="nothing there")
        buffer[: 4 * count] = np.arange(first, first + count, dtype=np.float32).tobytes()
        return np.frombuffer(buffer[: 4 * count], dtype=np.uint8)

    block = Block(offsets=(0,), shape=(length,), read=read)
    stream = Stream(name=name, dtype="F32", stored="F32", shape=(length,), bytes=4 * length, blocks=(block,))
    return Part(tensor=name, index=(), stream=stream)


@pytest.mark.parametrize("ahead", [0, 1, 3])
def test_pieces_come_in_order_with_their_own_bytes(ahead: int, monkeypatch) -> None:
    monkeypatch.setattr(reading, "PIECE", 64)
    seen: set[int] = set()
    parts = [part_of("a", 100, seen=seen), part_of("empty", 0), part_of("b", 3, seen=seen)]
    found: dict[str, list[float]] = {"a": [], "empty": [], "b": []}
    ends = []
    for piece in read_in_order(parts, sample=1.0, ahead=ahead):
        if piece.data is not None:
            time.sleep(0.003)  # while others are read
            found[piece.part.name] += np.array(piece.data).view(np.float32).tolist()
        if piece.ends:
            ends.append(piece.part.name)
    assert found == {"a": list(map(float, range(100))), "empty": [], "b": [0.0, 1.0, 2.0]}
    assert ends == ["a", "empty", "b"]
    assert len(seen) == max(1, ahead)


@pytest.mark.parametrize("ahead", [0, 3])
def test_what_cannot_be_read_says_why_and_the_rest_goes_on(ahead: int, monkeypatch) -> None:
    monkeypatch.setattr(reading, "PIECE", 64)
    parts = [part_of("a", 40, broken=True), part_of("b", 20)]
    pieces = list(read_in_order(parts, sample=1.0, ahead=ahead))
    assert {piece.part.name for piece in pieces if piece.error} == {"a"}
    assert [piece.part.name for piece in pieces if piece.ends] == ["a", "b"]


def test_a_tensor_that_claims_more_than_memory_holds_is_cut_one_piece_at_a_time() -> None:
    pieces = reading.sampled(reading.pieces(part_of("a", 10**18).stream), 1.0)
    assert next(pieces)[1:] == (0, 1 << 20)
    assert next(pieces)[1:] == (1 << 20, 1 << 20)


def test_a_remote_checkpoint_is_fetched_whole_and_kept_nowhere(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(reading, "PIECE", 1 << 14)
    g = torch.Generator().manual_seed(0)
    tensors = {f"layers.{number}.w": torch.randn(64, 128, generator=g) for number in range(40)}
    tensors["layers.30.w"][63, 127] = float("nan")
    site = Site(files={"/m/model.safetensors": save(tensors)})
    with serve(site) as address:
        result = mhcdiag.weights(f"{address}/m/model.safetensors")
    assert [(one.tensor, one.position) for one in result.nonfinite] == [("layers.30.w", (63, 127))]
    assert result.is_complete
    assert len(site.sent("model.safetensors")) > 60

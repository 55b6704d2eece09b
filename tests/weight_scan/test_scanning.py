"""A scan covers each element once, places what it finds, and needs one buffer whatever the size of a tensor."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from mhcdiag.tensorfiles import open_checkpoint
from mhcdiag.tensorfiles.streams import Block, Stream
from mhcdiag.weight_scan import scanning
from mhcdiag.weight_scan.scanning import pieces, scan

SHAPES = [(), (1,), (7,), (10_000,), (3, 5), (100, 64), (2, 5000), (4, 3, 50), (0, 3), (1, 1, 1)]


def stream_of(shape: tuple[int, ...], dtype: str = "F32", group: int = 1) -> Stream:
    def read(first, count, buffer):
        raise AssertionError("nothing is read to plan")

    block = Block(offsets=(0,) * len(shape), shape=shape, read=read, group=group)
    return Stream(name="a", dtype=dtype, stored=dtype, shape=shape, bytes=0, blocks=(block,))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("dtype", "group"), [("F32", 1), ("BF16", 1), ("F4", 1), ("F32", 32)])
def test_pieces_cover_each_element_once_and_hold_whole_rows(shape, dtype: str, group: int, monkeypatch) -> None:
    monkeypatch.setattr(scanning, "PIECE", 1024)
    count = int(np.prod(shape))
    row = int(np.prod(shape[1:])) if len(shape) > 1 else count
    if dtype == "F4" and row % 2:
        pytest.skip("two such values share a byte")
    seen = np.zeros(count, dtype=int)
    for _, first, length in pieces(stream_of(shape, dtype, group)):
        seen[first : first + length] += 1
        bits = {"F32": 32, "BF16": 16, "F4": 4}[dtype]
        assert length * bits <= 8 * 1024
        assert first % group == 0 or row % group
        if len(shape) > 1:
            whole = first % row == 0 and length % row == 0
            assert whole or first // row == (first + length - 1) // row
    assert (seen == 1).all()


def test_a_sample_takes_its_share_and_both_ends(monkeypatch) -> None:
    monkeypatch.setattr(scanning, "SAMPLED_PIECE", 1024)
    every = list(pieces(stream_of((100_000,)), 0.1))
    chosen = list(scanning._chosen(every, 0.1))
    assert every[0] in chosen
    assert every[-1] in chosen
    assert len(chosen) == pytest.approx(0.1 * len(every), abs=2)
    assert list(scanning._chosen(every, 1.0)) == every


@pytest.mark.parametrize("piece", [256, 1024, 1 << 22])
def test_numbers_and_places_do_not_depend_on_the_pieces(piece: int, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(scanning, "PIECE", piece)
    values = torch.randn(37, 130, generator=torch.Generator().manual_seed(0))
    values[36, 129] = values[5, 60] = float("nan")
    values[5, 61] = float("inf")
    values[20, 0] = float("-inf")
    values[9] = 0
    values[:, 7] = 0
    save_file({"a": values, "v": values[30].clone(), "n": torch.tensor(float("nan"))}, tmp_path / "a.safetensors")
    found = {part.name: summary for part, summary in scan(open_checkpoint(tmp_path / "a.safetensors")).parts}
    a = found["a"]
    finite = values[torch.isfinite(values)].double()
    assert (a.nan, a.first_nan, a.infinite, a.negative, a.first_infinite) == (2, (5, 60), 2, 1, (5, 61))
    assert (a.scanned, a.zeros) == (37 * 130, int((values == 0).sum()))
    assert a.absmax == float(finite.abs().max())
    assert a.rms == pytest.approx(float(finite.square().mean().sqrt()), rel=1e-6)
    assert (a.rows.dead, a.rows.first_dead, a.columns.dead, a.columns.first_dead) == (1, 9, 1, 7)
    assert (found["v"].rows, found["v"].columns, found["v"].is_matrix) == (None, None, False)
    assert found["n"].first_nan == ()


def test_the_largest_row_and_column_are_named(tmp_path: Path) -> None:
    values = torch.ones(20, 30)
    values[13] *= 3
    values[:, 4] *= 7
    save_file({"a": values}, tmp_path / "a.safetensors")
    ((_, found),) = scan(open_checkpoint(tmp_path / "a.safetensors")).parts
    assert (found.rows.largest_at, found.columns.largest_at) == (13, 4)
    assert found.rows.largest == pytest.approx(3 * ((29 + 49) / 30) ** 0.5)
    assert found.rows.median == pytest.approx(((29 + 49) / 30) ** 0.5)


def test_equal_bytes_have_equal_sketches_and_others_have_not(tmp_path: Path) -> None:
    g = torch.Generator().manual_seed(0)
    one = torch.randn(40, 50, generator=g)
    other = one.clone()
    other[3, 3] += 1e-3
    swapped = one[torch.randperm(40, generator=g)]
    save_file({"a": one, "b": one.clone(), "c": other, "d": swapped}, tmp_path / "a.safetensors")
    found = {part.name: summary.sketch for part, summary in scan(open_checkpoint(tmp_path / "a.safetensors")).parts}
    assert found["a"] == found["b"]
    assert len({found["a"], found["c"], found["d"]}) == 3


def test_progress_tells_bytes_and_ends_at_all_of_them(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(scanning, "PIECE", 1024)
    save_file({"a": torch.ones(100, 64), "b": torch.ones(10)}, tmp_path / "a.safetensors")
    told: list[tuple[int, int]] = []
    scan(open_checkpoint(tmp_path / "a.safetensors"), progress=lambda done, total: told.append((done, total)))
    assert len(told) > 20
    assert told == sorted(told)
    assert told[-1] == (4 * 6410, 4 * 6410)


def test_large_checkpoints_are_scanned_by_compiled_loops(tmp_path: Path, monkeypatch) -> None:
    values = torch.randn(300, 70, generator=torch.Generator().manual_seed(0)).bfloat16()
    save_file({"a": values}, tmp_path / "a.safetensors")
    plain = scan(open_checkpoint(tmp_path / "a.safetensors"))
    monkeypatch.setattr(scanning, "WORTH_COMPILING", 0)
    fast = scan(open_checkpoint(tmp_path / "a.safetensors"))
    assert (plain.kernel, fast.kernel) == ("numpy", "numba")
    (_, one), (_, other) = plain.parts[0], fast.parts[0]
    assert one.rms == pytest.approx(other.rms, rel=1e-6)
    assert (one.absmax, one.zeros, one.scanned) == (other.absmax, other.zeros, other.scanned)

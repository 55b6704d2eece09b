"""Directories of pytorch_model.bin, whole or in shards."""

from pathlib import Path

import pytest
import torch
from tensorfiles.builders import index_of, with_tensors

from mhcdiag.errors import ContainerError
from mhcdiag.tensorfiles import open_checkpoint

INDEX = "pytorch_model.bin.index.json"
ONE, TWO = "pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin"


@pytest.fixture
def sharded(tmp_path: Path) -> Path:
    """A directory of two shards with index and configuration: a, b in the first, c in the second."""
    torch.save({"a": torch.zeros(3), "b": torch.zeros(5)}, tmp_path / ONE)
    torch.save({"c": torch.zeros(7)}, tmp_path / TWO)
    torch.save({"exp_avg": torch.zeros(7)}, tmp_path / "optimizer.bin")
    index_of(tmp_path, INDEX, {"a": ONE, "b": ONE, "c": TWO})
    (tmp_path / "config.json").write_text('{"hc_mult": 4}')
    return tmp_path


def lengths(path: Path) -> dict[str, int]:
    return {name: info.shape[0] for name, info in open_checkpoint(path).tensors.items()}


def test_index(sharded: Path) -> None:
    assert lengths(sharded) == lengths(sharded / INDEX) == {"a": 3, "b": 5, "c": 7}
    checkpoint = open_checkpoint(sharded)
    assert checkpoint.config == {"hc_mult": 4}
    files = [sharded / name for name in (ONE, TWO, INDEX, "config.json")]
    assert checkpoint.bytes_total == sum(file.stat().st_size for file in files)
    assert checkpoint.bytes_read == checkpoint.bytes_total - 4 * (3 + 5 + 7)
    assert checkpoint.read("c").tolist() == [0] * 7
    assert checkpoint.bytes_read == checkpoint.bytes_total - 4 * (3 + 5)


def test_loose_shards(sharded: Path) -> None:
    (sharded / INDEX).unlink()
    assert lengths(sharded) == {"a": 3, "b": 5, "c": 7}


def test_a_number_missing_among_loose_shards(sharded: Path) -> None:
    (sharded / INDEX).unlink()
    (sharded / TWO).unlink()
    with pytest.raises(ContainerError, match=f"{TWO}: no such file, but .* counts 2"):
        open_checkpoint(sharded)


def test_one_file_beside_the_optimizer(sharded: Path) -> None:
    for name in (ONE, TWO, INDEX):
        (sharded / name).unlink()
    torch.save({"w": torch.zeros(11)}, sharded / "pytorch_model.bin")
    assert lengths(sharded) == {"w": 11}


def test_the_only_file(tmp_path: Path) -> None:
    torch.save({"model": {"w": torch.zeros(11)}}, tmp_path / "ckpt.pt")
    (tmp_path / "log.txt").write_text("step 1")
    assert lengths(tmp_path) == {"w": 11}


def test_several_files_of_which_none_is_usual(tmp_path: Path) -> None:
    for name in ("step1.pt", "step2.pt"):
        torch.save({"w": torch.zeros(11)}, tmp_path / name)
    with pytest.raises(ContainerError, match=r"2 files of torch: 'step1.pt', 'step2.pt'; .*pass the path of one"):
        open_checkpoint(tmp_path)


def test_safetensors_are_preferred(sharded: Path) -> None:
    with_tensors(sharded, "model.safetensors", "s")
    assert list(open_checkpoint(sharded).tensors) == ["s"]


def test_index_naming_a_missing_shard(sharded: Path) -> None:
    (sharded / TWO).unlink()
    with pytest.raises(ContainerError, match=rf"{TWO}: no such file, but .*{INDEX} names it"):
        open_checkpoint(sharded)


def test_index_naming_a_tensor_that_the_shard_lacks(sharded: Path) -> None:
    index_of(sharded, INDEX, {"a": ONE, "b": TWO, "c": TWO})
    with pytest.raises(ContainerError, match=f"the index places tensor 'b' in .*{TWO}, which lacks it"):
        open_checkpoint(sharded)


def test_index_with_a_path_outside_of_the_directory(sharded: Path) -> None:
    index_of(sharded, INDEX, {"a": f"../{ONE}"})
    with pytest.raises(ContainerError, match="expected a file inside the directory of the index"):
        open_checkpoint(sharded)


def test_the_same_tensor_in_two_loose_shards(sharded: Path) -> None:
    (sharded / INDEX).unlink()
    torch.save({"a": torch.zeros(7)}, sharded / TWO)
    with pytest.raises(ContainerError, match=f"{TWO}: tensor 'a' stands here and in .*{ONE}"):
        open_checkpoint(sharded)


def test_a_shard_that_is_something_else(sharded: Path) -> None:
    with_tensors(sharded, TWO, "c")
    with pytest.raises(ContainerError, match=f"{TWO}: a file that begins with .*expected a file written by torch.save"):
        open_checkpoint(sharded)
    (sharded / TWO).write_bytes(b"")
    with pytest.raises(ContainerError, match=f"{TWO}: an empty file; expected a file written by torch.save"):
        open_checkpoint(sharded)

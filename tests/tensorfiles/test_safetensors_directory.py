"""Shards with an index, loose shards, and everything that can be wrong with either."""

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tensorfiles.builders import index_of, with_tensors

from mhcdiag.errors import ContainerError, SettingError
from mhcdiag.tensorfiles import open_checkpoint

INDEX = "model.safetensors.index.json"
ONE, TWO = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"


@pytest.fixture
def sharded(tmp_path: Path) -> Path:
    """A directory of two shards with index and configuration: a, b in the first, c in the second."""
    with_tensors(tmp_path, ONE, "a", "b")
    with_tensors(tmp_path, TWO, "c")
    index_of(tmp_path, INDEX, {"a": ONE, "b": ONE, "c": TWO})
    (tmp_path / "config.json").write_text('{"hc_mult": 4}')
    return tmp_path


@pytest.mark.parametrize("spelling", ["{}", "{}/", "{}/" + INDEX])
def test_directory_and_index_are_the_same_checkpoint(spelling: str, sharded: Path) -> None:
    path = spelling.format(sharded)
    checkpoint = open_checkpoint(path)
    assert checkpoint.path == path
    assert list(checkpoint.tensors) == ["a", "b", "c"]
    assert [checkpoint.read(name).item() for name in "abc"] == [0, 1, 0]
    assert checkpoint.config == {"hc_mult": 4}
    assert checkpoint.bytes_total == sum(file.stat().st_size for file in sharded.iterdir())
    assert checkpoint.bytes_read == checkpoint.bytes_total


def test_opening_reads_headers_index_and_configuration(sharded: Path) -> None:
    checkpoint = open_checkpoint(sharded)
    assert checkpoint.bytes_total - checkpoint.bytes_read == 3 * 4


def test_relative_paths(sharded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(sharded)
    for path in (".", INDEX):
        assert list(open_checkpoint(path).tensors) == ["a", "b", "c"]
        assert open_checkpoint(path).config == {"hc_mult": 4}


def test_shards_that_the_index_does_not_name_are_no_part_of_the_checkpoint(sharded: Path) -> None:
    with_tensors(sharded, "consolidated.safetensors", "a")
    assert len(open_checkpoint(sharded).tensors) == 3


def test_of_two_copies_of_a_tensor_the_index_chooses_one(sharded: Path) -> None:
    with_tensors(sharded, TWO, "c", "a")
    assert open_checkpoint(sharded).read("a").item() == 0
    index_of(sharded, INDEX, {"a": TWO, "b": ONE, "c": TWO})
    assert open_checkpoint(sharded).read("a").item() == 1


def test_a_tensor_that_the_index_forgot_is_kept(sharded: Path) -> None:
    index_of(sharded, INDEX, {"a": ONE, "c": TWO})
    assert list(open_checkpoint(sharded).tensors) == ["a", "b", "c"]


def test_an_index_of_another_name_is_found(sharded: Path) -> None:
    (sharded / INDEX).rename(sharded / "diffusion.safetensors.index.json")
    with_tensors(sharded, "other.safetensors", "a")
    assert list(open_checkpoint(sharded).tensors) == ["a", "b", "c"]


def test_shards_in_a_folder_below_the_index(tmp_path: Path) -> None:
    (tmp_path / "shards").mkdir()
    with_tensors(tmp_path / "shards", "one.safetensors", "a")
    index_of(tmp_path, INDEX, {"a": "shards/one.safetensors"})
    assert list(open_checkpoint(tmp_path).tensors) == ["a"]


def test_loose_shards(sharded: Path) -> None:
    (sharded / INDEX).unlink()
    with_tensors(sharded, "._model.safetensors")
    (sharded / "._model.safetensors").write_bytes(b"left by a file server")
    assert list(open_checkpoint(sharded).tensors) == ["a", "b", "c"]


def test_metadata_of_the_first_shard_has_the_word(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(1)}, tmp_path / "1.safetensors", metadata={"format": "pt", "sites": "[]"})
    save_file({"b": torch.zeros(1)}, tmp_path / "2.safetensors", metadata={"format": "np", "step": "7"})
    assert open_checkpoint(tmp_path).metadata == {"format": "pt", "sites": "[]", "step": "7"}


def test_links_of_a_cache_may_lead_out_of_the_directory(
    sharded: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    snapshot = tmp_path_factory.mktemp("cache") / "snapshots" / "4d7a"
    blobs = snapshot.parent.parent / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    for number, file in enumerate(sorted(sharded.iterdir())):
        file.rename(blobs / str(number))
        (snapshot / file.name).symlink_to(f"../../blobs/{number}")
    checkpoint = open_checkpoint(snapshot)
    assert list(checkpoint.tensors) == ["a", "b", "c"]
    assert checkpoint.config == {"hc_mult": 4}
    one = open_checkpoint(snapshot / ONE)
    assert list(one.tensors) == ["a", "b"]
    assert one.config == {"hc_mult": 4}


OUTSIDE = [
    "../other.safetensors",
    "/etc/passwd",
    "a/../../other.safetensors",
    "..\\other",
    "C:\\other",
    "\\\\host\\x",
    ".",
]


@pytest.mark.parametrize("shard", [*OUTSIDE, "", "a\0b", "a\nb"])
def test_index_with_a_path_outside_of_the_directory(shard: str, sharded: Path) -> None:
    (sharded.parent / "other.safetensors").write_bytes((sharded / TWO).read_bytes())
    index_of(sharded, INDEX, {"a": ONE, "c": shard})
    with pytest.raises(ContainerError, match="expected a file inside the directory of the index") as caught:
        open_checkpoint(sharded)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "an empty file; expected a JSON object"),
        ("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "run `git lfs pull`"),
        ("[]", "the file is a list; expected a JSON object"),
        ("{}", "no weight_map"),
        ('{"weight_map": {}}', "no weight_map"),
        ('{"weight_map": []}', "no weight_map"),
        ('{"weight_map": {"a": "x"', "the file is not JSON at line 1 column 25"),
        ('{"weight_map": {"a": 1}}', "the shard of 'a' is 1; expected a file name"),
        ('{"weight_map": {"a": ["x"]}}', r"the shard of 'a' is \['x'\]; expected a file name"),
        (f'{{"weight_map": {{"a": "{ONE}", "a": "{TWO}"}}}}', "the key 'a' stands twice"),
    ],
)
def test_broken_index(text: str, message: str, sharded: Path) -> None:
    (sharded / INDEX).write_text(text)
    with pytest.raises(ContainerError, match=message) as caught:
        open_checkpoint(sharded)
    assert str(caught.value).startswith(str(sharded / INDEX))


def test_index_naming_a_missing_shard(sharded: Path) -> None:
    (sharded / TWO).unlink()
    with pytest.raises(ContainerError, match=rf"{TWO}: no such file, but .*{INDEX} names it"):
        open_checkpoint(sharded)


def test_index_naming_a_shard_whose_link_leads_nowhere(sharded: Path) -> None:
    (sharded / TWO).unlink()
    (sharded / TWO).symlink_to("../../blobs/4d7a")
    with pytest.raises(ContainerError, match=f"{TWO}: a symbolic link to ../../blobs/4d7a, which does not exist"):
        open_checkpoint(sharded)


def test_index_naming_a_tensor_that_the_header_lacks(sharded: Path) -> None:
    index_of(sharded, INDEX, {"a": ONE, "b": ONE, "c": TWO, "d": TWO})
    with pytest.raises(ContainerError, match=f"the index places tensor 'd' in '{TWO}', whose header lacks it"):
        open_checkpoint(sharded)


def test_index_naming_the_wrong_shard(sharded: Path) -> None:
    index_of(sharded, INDEX, {"a": ONE, "b": TWO, "c": TWO})
    with pytest.raises(ContainerError, match=f"the index places tensor 'b' in '{TWO}', whose header lacks it"):
        open_checkpoint(sharded)


def test_two_indices_of_which_none_is_usual(sharded: Path) -> None:
    for name in ("x.safetensors.index.json", "y.safetensors.index.json"):
        index_of(sharded, name, {"a": ONE})
    assert len(open_checkpoint(sharded).tensors) == 3
    (sharded / INDEX).unlink()
    with pytest.raises(ContainerError, match=r"2 indices: .*; pass the path of one of them"):
        open_checkpoint(sharded)


def test_the_same_tensor_in_two_loose_shards(tmp_path: Path) -> None:
    with_tensors(tmp_path, "hc.safetensors", "a", "b")
    with_tensors(tmp_path, "mhc.safetensors", "b", "c")
    with pytest.raises(ContainerError, match=r"mhc.safetensors: tensor 'b' stands here and in .*/hc.safetensors"):
        open_checkpoint(tmp_path)


@pytest.mark.parametrize("missing", [ONE, TWO])
def test_a_number_missing_among_loose_shards(missing: str, sharded: Path) -> None:
    (sharded / INDEX).unlink()
    (sharded / missing).unlink()
    with pytest.raises(ContainerError, match=f"{missing}: no such file, but .* counts 2"):
        open_checkpoint(sharded)


def test_a_shard_that_is_broken_is_named(sharded: Path) -> None:
    (sharded / TWO).write_bytes((sharded / TWO).read_bytes()[:-1])
    with pytest.raises(ContainerError, match=f"{TWO}: the data are truncated"):
        open_checkpoint(sharded)


def test_a_key_has_no_meaning_for_safetensors(sharded: Path) -> None:
    for path in (sharded, sharded / ONE):
        with pytest.raises(SettingError, match="--key model chooses among the state dicts of a torch file"):
            open_checkpoint(path, key="model")


def test_more_shards_than_open_files(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    in_use = max(map(int, os.listdir("/proc/self/fd"))) if Path("/proc/self/fd").exists() else 64
    for number in range(53):
        with_tensors(tmp_path, f"{number}.safetensors", f"w{number}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (in_use + 23, hard))
    try:
        checkpoint = open_checkpoint(tmp_path)
        assert [checkpoint.read(name).item() for name in checkpoint.tensors] == [0] * 53
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_config_of_many_keys_survives(sharded: Path) -> None:
    config = {"model_type": "deepseek_v4", "text_config": {"hc_mult": 4, "rms_norm_eps": 1e-20}, "ok": True}
    (sharded / "config.json").write_text(json.dumps(config))
    assert open_checkpoint(sharded).config == config

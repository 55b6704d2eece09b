"""Files of torch.save, new and old, sound and hostile."""

import argparse
import collections
import itertools
import json
import os
import pathlib
import pickle
import time
import types
import warnings
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tensorfiles.builders import SOUND, file_of

from mhcdiag.errors import ContainerError
from mhcdiag.tensorfiles import open_checkpoint

Save = Callable[[Any, Path], None]


def save_zip(value: Any, path: Path) -> None:
    torch.save(value, path)


def save_legacy(value: Any, path: Path) -> None:
    torch.save(value, path, _use_new_zipfile_serialization=False)


@pytest.fixture(params=[save_zip, save_legacy])
def save(request: pytest.FixtureRequest) -> Save:
    function: Save = request.param
    return function


DTYPES = [torch.float32, torch.bfloat16, torch.float16, torch.float64, torch.int64, torch.int8, torch.bool]


@pytest.mark.parametrize("name", ["model.pt", "model.pth", "pytorch_model.bin", "model", "model.ckpt"])
def test_names_shapes_types_and_values(name: str, save: Save, tmp_path: Path) -> None:
    tensors = {str(dtype): torch.arange(5 * 7).reshape(5, 7).to(dtype) for dtype in DTYPES}
    tensors |= {"scalar": torch.tensor(3.5), "empty": torch.empty(0, 3), "transposed": torch.ones(3, 5).T}
    path = tmp_path / name
    save(collections.OrderedDict(tensors), path)
    checkpoint = open_checkpoint(path)
    assert list(checkpoint.tensors) == list(tensors)
    assert checkpoint.tensors["torch.bfloat16"].dtype == "BF16"
    assert checkpoint.tensors["torch.int64"].dtype == "I64"
    assert checkpoint.config is None
    assert checkpoint.metadata == {}
    for name_, tensor in tensors.items():
        assert checkpoint.tensors[name_].shape == tuple(tensor.shape)
        found = checkpoint.read(name_)
        assert found.is_contiguous()
        torch.testing.assert_close(found, tensor, rtol=0, atol=0)
        if tensor.ndim:
            torch.testing.assert_close(checkpoint.read(name_, rows=slice(1, 3)), tensor[1:3], rtol=0, atol=0)


def test_only_values_that_were_asked_for_count_as_read(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    save_zip({"fn": torch.ones(13, 7), "experts": torch.zeros(1009, 11)}, path)
    checkpoint = open_checkpoint(path)
    before = checkpoint.bytes_read
    assert checkpoint.bytes_total == path.stat().st_size
    assert before == checkpoint.bytes_total - 4 * (13 * 7 + 1009 * 11)
    checkpoint.read("fn", rows=slice(2, 5))
    assert checkpoint.bytes_read == before + 3 * 7 * 4
    checkpoint.read("fn")
    assert checkpoint.bytes_read == before + (3 + 13) * 7 * 4


def test_an_old_file_is_read_completely(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    save_legacy({"fn": torch.ones(13, 7)}, path)
    checkpoint = open_checkpoint(path)
    checkpoint.read("fn")
    assert checkpoint.bytes_read == checkpoint.bytes_total == path.stat().st_size


def test_values_belong_to_the_caller(save: Save, tmp_path: Path) -> None:
    save({"fn": torch.nn.Parameter(torch.ones(3))}, tmp_path / "model.pt")
    checkpoint = open_checkpoint(tmp_path / "model.pt")
    checkpoint.read("fn").zero_()
    assert checkpoint.read("fn").tolist() == [1, 1, 1]
    assert not checkpoint.read("fn").requires_grad


def test_a_training_checkpoint(save: Save, tmp_path: Path) -> None:
    model = torch.nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.ones(3)).sum().backward()
    optimizer.step()
    wrapped = {f"module._orig_mod.{name}": value for name, value in model.state_dict().items()}
    save(
        {
            "model": wrapped,
            "optimizer": optimizer.state_dict(),
            "model_args": {"n_layer": 3},
            "config": {"n_layer": 5, "lr": 1e-3},
            "args": argparse.Namespace(out=pathlib.Path("runs/1"), seed=0),
            "extra": types.SimpleNamespace(note="text"),
            "best_loss": np.float64(1.5),
            "steps": np.int64(7),
            "numpy_state": np.random.default_rng(0).integers(9, size=3),
            "torch_state": torch.get_rng_state(),
            "version": torch.__version__,
        },
        tmp_path / "ckpt.pt",
    )
    checkpoint = open_checkpoint(tmp_path / "ckpt.pt")
    assert {name: info.name for name, info in checkpoint.tensors.items()} == {
        "weight": "module._orig_mod.weight",
        "bias": "module._orig_mod.bias",
    }
    assert checkpoint.config == {"n_layer": 3, "lr": 1e-3}
    assert checkpoint.read("bias").tolist() == model.bias.tolist()


def test_config_json_beside_has_the_word(save: Save, tmp_path: Path) -> None:
    save({"model": {"w": torch.ones(3)}, "config": {"n_layer": 5}}, tmp_path / "ckpt.pt")
    (tmp_path / "config.json").write_text(json.dumps({"n_layer": 7}))
    assert open_checkpoint(tmp_path / "ckpt.pt").config == {"n_layer": 7}


def test_a_key_chooses_a_state_dict(save: Save, tmp_path: Path) -> None:
    save({"model": {"w": torch.zeros(3)}, "ema": {"shadow": {"w": torch.ones(5)}}}, tmp_path / "ckpt.pt")
    assert open_checkpoint(tmp_path / "ckpt.pt").tensors["w"].shape == (3,)
    assert open_checkpoint(tmp_path / "ckpt.pt", key="ema.shadow").tensors["w"].shape == (5,)


def test_compressed_records_are_decompressed_not_mapped(tmp_path: Path) -> None:
    save_zip({"w": torch.ones(1009)}, tmp_path / "stored.pt")
    with (
        zipfile.ZipFile(tmp_path / "stored.pt") as stored,
        zipfile.ZipFile(tmp_path / "model.pt", "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for record in stored.infolist():
            packed.writestr(record.filename, stored.read(record))
    checkpoint = open_checkpoint(tmp_path / "model.pt")
    assert checkpoint.read("w").sum() == 1009
    assert checkpoint.bytes_read == checkpoint.bytes_total == (tmp_path / "model.pt").stat().st_size


class Bomb:
    """Makes a directory when unpickled by a reader that trusts its input."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self.target),)


def bomb_beside_weights(value: Bomb, path: Path) -> None:
    save_zip({"model": {"w": torch.ones(3)}, "note": value}, path)


def bomb_in_a_pickle(value: Bomb, path: Path, protocol: int) -> None:
    path.write_bytes(pickle.dumps(value, protocol=protocol))


def bomb_after_the_magic_number(value: Bomb, path: Path) -> None:
    magic = pickle.dumps(torch.serialization.MAGIC_NUMBER, protocol=2)
    path.write_bytes(magic + pickle.dumps(value, protocol=2))


BOMBS: dict[str, Callable[[Bomb, Path], None]] = {
    "zip": save_zip,
    "legacy": save_legacy,
    "beside_weights": bomb_beside_weights,
    "after_the_magic_number": bomb_after_the_magic_number,
    **{
        f"pickle_protocol_{protocol}": lambda value, path, protocol=protocol: bomb_in_a_pickle(value, path, protocol)
        for protocol in range(6)
    },
}


@pytest.mark.parametrize("name", ["model.pt", "pytorch_model.bin", "model.safetensors", "model", "config.json"])
@pytest.mark.parametrize("kind", BOMBS)
def test_a_pickle_bomb_does_not_explode(kind: str, name: str, tmp_path: Path) -> None:
    target, path = tmp_path / "exploded", tmp_path / name
    BOMBS[kind](Bomb(target), path)
    for place in (path, tmp_path):
        with pytest.raises(ContainerError, match=r"; expected (a |tensors |\*.safetensors)") as caught:
            open_checkpoint(place)
        assert "\n" not in str(caught.value)
    assert not target.exists()


def test_the_bombs_of_the_test_above_would_explode(tmp_path: Path) -> None:
    bomb_beside_weights(Bomb(tmp_path / "exploded"), tmp_path / "model.pt")
    torch.load(tmp_path / "model.pt", weights_only=False)
    assert (tmp_path / "exploded").is_dir()


def test_what_a_pickle_asks_for_is_named(save: Save, tmp_path: Path) -> None:
    save({"model": {"w": torch.ones(3)}, "note": Bomb(tmp_path / "exploded")}, tmp_path / "model.pt")
    with pytest.raises(ContainerError, match=r"asks for '\w+\.mkdir', which could run code; nothing was run"):
        open_checkpoint(tmp_path / "model.pt")


def test_a_whole_module_is_refused_with_advice(save: Save, tmp_path: Path) -> None:
    save(torch.nn.Linear(3, 2), tmp_path / "model.pt")
    with pytest.raises(ContainerError, match=r"'torch.nn.modules.linear.Linear'.* save only the weights"):
        open_checkpoint(tmp_path / "model.pt")


def test_a_pickle_of_something_else_is_not_loaded(tmp_path: Path) -> None:
    (tmp_path / "model.pt").write_bytes(pickle.dumps({"w": [1.0, 2.0]}))
    with pytest.raises(ContainerError, match=r"a pickle that torch.save did not write; it was not loaded"):
        open_checkpoint(tmp_path / "model.pt")


def test_a_pickle_protocol_that_torch_refuses(tmp_path: Path) -> None:
    torch.save({"w": torch.ones(3)}, tmp_path / "model.pt", pickle_protocol=4)
    with pytest.raises(ContainerError, match=r"a pickle that torch refuses: .*default pickle protocol"):
        open_checkpoint(tmp_path / "model.pt")


def test_torch_named_safetensors_is_refused(save: Save, tmp_path: Path) -> None:
    save({"w": torch.ones(3)}, tmp_path / "model.safetensors")
    with pytest.raises(
        ContainerError, match=r"a (pickle|zip archive).*expected a safetensors file; .*should end in .pt"
    ):
        open_checkpoint(tmp_path / "model.safetensors")


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "4d7a"])
def test_safetensors_under_another_name_is_read_as_what_it_is(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(file_of(SOUND))
    assert list(open_checkpoint(tmp_path / name).tensors) == ["a", "b"]


@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.9, 0.99])
def test_truncated(fraction: float, save: Save, tmp_path: Path) -> None:
    save({"w": torch.ones(1009)}, tmp_path / "model.pt")
    content = (tmp_path / "model.pt").read_bytes()
    (tmp_path / "model.pt").write_bytes(content[: int(fraction * len(content))])
    with pytest.raises(
        ContainerError, match=r"(broken zip archive|torch cannot load it|refuses).*(incomplete or )?damaged"
    ):
        open_checkpoint(tmp_path / "model.pt")


@pytest.mark.parametrize("position", [100, 150, 200, 250, 300])
def test_a_damaged_pickle_is_never_a_traceback(position: int, save: Save, tmp_path: Path) -> None:
    save({"w": torch.ones(3), "b": torch.ones(2)}, tmp_path / "model.pt")
    content = bytearray((tmp_path / "model.pt").read_bytes())
    content[position : position + 9] = b"\xff" * 9
    (tmp_path / "model.pt").write_bytes(content)
    with pytest.raises(ContainerError, match=r"model.pt: "):
        list(open_checkpoint(tmp_path / "model.pt").tensors)


def test_a_zip_archive_with_a_damaged_name(tmp_path: Path) -> None:
    save_zip({"w": torch.ones(3)}, tmp_path / "model.pt")
    head, name, tail = (tmp_path / "model.pt").read_bytes().rpartition(b"data.pkl")
    (tmp_path / "model.pt").write_bytes(head + b"\xff" + name[1:] + tail)
    with pytest.raises(ContainerError, match="a broken zip archive: 'utf-8' codec can't decode"):
        open_checkpoint(tmp_path / "model.pt")


def zip_of(path: Path, *names: str) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, b"")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["word/document.xml"], "a zip archive without data.pkl; expected a file written by torch.save"),
        (["m/data.pkl", "m/constants.pkl", "m/code/a.py"], r"a TorchScript program; .*torch.jit.load"),
        (["m/data.pkl"], "torch cannot load it: "),
    ],
)
def test_zip_archives_of_something_else(names: list[str], message: str, tmp_path: Path) -> None:
    zip_of(tmp_path / "model.pt", *names)
    with pytest.raises(ContainerError, match=message):
        open_checkpoint(tmp_path / "model.pt")


def test_a_zip_archive_with_a_record_twice(tmp_path: Path) -> None:
    save_zip({"w": torch.ones(3)}, tmp_path / "model.pt")
    with zipfile.ZipFile(tmp_path / "model.pt", "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("model/data/0", bytes(12))
    with pytest.raises(ContainerError, match="two records of one name"):
        open_checkpoint(tmp_path / "model.pt")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "an empty file"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "run `git lfs pull`"),
        (b"GGUF\x03\0\0\0", "expected a complete GGUF file"),
        (b"<!DOCTYPE html>", "an unknown format that begins with b'<!DOCTYPE html>'"),
    ],
)
def test_neither_zip_nor_pickle(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "model.pt").write_bytes(content)
    with pytest.raises(ContainerError, match=message):
        open_checkpoint(tmp_path / "model.pt")


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        pytest.param(torch.ones(3, 5).to_sparse(), "layout torch.sparse_coo; expected a plain", id="sparse"),
        pytest.param(torch.ones(3, device="meta"), "on the device meta, without values", id="meta"),
    ],
)
def test_tensors_without_plain_values_are_listed_and_refused_when_read(
    tensor: torch.Tensor, message: str, tmp_path: Path
) -> None:
    save_zip({"w": tensor}, tmp_path / "model.pt")
    checkpoint = open_checkpoint(tmp_path / "model.pt")
    assert checkpoint.tensors["w"].shape == tuple(tensor.shape)
    with pytest.raises(ContainerError, match=message):
        checkpoint.read("w")


def test_a_nested_tensor_is_refused(save: Save, tmp_path: Path) -> None:
    with warnings.catch_warnings(action="ignore"):  # nested tensors are a prototype, says torch
        nested = torch.nested.nested_tensor([torch.ones(2), torch.ones(3)])
    save({"w": nested}, tmp_path / "model.pt")
    with pytest.raises(ContainerError, match="tensor 'w' is a nested tensor; expected a plain dense tensor"):
        open_checkpoint(tmp_path / "model.pt")


def test_files_are_loaded_by_several_threads_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The names that torch allows are one list of the process: who ends first must not take them from the others."""
    paths = [tmp_path / f"{i}.pt" for i in range(3)]
    for path in paths:
        save_zip({"w": torch.ones(3), "loss": np.float64(1.5)}, path)
    before = set(torch.serialization.get_safe_globals())
    load, turns = torch.load, itertools.count()

    def slow(*arguments: Any, **options: Any) -> Any:
        time.sleep(0.1 * next(turns))
        return load(*arguments, **options)

    monkeypatch.setattr(torch, "load", slow)
    with ThreadPoolExecutor(len(paths)) as pool:
        found = list(pool.map(lambda path: open_checkpoint(path).read("w").tolist(), paths))
    assert found == [[1, 1, 1]] * 3
    assert set(torch.serialization.get_safe_globals()) == before


def test_what_torch_allows_is_as_it_was_afterwards(save: Save, tmp_path: Path) -> None:
    from torch._weights_only_unpickler import _get_allowed_globals

    before = dict(_get_allowed_globals())
    save({"w": torch.ones(3)}, tmp_path / "model.pt")
    open_checkpoint(tmp_path / "model.pt")
    assert _get_allowed_globals() == before
    assert before["torch._utils._rebuild_nested_tensor"] is torch._utils._rebuild_nested_tensor

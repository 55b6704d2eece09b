"""Paths of any kind, and places where no container has anything to read."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tensorfiles.builders import with_tensors

from mhcdiag.errors import ContainerError
from mhcdiag.tensorfiles import open_checkpoint


def test_headers_are_read_without_torch_and_numpy(tmp_path: Path) -> None:
    path = with_tensors(tmp_path, "model.safetensors", "a")
    program = (
        "import sys; from mhcdiag.tensorfiles import open_checkpoint; "
        "assert list(open_checkpoint(sys.argv[1]).tensors) == ['a']; "
        "print({'torch', 'numpy'} & sys.modules.keys())"
    )
    run = subprocess.run([sys.executable, "-c", program, path], check=False, capture_output=True, text=True)
    assert (run.stderr, run.stdout) == ("", "set()\n")


@pytest.mark.parametrize("kind", [str, Path, os.fspath])
def test_paths_of_any_kind(kind: type, tmp_path: Path) -> None:
    path = with_tensors(tmp_path, "model.safetensors", "a")
    assert open_checkpoint(kind(path)).path == str(path)


def test_empty_directory(tmp_path: Path) -> None:
    with pytest.raises(ContainerError, match="a directory without a checkpoint; it holds nothing; expected"):
        open_checkpoint(tmp_path)


def test_directory_without_a_checkpoint(tmp_path: Path) -> None:
    for name in ("config.json", "a.txt", "b.txt", "c.txt", "d.txt", "e.txt", "f.txt"):
        (tmp_path / name).write_text("{}")
    with pytest.raises(ContainerError, match=r"it holds 'a.txt', .*'config.json', .* and 1 more; expected"):
        open_checkpoint(tmp_path)


@pytest.mark.parametrize("name", ["config.json", "notes.txt", "model.bin"])
def test_file_that_is_no_checkpoint(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text('{"hc_mult": 4}')
    with pytest.raises(
        ContainerError, match=r"an unknown format that begins with .*; expected a .safetensors, torch, GGUF"
    ):
        open_checkpoint(tmp_path / name)


def test_file_names_with_spaces_and_beyond_ascii(tmp_path: Path) -> None:
    for name in ("模型.safetensors", "a b.safetensors"):
        assert list(open_checkpoint(with_tensors(tmp_path, name, "a")).tensors) == ["a"]
    torch.save({"w": torch.ones(3)}, tmp_path / "模型.pt")
    assert list(open_checkpoint(tmp_path / "模型.pt").tensors) == ["w"]


@pytest.mark.parametrize(
    ("metadata", "tie"),
    [
        ([{"step": "160"}, {"step": "160"}], "step 160"),
        ([{"step": "160"}, {"step": "200"}], ""),
        ([{"step": "160"}, {}], ""),
        ([{"tied_to": "sha256:a", "step": "1"}, {"tied_to": "sha256:a", "step": "2"}], "sha256:a"),
        ([{"tied_to": "sha256:a"}, {"tied_to": "sha256:b"}], ""),
        ([{"step": "²"}, {"step": "²"}], ""),
    ],
)
def test_captured_files_name_a_checkpoint_where_all_name_the_same(tmp_path, metadata, tie: str):
    import torch
    from safetensors.torch import save_file

    from mhcdiag.namedtensors import tie_of
    from mhcdiag.tensorfiles import open_checkpoint

    for i, each in enumerate(metadata):
        save_file(
            {"layers.0.h_res": torch.eye(2).repeat(3, 1, 1)}, tmp_path / f"{i}.safetensors", metadata=each or None
        )
    assert tie_of(open_checkpoint(str(tmp_path)).metadata) == tie

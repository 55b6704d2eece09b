"""A model's folder in the cache of Hugging Face leads to one of its snapshots."""

from pathlib import Path

import pytest
from tensorfiles.builders import with_tensors

from mhcdiag.errors import ContainerError
from mhcdiag.tensorfiles import open_checkpoint


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model's folder without snapshots."""
    model = tmp_path / "models--owner--name"
    for name in ("blobs", "refs", "snapshots"):
        (model / name).mkdir(parents=True)
    return model


def add_snapshot(folder: Path, revision: str, *, main: bool = False) -> None:
    snapshot = folder / "snapshots" / revision
    snapshot.mkdir()
    with_tensors(folder / "blobs", revision, f"tensor.{revision}")
    (snapshot / "model.safetensors").symlink_to(f"../../blobs/{revision}")
    if main:
        (folder / "refs" / "main").write_text(revision)


def test_the_only_snapshot(folder: Path) -> None:
    add_snapshot(folder, "4d7a")
    checkpoint = open_checkpoint(folder)
    assert list(checkpoint.tensors) == ["tensor.4d7a"]
    assert checkpoint.path == str(folder / "snapshots" / "4d7a")


def test_the_snapshot_of_main(folder: Path) -> None:
    add_snapshot(folder, "4d7a")
    add_snapshot(folder, "0b11", main=True)
    assert list(open_checkpoint(folder).tensors) == ["tensor.0b11"]


def test_several_snapshots_without_main(folder: Path) -> None:
    add_snapshot(folder, "4d7a")
    add_snapshot(folder, "0b11")
    with pytest.raises(ContainerError, match=r"2 snapshots: '0b11', '4d7a'; .*pass the path of a snapshot"):
        open_checkpoint(folder)


def test_no_snapshot(folder: Path) -> None:
    with pytest.raises(ContainerError, match="0 snapshots: none"):
        open_checkpoint(folder)

"""Regular files and nothing else; a pipe must not make anybody wait."""

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from tensorfiles.builders import SOUND, file_of, index_of, with_tensors

from mhcdiag.errors import ContainerError
from mhcdiag.tensorfiles import open_checkpoint
from mhcdiag.tensorfiles.stores.local import LocalFile


@pytest.fixture
def impatient() -> Iterator[None]:
    """Fails a test that waits: opening a FIFO would, for a writer that never comes."""

    def give_up(*_: object) -> None:
        raise TimeoutError("still waiting for a FIFO")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(10)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("name", ["model.safetensors", "model.pt", "model"])
def test_fifo(name: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(ContainerError, match=rf"{name}: a named pipe \(FIFO\); expected a regular file"):
        open_checkpoint(tmp_path / name)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("name", ["config.json", "model.safetensors.index.json", "b.safetensors"])
def test_fifo_inside_a_directory(name: str, tmp_path: Path) -> None:
    with_tensors(tmp_path, "a.safetensors", "a")
    os.mkfifo(tmp_path / name)
    with pytest.raises(ContainerError, match=rf"{name}: a named pipe \(FIFO\)"):
        open_checkpoint(tmp_path)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("name", ["pytorch_model.bin", "pytorch_model.bin.index.json"])
def test_fifo_inside_a_directory_of_torch(name: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(ContainerError, match=rf"{name}: a named pipe \(FIFO\)"):
        open_checkpoint(tmp_path)


@pytest.mark.usefixtures("impatient")
def test_fifo_named_by_an_index(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "one.safetensors")
    index_of(tmp_path, "model.safetensors.index.json", {"a": "one.safetensors"})
    with pytest.raises(ContainerError, match=r"one.safetensors: a named pipe \(FIFO\)"):
        open_checkpoint(tmp_path)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("device", ["/dev/zero", "/dev/tty", "/dev/null"])
def test_device(device: str) -> None:
    if not Path(device).exists():
        pytest.skip(f"no {device} here")
    with pytest.raises(ContainerError, match=f"{device}: a character device; expected a regular file"):
        open_checkpoint(device)


def test_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # the path of a socket must be short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("model.safetensors")
        with pytest.raises(ContainerError, match=r"model.safetensors: a socket; expected a regular file"):
            open_checkpoint("model.safetensors")


@pytest.mark.parametrize("name", ["nothing.safetensors", "nothing/model.pt", ""])
def test_missing_file(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ContainerError, match=f"^{name}: no such file or directory$"):
        open_checkpoint(name)


def test_link_to_nothing(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").symlink_to("gone")
    with pytest.raises(ContainerError, match="a symbolic link to gone, which does not exist; finish the download"):
        open_checkpoint(tmp_path / "model.safetensors")


def test_links_in_a_circle(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(ContainerError, match="cannot be read: Too many levels of symbolic links"):
        open_checkpoint(tmp_path / "a")


def test_file_taken_for_a_directory(tmp_path: Path) -> None:
    path = with_tensors(tmp_path, "model.safetensors", "a")
    with pytest.raises(ContainerError, match="cannot be read: Not a directory"):
        open_checkpoint(path / "model.safetensors")


def test_name_too_long(tmp_path: Path) -> None:
    with pytest.raises(ContainerError, match="cannot be read: File name too long"):
        open_checkpoint(tmp_path / ("n" * 300))


def test_nul_inside_a_name() -> None:
    with pytest.raises(ContainerError, match="cannot be read: embedded null byte"):
        open_checkpoint("a\0b")


def deny(*_: object, **__: object) -> None:
    raise PermissionError(13, "Permission denied")


def test_file_without_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a stand-in for the operating system, which denies root nothing."""
    path = with_tensors(tmp_path, "model.safetensors", "a")
    monkeypatch.setattr(Path, "open", deny)
    with pytest.raises(ContainerError, match="cannot be read: Permission denied; check the owner and mode"):
        open_checkpoint(path)


def test_directory_without_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "iterdir", deny)
    with pytest.raises(ContainerError, match="cannot be read: Permission denied; check the owner and mode"):
        open_checkpoint(tmp_path)


def test_exactly_the_bytes_that_were_asked_for_are_read_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(range(101)))
    source = LocalFile(str(path))
    assert source.size == 101
    assert source.read(7, 13) == bytes(range(7, 20))
    assert source.read(101, 0) == b""
    assert source.bytes_read == 13
    with pytest.raises(ContainerError, match="the file ends at byte 101; expected bytes up to 104"):
        source.read(97, 7)
    assert source.bytes_read == 13


def test_a_file_that_shrinks_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(file_of(SOUND))
    source = LocalFile(str(path))
    path.write_bytes(file_of(SOUND)[:-1])
    with pytest.raises(ContainerError, match="the file changed while it was being read"):
        source.read(0, 8)


def test_a_file_that_disappears_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x")
    source = LocalFile(str(path))
    path.unlink()
    with pytest.raises(ContainerError, match="cannot be read: No such file or directory"):
        source.read(0, 1)

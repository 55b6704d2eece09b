"""The configuration beside the tensors: absent is allowed, unreadable is not."""

from pathlib import Path

import pytest
from tensorfiles.builders import with_tensors

from mhcdiag.errors import ContainerError
from mhcdiag.tensorfiles import open_checkpoint


def test_missing_configuration_is_none(tmp_path: Path) -> None:
    assert open_checkpoint(with_tensors(tmp_path, "model.safetensors", "a")).config is None


def test_configuration_counts_as_part_of_the_checkpoint(tmp_path: Path) -> None:
    path = with_tensors(tmp_path, "model.safetensors", "a")
    before = open_checkpoint(path)
    (tmp_path / "config.json").write_text('{"hc_mult": 3}')
    after = open_checkpoint(path)
    assert after.config == {"hc_mult": 3}
    assert after.bytes_read - before.bytes_read == after.bytes_total - before.bytes_total == 14


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "an empty file"),
        (b'{"hc_mult": 4,}', "the file is not JSON at line 1 column 1"),
        (b'{\n  "hc_mult": four\n}', "the file is not JSON at line 2 column 14"),
        (b'["hc_mult"]', "the file is a list; expected a JSON object"),
        (b"4", "the file is a number or truth value"),
        (b"null", "the file is null"),
        (b'{"name": "\xff"}', "the file is not UTF-8 at byte 10"),
        (b'{"hc_mult": 4, "hc_mult": 2}', "the key 'hc_mult' stands twice"),
        (b'{"text_config": {"hc_mult": 4, "hc_mult": 2}}', "the key 'hc_mult' stands twice"),
        (b'{"a": ' + b"[" * 200_000, "JSON nested too deeply"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "run `git lfs pull`"),
    ],
)
def test_unreadable_configuration_is_refused(content: bytes, message: str, tmp_path: Path) -> None:
    path = with_tensors(tmp_path, "model.safetensors", "a")
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(ContainerError, match=message) as caught:
        open_checkpoint(path)
    assert str(caught.value).startswith(f"{tmp_path / 'config.json'}: ")
    assert "\n" not in str(caught.value)


def test_configuration_of_absurd_size_is_refused_unread(tmp_path: Path) -> None:
    path = with_tensors(tmp_path, "model.safetensors", "a")
    with (tmp_path / "config.json").open("wb") as file:
        file.truncate(10**12)
    with pytest.raises(ContainerError, match="1000000000000 bytes; expected a JSON file of at most"):
        open_checkpoint(path)


def test_configuration_that_is_a_directory_is_refused(tmp_path: Path) -> None:
    path = with_tensors(tmp_path, "model.safetensors", "a")
    (tmp_path / "config.json").mkdir()
    with pytest.raises(ContainerError, match=r"config.json: a directory; expected a regular file"):
        open_checkpoint(path)


def test_configuration_whose_link_leads_nowhere_is_refused(tmp_path: Path) -> None:
    path = with_tensors(tmp_path, "model.safetensors", "a")
    (tmp_path / "config.json").symlink_to("../../blobs/4d7a")
    with pytest.raises(ContainerError, match=r"config.json: a symbolic link to .* which does not exist"):
        open_checkpoint(path)

from collections.abc import Callable
from pathlib import Path

import pytest

from mhcdiag.runlogs import LogTable, read_log

Read = Callable[..., LogTable]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Write a log and read it; keyword arguments go to `read_log`."""

    def write_and_read(content: str | bytes, *, name: str = "train.log", **options: str) -> LogTable:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return read_log(str(path), **options)

    return write_and_read

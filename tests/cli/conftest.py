"""A folder of its own for every command, without the settings of whoever runs the tests."""

import os
from pathlib import Path

import pytest


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, empty, with no policy above it that could count."""
    for name in os.environ:
        if name.startswith(("MHCDIAG_", "GITHUB_")) or name == "SOURCE_DATE_EPOCH":
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path

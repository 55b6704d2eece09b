"""The import contracts notice a newcomer: a package without a layer, and one that imports what only others may."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NEWCOMER = "import matplotlib\nimport rich\nimport typer\n\nimport mhcdiag.cli.main\n"


def lint(folder: Path) -> str:
    """What import-linter says of the copy in a folder."""
    program = "import sys; from importlinter.cli import lint_imports_command; lint_imports_command()"
    done = subprocess.run(
        [sys.executable, "-c", program, "--no-cache"], cwd=folder, capture_output=True, text=True, check=False
    )
    return done.stdout + done.stderr


@pytest.mark.parametrize("place", ["newcomer/__init__.py", "newcomer.py", "results/newcomer.py"])
def test_a_newcomer_breaks_the_contracts(place: str, tmp_path: Path) -> None:
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "mhcdiag", tmp_path / "mhcdiag", ignore=ignore)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    path = tmp_path / "mhcdiag" / place
    path.parent.mkdir(exist_ok=True)
    path.write_text(NEWCOMER)
    said = lint(tmp_path)
    for name in ("only the command line knows typer", "only the plots know matplotlib", "reports know rich"):
        line = next(line for line in said.splitlines() if name in line)
        assert "BROKEN" in line, said
    assert "4 broken" in said

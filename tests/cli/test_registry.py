"""A command is one file in `cli/` and one in `usecases/`, it is listed and documented, or the test names its file."""

import pkgutil
import re
from pathlib import Path

import pytest

import mhcdiag
from mhcdiag import cli, usecases
from mhcdiag.cli.main import COMMANDS, run

COMMAND_LINE = (Path(__file__).parents[2] / "docs" / "command-line.md").read_text(encoding="utf-8")
CLI = sorted(found.name for found in pkgutil.iter_modules(cli.__path__))
USECASES = sorted(found.name for found in pkgutil.iter_modules(usecases.__path__))

CLI_HELPERS = {
    "main",  # the application and its exit codes
    "configured",  # flag > environment > policy file > default
    "options",  # what commands share
    "output",  # files and lines
    "follow",  # what `spikes --follow` prints; its use case is `mhcdiag.follow`
}
USECASE_HELPERS = {
    "options",  # records of options
    "log_judging",  # what spikes, follow and trend share
    "live_log",  # the state behind following
    "checkpoint_reading",  # one checkpoint and the scan of its weights, for gain, health and check
    "logged_gains",  # the columns of gains in a log, for trend
    "same_runs",  # the same run written twice, for spikes of a folder
    "real_tokens",  # a model that runs on a text, for gain
}
WITHOUT_USECASE = {
    "layouts": "catalogue() in usecases/inspect.py",
    "config": "nothing but printing what cli/configured.py merged",
    "explain": "nothing but printing what metrics, rules and policies say of themselves",
    "toy": "the package mhcdiag/toy",
}


@pytest.mark.parametrize("name", CLI)
def test_a_file_of_the_command_line_is_a_command_or_a_known_helper(name: str) -> None:
    assert name in COMMANDS or name in CLI_HELPERS, f"cli/{name}.py is in neither COMMANDS nor this test's helpers"


@pytest.mark.parametrize("name", USECASES)
def test_a_use_case_is_a_public_function_or_a_known_helper(name: str) -> None:
    known = {*mhcdiag.__all__, *COMMANDS, *USECASE_HELPERS}
    assert name in known, f"usecases/{name}.py is neither mhcdiag.{name} nor a command nor one of this test's helpers"


def test_the_helpers_are_there() -> None:
    assert set(CLI) >= CLI_HELPERS
    assert set(USECASES) >= USECASE_HELPERS


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_stands_in_files_of_its_name(name: str) -> None:
    assert COMMANDS[name] == f"mhcdiag.cli.{name}:{name}"
    assert name in CLI
    assert (name in USECASES) != (name in WITHOUT_USECASE), f"{name}: usecases/{name}.py, or a reason why not"


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_is_shown_where_users_look(name: str, capsys) -> None:
    assert run(["--help"]) == 0
    assert re.search(rf"^│ {name} +\S", capsys.readouterr().out, re.MULTILINE), f"{name}: not in mhcdiag --help"
    pages = ["toy train", "toy compare"] if name == "toy" else [name]
    for page in pages:
        assert f"mhcdiag {page} --help" in COMMAND_LINE, f"{page}: its help page is not in docs/command-line.md"

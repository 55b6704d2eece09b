"""Threads of torch sleep while they wait, in our process only."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mhcdiag.cli.main import POLICY

ROOT = Path(__file__).parents[2]
DIVERGED = ROOT / "sample_checkpoints" / "logs" / "diverged.log"


def environment(**variables: str) -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != POLICY} | variables


@pytest.mark.parametrize(("given", "expected"), [({}, "PASSIVE"), ({POLICY: "ACTIVE"}, "ACTIVE")])
def test_the_users_choice_stands(given: dict[str, str], expected: str):
    script = f"""
import atexit, os
from mhcdiag.cli.main import main
atexit.register(lambda: print(os.environ["{POLICY}"]))
main()
"""
    command = [sys.executable, "-c", script, "--version"]
    ran = subprocess.run(command, env=environment(**given), capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines()[-1] == expected


@pytest.mark.parametrize(("given", "expected"), [({}, "none"), ({POLICY: "ACTIVE"}, "ACTIVE")])
def test_the_command_of_on_fail_sees_what_was_given(given: dict[str, str], expected: str, tmp_path: Path):
    told = tmp_path / "told"
    command = [sys.executable, "-m", "mhcdiag", "spikes", "--follow", "--idle-timeout", "1", "--on-fail"]
    command += [f'echo "${{{POLICY}-none}}" > {told}', str(DIVERGED)]
    ran = subprocess.run(command, env=environment(**given), capture_output=True, text=True, check=False)
    assert ran.returncode == 1, ran.stderr
    assert told.read_text().strip() == expected

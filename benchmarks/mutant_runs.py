"""Copies of the repository in which mutants are judged by tests; the repository itself is never changed."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

from mutant_source import Mutant, applied

COPIED = ("docs", "mhcdiag", "tests", "sample_checkpoints", "benchmarks", ".github", "README.md", "pyproject.toml")
PYTEST = ("-x", "-q", "-p", "no:cacheprovider", "--hypothesis-profile=ci")
"""Stop at the first failure; the profile draws the same examples each time and knows no deadline."""
PASSED, USAGE, NO_TESTS = 0, 4, 5
"""Exit codes of pytest; a mutant that breaks the import of a conftest.py ends with USAGE."""
ADDRESS_SPACE = 24 << 30
"""Bytes of addresses per process: a mutant may fill the memory in an endless loop."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """One run of some tests."""

    code: int | None
    """Exit code; None where the time ran out."""
    seconds: float
    output: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What became of a mutant."""

    mutant: Mutant
    verdict: str
    """killed, timeout or survived."""
    seconds: float

    @property
    def killed(self) -> bool:
        """Whether the tests noticed: a program that does not end is noticed too."""
        return self.verdict != "survived"


@dataclass(frozen=True, kw_only=True, slots=True)
class Room:
    """The tests that judge the mutants of one package."""

    tests: str
    """Their folder."""
    limit: float
    """Seconds after which a run is ended."""


def copy_repository(root: Path, folder: Path) -> None:
    """Copy what the tests of the rooms need."""
    for name in COPIED:
        if (root / name).is_dir():
            shutil.copytree(root / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(root / name, folder / name)


def judge_unchanged(folder: Path, tests: str, *, limit: float) -> Run:
    """Run the tests of a room on the unchanged copy, which also leaves its bytecode there.

    RuntimeError where they do not pass, or where they test a package that lies elsewhere.
    """
    where = (sys.executable, "-c", "import mhcdiag; print(mhcdiag.__file__)")
    found = _run(where, folder, limit=limit, bytecode=True).output.strip()
    if not Path(found).is_relative_to(folder):
        raise RuntimeError(f"the tests would import {found}, not the copy in {folder}")
    run = _run(_command(folder, test_files(folder / tests, Path("none"))), folder, limit=limit, bytecode=True)
    if run.code != PASSED:
        raise RuntimeError(f"{tests} does not pass without a mutant:\n{run.output}")
    return run


def judge_all(folders: Sequence[Path], mutants: Sequence[Mutant], rooms: Mapping[str, Room]) -> Iterator[Outcome]:
    """Judge mutants, one at a time in each copy, and yield what became of them as it is known.

    Arguments: rooms: by the package folder of the mutants.
    """
    idle: SimpleQueue[Path] = SimpleQueue()
    for folder in folders:
        idle.put(folder)

    def judged(mutant: Mutant) -> Outcome:
        folder = idle.get()
        try:
            return judge(folder, mutant, next(room for name, room in rooms.items() if _lies_in(mutant.file, name)))
        finally:
            idle.put(folder)

    with ThreadPoolExecutor(len(folders)) as pool:
        waiting = [pool.submit(judged, mutant) for mutant in mutants]
        try:
            for done in as_completed(waiting):
                yield done.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _lies_in(file: str, folder: str) -> bool:
    return Path(file).is_relative_to(folder)


def judge(folder: Path, mutant: Mutant, room: Room) -> Outcome:
    """Run the tests of a room with one mutant in the copy, and take it out again."""
    path = folder / mutant.file
    text = path.read_bytes()
    changed = applied(text.decode(), mutant.edit)
    compile(changed, mutant.file, "exec")
    try:
        _forget_bytecode(path)
        path.write_bytes(changed.encode())
        run = _run(_command(folder, test_files(folder / room.tests, path)), folder, limit=room.limit, bytecode=False)
    finally:
        path.write_bytes(text)
        _forget_bytecode(path)
    if run.code == NO_TESTS:
        raise RuntimeError(f"no tests ran in {room.tests}:\n{run.output}")
    verdict = "timeout" if run.code is None else "survived" if run.code == PASSED else "killed"
    return Outcome(mutant=mutant, verdict=verdict, seconds=run.seconds)


def test_files(tests: Path, module: Path) -> list[Path]:
    """The test files of a room: the one named like the module, those that name it, all others."""

    def rank(file: Path) -> int:
        if file.stem == f"test_{module.stem}":
            return 0
        return 1 if f".{module.stem} import" in file.read_text(encoding="utf-8") else 2

    return sorted(sorted(tests.rglob("test_*.py")), key=rank)


def _command(folder: Path, files: Sequence[Path]) -> tuple[str, ...]:
    names = [str(file.relative_to(folder)) for file in files]
    return (sys.executable, "-m", "pytest", *PYTEST, f"--basetemp={folder / 'temporary'}", *names)


def _forget_bytecode(path: Path) -> None:
    """A mutant may be as long as the original and as old to the second, which is all that Python compares."""
    for compiled in (path.parent / "__pycache__").glob(f"{path.stem}.*.pyc"):
        compiled.unlink()


def _run(command: Sequence[str], folder: Path, *, limit: float, bytecode: bool) -> Run:
    """Run a command in a copy; all that it started ends with it."""
    paths = [str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "PYTHONHASHSEED": "0"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    if not bytecode:
        environment["PYTHONDONTWRITEBYTECODE"] = "1"
    started = time.perf_counter()
    with subprocess.Popen(
        command, cwd=folder, env=environment, text=True, errors="replace", start_new_session=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    ) as process:  # fmt: skip
        _bound_memory(process.pid)
        try:
            output, _ = process.communicate(timeout=limit)
            code: int | None = process.returncode
        except subprocess.TimeoutExpired:
            output, code = "", None
        finally:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
    return Run(code=code, seconds=time.perf_counter() - started, output=output)


def _bound_memory(process: int) -> None:
    try:
        import resource

        resource.prlimit(process, resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    except (ImportError, AttributeError, OSError):
        pass  # Linux only

"""The share of small changes of meaning that the tests notice.

    python benchmarks/mutants.py [--count 300] [--seed 0] [--rooms detectors gates] [--jobs 1] [--list]
    python benchmarks/mutants.py --only mhcdiag/detectors/tails.py

Draws mutants (one changed operator, constant, argument or jump each) from the packages that compute and judge, puts
each into a copy of the repository and runs the tests of its own room. A mutant is killed when a test fails, or when the
tests take ten times their usual time. Bar: 85 % killed.

The sample depends on the seed and on the changed lines, not on their numbers: most of it stays when a file is edited.
Survivors that are known are explained in mutants_survivors.toml; they count as not killed all the same.
"""

import argparse
import hashlib
import shutil
import sys
import tempfile
import time
import tomllib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from mutant_operators import mutants_of
from mutant_runs import Outcome, Room, copy_repository, judge_all, judge_unchanged
from mutant_source import Mutant

ROOT = Path(__file__).resolve().parents[1]

ROOMS = {
    "mhcdiag/detectors": "tests/detectors",
    "mhcdiag/runlogs": "tests/runlogs",
    "mhcdiag/health_checks": "tests/health_checks",
    "mhcdiag/mappings": "tests/mappings",
    "mhcdiag/measures": "tests/measures",
    "mhcdiag/layouts": "tests/layouts",
    "mhcdiag/policies": "tests/policies",
}
"""Package folder and the folder of the tests that judge its mutants; a room is called by the name of its package."""

SURVIVORS = Path(__file__).with_name("mutants_survivors.toml")
KINDS = ("equivalent", "speed", "wording")
"""A known survivor changes nothing, only how long something takes, or only words that are not asserted."""

COUNT = 300
LEAST = 10
"""Mutants of each room, however small it is."""
AT_LEAST = 0.85
TIMES = 10
LEAST_LIMIT = 30.0
UNCHANGED_LIMIT = 1800.0

Key = tuple[str, str, str]


def find_mutants(root: Path, rooms: Iterable[str]) -> dict[str, list[Mutant]]:
    """All mutants by room; FileNotFoundError where a folder of the table is missing."""
    found = {}
    for package in rooms:
        for folder in (package, ROOMS[package]):
            if not (root / folder).is_dir():
                raise FileNotFoundError(f"{folder} is in the table ROOMS of {Path(__file__).name}, but not in {root}")
        files = sorted((root / package).rglob("*.py"))
        found[package] = [
            mutant
            for path in files
            for mutant in mutants_of(path.read_bytes().decode(), file=path.relative_to(root).as_posix())
        ]
    return found


def shares(totals: Mapping[str, int], count: int) -> dict[str, int]:
    """How many mutants each room gives: its share of all, at least ten where there are so many."""
    count = min(count, sum(totals.values()))
    least = min(LEAST, count // max(len(totals), 1))
    given = {room: min(least, total) for room, total in totals.items()}
    while sum(given.values()) < count:
        open_rooms = [room for room, total in totals.items() if given[room] < total]
        given[max(open_rooms, key=lambda room: totals[room] / (given[room] + 1))] += 1
    return given


def sample(found: Mapping[str, Sequence[Mutant]], *, count: int, seed: int) -> list[Mutant]:
    """Some mutants of each room, the same ones for the same seed, in the order of the files."""
    given = shares({room: len(mutants) for room, mutants in found.items()}, count)
    return [mutant for room, mutants in found.items() for mutant in _drawn(mutants, given[room], seed)]


def _drawn(mutants: Sequence[Mutant], count: int, seed: int) -> list[Mutant]:
    seen: Counter[Key] = Counter()
    order = {}
    for index, mutant in enumerate(mutants):
        name = repr((seed, mutant.key, seen[mutant.key]))
        order[hashlib.sha256(name.encode()).digest()] = index
        seen[mutant.key] += 1
    return [mutants[index] for index in sorted(order[digest] for digest in sorted(order)[:count])]


def read_explanations(path: Path) -> dict[Key, str]:
    """Why known survivors survive: tables `survivor` with file, line, becomes and why."""
    entries = tomllib.loads(path.read_text(encoding="utf-8")).get("survivor", []) if path.exists() else []
    for entry in entries:
        if not entry["why"].startswith(tuple(f"{kind}: " for kind in KINDS)):
            raise ValueError(f"{path.name}: why must begin with one of {', '.join(KINDS)} and a colon: {entry['why']}")
    return {(entry["file"], entry["line"], entry["becomes"]): entry["why"] for entry in entries}


def difference(mutant: Mutant) -> str:
    """The changed line, before and after."""
    return f"{mutant.before}  ->  {mutant.after}"


def print_report(rooms: Mapping[str, list[Outcome]], explanations: Mapping[Key, str]) -> float:
    """Print the share killed per room and the survivors; returns the share of all."""
    everything = [outcome for outcomes in rooms.values() for outcome in outcomes]
    print(f"\n{'room':24}{'killed':>8}{'of':>6}{'share':>9}{'by timeout':>12}")
    for name, outcomes in [*rooms.items(), ("all", everything)]:
        if outcomes:
            killed = sum(outcome.killed for outcome in outcomes)
            late = sum(outcome.verdict == "timeout" for outcome in outcomes)
            print(f"{name:24}{killed:8}{len(outcomes):6}{killed / len(outcomes):9.1%}{late:12}")
    left = [outcome.mutant for outcome in everything if not outcome.killed]
    known = [mutant for mutant in left if mutant.key in explanations]
    new = [mutant for mutant in left if mutant.key not in explanations]
    for title, mutants in (("survivors", new), ("survivors that are explained", known)):
        if mutants:
            print(f"\n{len(mutants)} {title}:")
        for mutant in mutants:
            print(f"{mutant.file}:{mutant.line}  {mutant.edit.operator}\n    - {mutant.before}\n    + {mutant.after}")
            if mutant.key in explanations:
                print(f"    {explanations[mutant.key]}")
    return sum(outcome.killed for outcome in everything) / len(everything)


def print_stale(found: Mapping[str, Sequence[Mutant]], explanations: Mapping[Key, str]) -> None:
    """Name the explanations of mutants that no longer exist."""
    keys = {mutant.key for mutants in found.values() for mutant in mutants}
    for file, line, becomes in explanations:
        if any(file.startswith(f"{package}/") for package in found) and (file, line, becomes) not in keys:
            print(f"{SURVIVORS.name} explains a mutant that is gone: {file}: {line}  ->  {becomes}")


def run(mutants: Sequence[Mutant], *, jobs: int, timeout: float | None) -> dict[str, list[Outcome]]:
    """Judge the mutants in copies of the repository, with a line for each; outcomes by room, in order."""
    rooms = [package for package in ROOMS if any(_lies_in(mutant, package) for mutant in mutants)]
    outcomes: list[Outcome] = []
    with tempfile.TemporaryDirectory(prefix="mutants-") as directory:
        first, *others = folders = [Path(directory).resolve() / str(job) for job in range(jobs)]
        first.mkdir()
        copy_repository(ROOT, first)
        limits = {}
        for package in rooms:
            seconds = judge_unchanged(first, ROOMS[package], limit=UNCHANGED_LIMIT).seconds
            limit = timeout or max(TIMES * seconds, LEAST_LIMIT)
            limits[package] = Room(tests=ROOMS[package], limit=limit)
            print(f"{ROOMS[package]} passes unchanged in {seconds:.1f} s; limit {limit:.0f} s", flush=True)
        for folder in others:  # with the bytecode that the first runs left
            shutil.copytree(first, folder)
        for outcome in judge_all(folders, mutants, limits):
            outcomes.append(outcome)
            mutant = outcome.mutant
            place = f"[{len(outcomes):3}/{len(mutants)}] {outcome.verdict:8} {outcome.seconds:6.1f} s"
            print(f"{place}  {mutant.file}:{mutant.line}  {difference(mutant)}", flush=True)
    places = {id(mutant): place for place, mutant in enumerate(mutants)}
    outcomes.sort(key=lambda outcome: places[id(outcome.mutant)])
    return {package: [each for each in outcomes if _lies_in(each.mutant, package)] for package in rooms}


def _lies_in(mutant: Mutant, package: str) -> bool:
    return mutant.file.startswith(f"{package}/")


def parse_arguments() -> argparse.Namespace:
    names = [Path(package).name for package in ROOMS]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=COUNT, help="mutants in all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rooms", nargs="+", choices=names, default=names, metavar="ROOM", help=", ".join(names))
    parser.add_argument("--only", metavar="FILE", help="mutants of this file only")
    parser.add_argument("--jobs", type=int, default=1, help="copies in which tests run at the same time")
    parser.add_argument("--timeout", type=float, help="seconds per mutant, in place of 10 times the room's own")
    parser.add_argument("--at-least", type=float, default=AT_LEAST, help="share killed below which the exit code is 1")
    parser.add_argument("--list", action="store_true", help="print the sample and run nothing")
    return parser.parse_args()


def main() -> int:
    options = parse_arguments()
    explanations = read_explanations(SURVIVORS)
    found = find_mutants(ROOT, [package for package in ROOMS if Path(package).name in options.rooms])
    print_stale(found, explanations)
    if options.only:
        only = Path(options.only).resolve()
        found = {room: [each for each in mutants if ROOT / each.file == only] for room, mutants in found.items()}
        found = {room: mutants for room, mutants in found.items() if mutants}
    mutants = sample(found, count=options.count, seed=options.seed)
    if not mutants:
        print("no mutants", file=sys.stderr)
        return 2
    print(f"{len(mutants)} of {sum(map(len, found.values()))} mutants, seed {options.seed}", flush=True)
    if options.list:
        for mutant in mutants:
            print(f"{mutant.file}:{mutant.line}  {mutant.edit.operator}: {difference(mutant)}")
        return 0
    started = time.perf_counter()
    share = print_report(run(mutants, jobs=options.jobs, timeout=options.timeout), explanations)
    minutes = (time.perf_counter() - started) / 60
    verdict = "met" if share >= options.at_least else "MISSED"
    print(f"\n{share:.1%} killed, bar {options.at_least:.0%}, {verdict}; {minutes:.0f} minutes")
    return 0 if share >= options.at_least else 1


if __name__ == "__main__":
    sys.exit(main())

"""The generated parts of README.md and docs/: outputs of console examples, and tables that come from the code.

`python tests/document_blocks.py` writes them again.
"""

import os
import re
import shlex
import subprocess
import sys
import textwrap
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
DOCS = ROOT / "docs"
PAGES = (README, *sorted(DOCS.glob("*.md")))
COMMAND_LINE = DOCS / "command-line.md"
COLUMNS = 88
_CONSOLE = re.compile(r"^```console\n\$ (?P<command>.+)\n(?P<output>(?:.*\n)*?)```$", re.MULTILINE)
_TABLE = re.compile(r"<!-- (?P<name>\w+) -->\n(?:.*\n)*?<!-- /(?P=name) -->")


def text_of(page: Path) -> str:
    """A page as it stands."""
    return page.read_text(encoding="utf-8")


def commands(text: str) -> list[str]:
    """The commands of all console examples."""
    return [match["command"] for match in _CONSOLE.finditer(text)]


def regenerated(text: str) -> str:
    """A page with every generated part made again."""
    text = _TABLE.sub(_table_again, text)
    # Each command is a process of its own, most of whose time is start-up.
    wanted = list(dict.fromkeys(commands(text)))
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        outputs = dict(zip(wanted, pool.map(output_of, wanted), strict=True))
    return _CONSOLE.sub(lambda match: f"```console\n$ {match['command']}\n{outputs[match['command']]}```", text)


def _table_again(match: re.Match[str]) -> str:
    # Tables of benchmarks are written by the benchmarks.
    name = match["name"]
    return f"<!-- {name} -->\n{TABLES[name]()}<!-- /{name} -->" if name in TABLES else match[0]


def output_of(command: str) -> str:
    """What a console example prints, without trailing spaces."""
    program, *arguments = shlex.split(command)
    assert program == "mhcdiag", command
    environment = os.environ | {"COLUMNS": str(COLUMNS), "NO_COLOR": "1", "PYTHONIOENCODING": "utf-8"}
    environment.pop("FORCE_COLOR", None)
    done = subprocess.run(
        [sys.executable, "-m", "mhcdiag", *arguments],
        cwd=ROOT, env=environment, capture_output=True, encoding="utf-8", check=False,
    )  # fmt: skip
    assert done.returncode in (0, 1), done.stderr
    return "".join(line.rstrip() + "\n" for line in done.stdout.strip("\n").splitlines())


def bands_table() -> str:
    """One row per band."""
    from mhcdiag.results.bands import BANDS

    rows, lower = [], ""
    for band in BANDS:
        upto = f"up to {band.upto:g}" if band.upto != float("inf") else f"above {lower}"
        rows.append(f"| {upto} | {band.word} | {band.meaning} | {band.advice} |\n")
        lower = f"{band.upto:g}"
    return "".join(rows)


def layout_rows() -> str:
    """One row per layout."""
    from mhcdiag.reports.inspection_text import layouts_table
    from mhcdiag.usecases.inspect import catalogue

    return layouts_table(catalogue())


def container_rows() -> str:
    """One row per container."""
    from mhcdiag.reports.inspection_text import containers_table
    from mhcdiag.usecases.inspect import catalogue

    return containers_table(catalogue())


def report_rows() -> str:
    """One row per report format of `mhcdiag check`."""
    from mhcdiag.reports.choosing import formats_table

    return formats_table()


def formats_list() -> str:
    """The names of all log formats, as one paragraph."""
    from mhcdiag.runlogs import FORMATS

    return textwrap.fill(", ".join(f"`{each.name}`" for each in FORMATS) + ".", 118, break_on_hyphens=False) + "\n"


def formats_table() -> str:
    """One row per log format: its name, whose it is, and the names that bear the loss and the gradient norm in it."""
    from mhcdiag.runlogs import FORMATS

    def named(names: tuple[str, ...]) -> str:
        return ", ".join(f"`{name}`" for name in names) or "by its words"

    rows = ["| format | written by | loss | gradient norm |\n", "| --- | --- | --- | --- |\n"]
    for one in FORMATS:
        loss, norm = (named(one.preferred.get(name, ())) for name in ("loss", "grad_norm"))
        rows.append(f"| `{one.name}` | {one.title.replace('|', chr(92) + '|')} | {loss} | {norm} |\n")
    return "".join(rows)


def help_pages() -> str:
    """A heading per command, and its help page as a console example."""
    from mhcdiag.cli.main import COMMANDS

    names = [page for name in COMMANDS for page in (("toy", "toy train", "toy compare") if name == "toy" else (name,))]
    return "".join(
        f"\n## {' '.join(['mhcdiag', name])}\n\n```console\n$ mhcdiag {name} --help\n```\n" for name in names
    )


def input_study(name: str) -> str:
    """One table of the study of inputs, from its CSV."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        import input_study_tables
    finally:
        sys.path.pop(0)
    table: str = getattr(input_study_tables, name)(input_study_tables.read_table())
    return table


TABLES: dict[str, Callable[[], str]] = {
    "bands": bands_table,
    "layouts": layout_rows,
    "containers": container_rows,
    "reports": report_rows,
    "formats": formats_list,
    "log_formats": formats_table,
    "commands": help_pages,
    "study_verdicts": lambda: input_study("verdicts"),
    "study_predictors": lambda: input_study("by_predictor"),
    "study_decades": lambda: input_study("by_decade"),
    "study_constrained": lambda: input_study("constrained"),
    "study_runs": lambda: input_study("by_run"),
}
"""What stands between `<!-- NAME -->` and `<!-- /NAME -->`."""


if __name__ == "__main__":
    for page in PAGES:
        page.write_text(regenerated(text_of(page)), encoding="utf-8")

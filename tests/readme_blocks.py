"""The README's generated parts: outputs of its console examples, and tables that come from the code.

`python tests/readme_blocks.py` writes them again.
"""

import os
import re
import shlex
import subprocess
import sys
import textwrap
from pathlib import Path

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
COLUMNS = 92
_CONSOLE = re.compile(r"^```console\n\$ (?P<command>.+)\n(?P<output>(?:.*\n)*?)```$", re.MULTILINE)
_TABLE = re.compile(r"<!-- bands -->\n(?:.*\n)*?<!-- /bands -->")
_LAYOUTS = re.compile(r"<!-- layouts -->\n(?:.*\n)*?<!-- /layouts -->")
_CONTAINERS = re.compile(r"<!-- containers -->\n(?:.*\n)*?<!-- /containers -->")
_FORMATS = re.compile(r"<!-- formats -->\n(?:.*\n)*?<!-- /formats -->")
_REPORTS = re.compile(r"<!-- reports -->\n(?:.*\n)*?<!-- /reports -->")


def commands(text: str) -> list[str]:
    """The commands of all console examples."""
    return [match["command"] for match in _CONSOLE.finditer(text)]


def regenerated(text: str) -> str:
    """The README with every generated part made again."""
    text = _CONSOLE.sub(lambda match: f"```console\n$ {match['command']}\n{output_of(match['command'])}```", text)
    text = _LAYOUTS.sub(lambda _: f"<!-- layouts -->\n{layout_rows()}<!-- /layouts -->", text)
    text = _CONTAINERS.sub(lambda _: f"<!-- containers -->\n{container_rows()}<!-- /containers -->", text)
    text = _FORMATS.sub(lambda _: f"<!-- formats -->\n{formats_list()}<!-- /formats -->", text)
    text = _REPORTS.sub(lambda _: f"<!-- reports -->\n{report_rows()}<!-- /reports -->", text)
    return _TABLE.sub(lambda _: f"<!-- bands -->\n{bands_table()}<!-- /bands -->", text)


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


_LOG_FORMATS = re.compile(r"<!-- log formats -->\n(?:.*\n)*?<!-- /log formats -->")
LOG_FORMATS = ROOT / "docs" / "logs-formats.md"


def with_formats(text: str) -> str:
    """The document on log formats with its table made again."""
    return _LOG_FORMATS.sub(lambda _: f"<!-- log formats -->\n{formats_table()}<!-- /log formats -->", text)


if __name__ == "__main__":
    LOG_FORMATS.write_text(with_formats(LOG_FORMATS.read_text(encoding="utf-8")), encoding="utf-8")
    README.write_text(regenerated(README.read_text(encoding="utf-8")), encoding="utf-8")

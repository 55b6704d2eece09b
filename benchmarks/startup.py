"""`mhcdiag --help` and `--version` against an empty Typer app with as many commands.

python benchmarks/startup.py [--runs 21]
"""

import argparse
import sys
import tempfile
from pathlib import Path

from timing import alternate, mhcdiag, print_machine, print_ratios

BAR = 1.3

EMPTY_APP = '''
from typing import Annotated
import typer

app = typer.Typer()

def show(wanted: bool) -> None:
    if wanted:
        typer.echo("empty 1.0")
        raise typer.Exit

@app.callback()
def empty(version: Annotated[bool, typer.Option("--version", callback=show, is_eager=True)] = False) -> None:
    """An app that does nothing."""
'''
EMPTY_COMMAND = '''
@app.command()
def command{number}() -> None:
    """Do nothing."""
'''


def count_commands() -> int:
    """Number of commands of mhcdiag."""
    from mhcdiag.cli.main import COMMANDS

    return len(COMMANDS)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=21)
    runs = parser.parse_args().runs
    commands = count_commands()
    print_machine()
    with tempfile.TemporaryDirectory() as directory:
        # A package with a `__main__`, as mhcdiag is: a script would be compiled anew at each start.
        package = Path(directory, "empty_app")
        package.mkdir()
        source = EMPTY_APP + "".join(EMPTY_COMMAND.format(number=number) for number in range(commands))
        (package / "__init__.py").write_text(source)
        (package / "__main__.py").write_text("from empty_app import app\n\napp()\n")
        start = (
            f"import sys, runpy; sys.path.insert(0, {directory!r}); runpy.run_module('empty_app', run_name='__main__')"
        )
        met = True
        for option in ("--help", "--version"):
            print(f"\n{option}, {commands} command(s), {runs} runs in turns")
            timings = alternate(
                {"empty Typer app": (sys.executable, "-c", start, option), "mhcdiag": mhcdiag(option)}, runs=runs
            )
            met = print_ratios(timings, baseline="empty Typer app", bars={"mhcdiag": BAR}) and met
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())

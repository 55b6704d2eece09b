"""The application and its edge: what every way of ending means to the shell.

Typer alone ends a crash and a failed gate both with 1. Here, and nowhere else, endings become exit codes: 0 pass, 1 a
gate failed, 2 could not judge (usage, unreadable or unknown input), 3 a bug (with its traceback), 130 interrupted. A
reader that closes the pipe early (`mhcdiag gain ... | head`) ends the command quietly.
"""

import os
import sys
import traceback
from typing import Annotated, NoReturn

import typer

from mhcdiag.cli.commands import SETTINGS, CommandsOnDemand
from mhcdiag.cli.openmp import wait_asleep
from mhcdiag.version import __version__

COULD_NOT_JUDGE = 2
BUG = 3
INTERRUPTED = 130
CLOSED_PIPE = 141

LEFT_OUT_FOR_LOGS = ("torch", "matplotlib", "pandas", "jaxtyping", "safetensors", "jinja2")
"""Packages that an installation for logs only may lack (README, "Without torch")."""

app = typer.Typer(
    name="mhcdiag",
    cls=CommandsOnDemand,
    no_args_is_help=True,
    rich_markup_mode="rich",
    context_settings={**SETTINGS, "auto_envvar_prefix": "MHCDIAG"},
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"mhcdiag {__version__}")
        raise typer.Exit


@app.callback()
def mhcdiag(
    _version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_print_version,
            is_eager=True,
            help="Print the version and exit.",
        ),
    ] = False,
) -> None:
    """Stability diagnostics for training large models.

    Exit codes: 0 pass, 1 a gate failed, 2 could not judge (usage, unreadable or unknown input), 3 a bug in mhcdiag,
    130 interrupted.
    """


def run(arguments: list[str] | None = None) -> int:
    """Run one command line and return its exit code.

    Parameters
    ----------
    arguments
        The words after `mhcdiag`; those of the process when None.
    """
    if sys.stdout is None:
        print("mhcdiag: standard output is closed", file=sys.stderr)  # noqa: T201 - nothing is imported yet
        return COULD_NOT_JUDGE
    try:
        code = app(arguments, prog_name="mhcdiag", standalone_mode=False)
        sys.stdout.flush()
    except (Exception, KeyboardInterrupt, SystemExit) as error:  # noqa: BLE001 - the last line of defence
        return _ended_by(error)
    return code if isinstance(code, int) else 0


def _ended_by(error: BaseException) -> int:
    """The exit code of an error, after saying on stderr what there is to say of it."""
    from mhcdiag.cli.output import complain
    from mhcdiag.errors import MhcdiagError

    code = COULD_NOT_JUDGE
    match error:
        case MhcdiagError():
            complain(str(error))
        case typer.TyperException():
            complain(f"{error.format_message()} (see 'mhcdiag --help')")
        case ModuleNotFoundError(name=str(name)) if name.partition(".")[0] in LEFT_OUT_FOR_LOGS:
            package = name.partition(".")[0]
            complain(f"this needs the package '{package}', which is not installed: python -m pip install {package}")
        case typer.Abort() | KeyboardInterrupt():
            code = INTERRUPTED
        case BrokenPipeError():
            code = _closed_pipe()
        case SystemExit() if isinstance(error.__context__, BrokenPipeError):
            code = _closed_pipe()  # typer and rich turn it into 1, which is a failed gate's
        case SystemExit():
            raise error
        case OSError():  # a full disk, a link to itself, ...: the machine's doing
            complain(f"{error.filename or 'standard output'}: {error.strerror or error}")
            _drop_unwritten()
        case _:
            traceback.print_exception(error)
            complain("this is a bug in mhcdiag: please report it with the lines above")
            code = BUG
    return code


def _closed_pipe() -> int:
    _drop_unwritten()
    return CLOSED_PIPE


def _drop_unwritten() -> None:
    """Let go of what stdout does not take: Python flushes it once more at exit, and needs somewhere to write."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def main() -> NoReturn:
    """Entry point of the console script."""
    wait_asleep()
    sys.exit(run())

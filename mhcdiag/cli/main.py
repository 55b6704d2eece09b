"""The application and its edge: what every way of ending means to the shell.

Typer alone ends a crash and a failed gate both with 1. Here, and nowhere else, endings become exit codes: 0 pass, 1 a
gate failed, 2 could not judge (usage, unreadable or unknown input), 3 a bug (with its traceback), 130 interrupted. A
reader that closes the pipe early (`mhcdiag gain ... | head`) ends the command quietly.
"""

import os
import sys
import traceback
from importlib import import_module
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup, TyperOption
from typer.main import get_command as build

from mhcdiag.cli.configured import Configured
from mhcdiag.version import __version__

POLICY = "OMP_WAIT_POLICY"
_given = os.environ.get(POLICY)


def wait_asleep() -> None:
    """Let waiting threads sleep, unless the user chose otherwise; without effect once torch is loaded.

    By default they spin. Beside other programs a spinning thread holds the core that the one it waits for needs: on a
    busy machine that took up to twenty times as long.
    """
    os.environ.setdefault(POLICY, "PASSIVE")


def environment_of_others() -> dict[str, str]:
    """The environment for programs that are not ours: as this process was given it."""
    environment = dict(os.environ)
    if _given is None:
        environment.pop(POLICY, None)
    return environment


COMMANDS = {
    "gain": "mhcdiag.cli.gain:gain",
    "health": "mhcdiag.cli.health:health",
    "weights": "mhcdiag.cli.weights:weights",
    "capture": "mhcdiag.cli.capture:capture",
    "inspect": "mhcdiag.cli.inspect:inspect",
    "layouts": "mhcdiag.cli.layouts:layouts",
    "spikes": "mhcdiag.cli.spikes:spikes",
    "trend": "mhcdiag.cli.trend:trend",
    "check": "mhcdiag.cli.check:check",
    "config": "mhcdiag.cli.config:config",
    "toy": "mhcdiag.cli.toy:toy",
    "cost": "mhcdiag.cli.cost:cost",
    "explain": "mhcdiag.cli.explain:explain",
}
"""Where the function of each command is, in the order of `mhcdiag --help`; a `typer.Typer` there is a group."""

SETTINGS = {"help_option_names": ["-h", "--help"]}


class CommandsOnDemand(TyperGroup):
    """A group that knows the names of its commands and imports the one that is called."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.commands: dict[str, Any] = dict.fromkeys(COMMANDS)  # the names, for "did you mean"

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the options; none of them can be set by a variable: MHCDIAG_VERSION may well be one of a CI job."""
        params = super().get_params(ctx)
        for option in params:
            if isinstance(option, TyperOption):
                option.allow_from_autoenv = option.show_envvar = False
        return params

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - typer's signature
        """Return the names in the order of the help."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002 - typer's signature
        """Return the command of a name; None if there is none."""
        if cmd_name not in COMMANDS:
            return None
        if self.commands[cmd_name] is None:
            self.commands[cmd_name] = _built(cmd_name)
        return self.commands[cmd_name]


def _built(name: str) -> Any:
    module, _, attribute = COMMANDS[name].partition(":")
    home = import_module(module)
    found = getattr(home, attribute)
    if isinstance(found, typer.Typer):
        group = build(found)
        group.name = name
        return group
    alone = typer.Typer(add_completion=False, rich_markup_mode="rich", context_settings=SETTINGS)
    alone.command(name, cls=getattr(home, "COMMAND_CLASS", Configured))(found)
    return build(alone)


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

"""All commands, each imported when it is called: a command costs nothing to those who call another one."""

from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup, TyperOption
from typer.main import get_command as build

from mhcdiag.cli.configured import Configured

COMMANDS = {
    "gain": "mhcdiag.cli.gain:gain",
    "health": "mhcdiag.cli.health:health",
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
    found = getattr(import_module(module), attribute)
    if isinstance(found, typer.Typer):
        group = build(found)
        group.name = name
        return group
    alone = typer.Typer(add_completion=False, rich_markup_mode="rich", context_settings=SETTINGS)
    alone.command(name, cls=Configured)(found)
    return build(alone)

"""Commands whose options take their defaults from the environment and from a policy file.

Precedence is typer's own: command line, then MHCDIAG_COMMAND_OPTION, then `default_map`, then the default in the code.
"""

import difflib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup, TyperOption

from mhcdiag.errors import InputError, SettingError

if TYPE_CHECKING:
    from mhcdiag.policies.policy import Policy

PANEL = "Configuration"
ISOLATED = "mhcdiag.isolated"
POLICY = "mhcdiag.policy"
_CONTRADICTION = "--config and --isolated contradict each other: give one of them"


class Configured(TyperCommand):
    """A command with `--config` and `--isolated`."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        for option in self.params:
            if isinstance(option, TyperOption) and option.envvar is None:
                # Every option has its variable; a line of help for each would hide what the options do.
                option.show_envvar = False
                if option.allow_from_autoenv:
                    option.envvar = f"MHCDIAG_{self.name}_{long_name(option)}".upper()

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
        """Parse, and name the file or the variable where a value that cannot be used comes from there."""
        try:
            return super().parse_args(ctx, args)
        except typer.BadParameter as error:
            option = error.param
            source = None if option is None or option.name is None else ctx.get_parameter_source(option.name)
            if isinstance(option, TyperOption) and source is not None and source.name == "ENVIRONMENT":
                value = os.environ.get(str(option.envvar), "")
                raise SettingError(f"{option.envvar}={value}: {error.message}") from error
            if option is not None and source is not None and source.name == "DEFAULT_MAP":
                path, _ = ctx.meta[POLICY]
                raise InputError(path, found=f"{ctx.info_name}.{option.name}: {error.message}") from error
            raise


def long_name(option: TyperOption) -> str:
    """Return the name of an option in policy files: as on the command line, with underscores."""
    return max(option.opts, key=len).removeprefix("--").replace("-", "_")


def _isolate(ctx: typer.Context, isolated: bool) -> bool:
    if isolated and POLICY in ctx.meta:
        raise SettingError(_CONTRADICTION)
    ctx.meta[ISOLATED] = isolated
    return isolated


def _load(ctx: typer.Context, config: Path | None) -> Path | None:
    """Take the defaults of this command's options from the policy file, before they are looked at."""
    if ctx.resilient_parsing:
        return config
    isolated = ctx.meta.get(ISOLATED, False)
    if config is not None and isolated:
        source = ctx.get_parameter_source("_config")
        if source is None or source.name != "ENVIRONMENT":
            raise SettingError(_CONTRADICTION)
        config = None  # a flag wins over the environment
    path = config
    if path is None and not isolated:
        from mhcdiag.policies.policy_files import find_policy

        found = find_policy(Path.cwd())
        path = None if found is None else Path(os.path.relpath(found))
    if path is None:
        ctx.meta.pop(POLICY, None)
        return None
    from mhcdiag.policies.policy_files import read_policy

    policy = read_policy(path)
    ctx.default_map = _defaults(ctx, path, policy)
    ctx.meta[POLICY] = (path, policy)
    return config


def _defaults(ctx: typer.Context, path: Path, policy: "Policy") -> dict[str, Any]:
    table: dict[str, Any] = getattr(policy, str(ctx.info_name), {})
    names = {long_name(one): str(one.name) for one in ctx.command.params if isinstance(one, TyperOption)}
    known = [name for name in names if name not in ("config", "isolated", "help")]
    for key in table:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
            raise InputError(
                path,
                found=f"unknown key '{key}' in [{ctx.info_name}]",
                expected=f"an option of `mhcdiag {ctx.info_name}`: {', '.join(known)}",
                hint=f"did you mean '{near[0]}'?" if near else "",
            )
    files = [one.name for one in ctx.command.params if isinstance(one, TyperOption) and one.bare_type() == "Path"]
    return {names[key]: _beside(path, value) if names[key] in files else value for key, value in table.items()}


def _beside(path: Path, value: Any) -> Any:
    """Files in a policy are relative to it, whatever folder the command runs in."""
    return os.path.relpath(path.resolve().parent / value) if isinstance(value, str) else value


Isolated = Annotated[
    bool,
    typer.Option(
        "--isolated",
        is_eager=True,
        callback=_isolate,
        allow_from_autoenv=False,
        help="Ignore policy files.",
        rich_help_panel=PANEL,
    ),
]
Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        is_eager=True,
        callback=_load,
        envvar="MHCDIAG_CONFIG",
        help="Policy file (default: mhcdiag.toml, or pyproject.toml with \\[tool.mhcdiag], here or above).",
        rich_help_panel=PANEL,
        show_default=False,
    ),
]


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """One option with its value."""

    name: str
    """As policy files call it."""
    value: Any
    """What applies."""
    source: str
    """Where it comes from: the policy file, the name of a variable, or `default`."""


def effective(ctx: typer.Context, command: str) -> tuple[dict[str, Any], list[Setting]]:
    """Return what `mhcdiag COMMAND` would be called with, by parameter, and where each option's value comes from.

    Parameters
    ----------
    ctx
        Of the running command, whose policy file counts.
    command
        Name of the other one, e.g. `gain`.
    """
    root = ctx.find_root()
    assert isinstance(root.command, TyperGroup)
    other = root.command.get_command(root, command)
    assert other is not None
    path, _ = ctx.meta.get(POLICY, (None, None))
    where = ["--isolated"] if path is None else ["--config", str(path)]
    policy = ctx.meta.get(POLICY)
    ctx.meta.pop(POLICY, None)
    # "-" stands for the path without which gain and spikes are not parsed.
    its = other.make_context(command, [*where, "-"], parent=root)
    if policy is not None:
        ctx.meta[POLICY] = policy
    settings = []
    for option in other.params:
        if not isinstance(option, TyperOption) or long_name(option) in ("config", "isolated", "help"):
            continue
        source = its.get_parameter_source(str(option.name))
        word = {"ENVIRONMENT": str(option.envvar), "DEFAULT_MAP": str(path)}.get(
            source.name if source else "", "default"
        )
        settings.append(Setting(name=long_name(option), value=its.params[str(option.name)], source=word))
    return its.params, settings

"""The options of another command as environment, policy file and code set them: `check` measures with `gain`'s."""

from dataclasses import dataclass
from typing import Any

import typer
from typer.core import TyperGroup, TyperOption

from mhcdiag.cli.configured import POLICY, long_name


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

    Arguments: ctx: of the running command, whose policy file counts; command: `gain` or `spikes`.
    """
    root = ctx.find_root()
    assert isinstance(root.command, TyperGroup)
    other = root.command.get_command(root, command)
    assert other is not None
    path, _ = ctx.meta.get(POLICY, (None, None))
    where = ["--isolated"] if path is None else ["--config", str(path)]
    policy = ctx.meta.get(POLICY)
    ctx.meta.pop(POLICY, None)
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

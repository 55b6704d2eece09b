"""`mhcdiag explain`: a detection rule in words."""

from typing import Annotated

import typer


def explain(
    rule: Annotated[
        str | None,
        typer.Argument(metavar="RULE", help="Name of a rule; all are listed without.", show_default=False),
    ] = None,
) -> None:
    """What a detection rule flags, with which constants, and what it misses."""
    from mhcdiag.detectors import OURS, RULES
    from mhcdiag.detectors.words import EXPLANATION, TITLE
    from mhcdiag.errors import SettingError

    words = {OURS: (TITLE, EXPLANATION), **{one.name: (one.title, one.explanation) for one in RULES}}
    if rule is None:
        for name, (title, _) in words.items():
            typer.echo(f"{name:16} {title}")
        return
    if rule not in words:
        raise SettingError(f"there is no rule '{rule}'; there are {', '.join(words)}")
    title, explanation = words[rule]
    typer.echo(f"{rule}: {title}\n\n{explanation}")

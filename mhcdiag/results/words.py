"""Small wordings that plots and reports share: importing the one from the other would cost a report matplotlib."""

import os
import re
from collections.abc import Sequence
from itertools import takewhile


def counted(number: int, noun: str, *, form: str = ",") -> str:
    """A number with its noun, in the plural unless it is 1.

    Parameters
    ----------
    form
        How the number is written: thousands are grouped, "d" leaves them together.

    >>> counted(1, "site"), counted(1024, "token"), counted(1024, "token", form="d")
    ('1 site', '1,024 tokens', '1024 tokens')
    """
    return f"{number:{form}} {noun}" if number == 1 else f"{number:{form}} {noun}s"


def short_names(paths: Sequence[str]) -> list[str]:
    """The paths without the folders that all of them share; one path alone is its last component.

    >>> short_names(["runs/hc/step_50", "runs/hc/step_100"]), short_names(["runs/hc"]), short_names(["/a/x", "b/x"])
    (['step_50', 'step_100'], ['hc'], ['/a/x', 'b/x'])
    """
    parts = [[part for part in re.split(f"[/{re.escape(os.sep)}]", path) if part] or [path] for path in paths]
    folders = zip(*(each[:-1] for each in parts), strict=False)
    shared = sum(1 for _ in takewhile(lambda level: len(set(level)) == 1, folders))
    if not shared:
        return [path.rstrip("/") or path for path in paths]  # joined anew, "/a/x" would become "a/x"
    return ["/".join(each[shared:]) for each in parts]

"""How counts, steps and paths are written for people, in reports and figures alike."""

import math
import os
import re
from collections.abc import Sequence
from itertools import takewhile

from mhcdiag.results.numbers import Number, is_finite, log10_of


def plural(number: int, noun: str) -> str:
    """Return the noun as it stands behind that number.

    >>> plural(1, "site"), plural(0, "site")
    ('site', 'sites')
    """
    return noun if number == 1 else f"{noun}s"


def counted(number: int, noun: str, *, form: str = ",") -> str:
    """Return number and noun.

    Parameters
    ----------
    form
        How the number is written: thousands are grouped, "d" leaves them together.

    >>> counted(1, "site"), counted(1024, "token"), counted(1024, "token", form="d")
    ('1 site', '1,024 tokens', '1024 tokens')
    """
    return f"{number:{form}} {plural(number, noun)}"


def step_text(step: float) -> str:
    """Return a step as people write it; "?" where it is not known.

    >>> step_text(10400.0), step_text(0.25)
    ('10,400', '0.25')
    """
    if not math.isfinite(step):
        return "?"
    return f"{step:,.0f}" if step == int(step) else f"{step:g}"


def badness(gain: Number) -> float:
    """Return a key that sorts gains by how bad they are: NaN and infinity above every number."""
    return log10_of(gain) if is_finite(gain) else math.inf


def short_names(paths: Sequence[str]) -> list[str]:
    """Return the paths without the folders that all of them share; one path alone is its last component.

    >>> short_names(["runs/a/step_1/model.pt", "runs/b/step_1/model.pt"]), short_names(["runs/a"])
    (['a/step_1/model.pt', 'b/step_1/model.pt'], ['a'])
    """
    parts = [_components(path) for path in paths]
    folders = zip(*(each[:-1] for each in parts), strict=False)
    shared = _alike(folders)
    if not shared:
        return [path.rstrip(_SEPARATORS) or path for path in paths]  # an address keeps its two slashes
    return ["/".join(each[shared:]) for each in parts]


def distinct_names(names: Sequence[str]) -> list[str]:
    """Return the names without the components at their end that all of them share.

    >>> distinct_names(["step_100/model.pt", "step_200/model.pt"])
    ['step_100', 'step_200']
    """
    parts = [name.split("/") for name in names]
    shared = _alike(zip(*(reversed(each[1:]) for each in parts), strict=False))
    return ["/".join(each[: len(each) - shared]) for each in parts]


_SEPARATORS = f"/{os.sep}"


def _components(path: str) -> list[str]:
    found = [part for part in re.split(f"[{re.escape(_SEPARATORS)}]", path) if part not in ("", ".")]
    # The root counts as a folder, so that two absolute paths share it and lose it.
    return ["/", *found] if path.startswith("/") and found else found or [path]


def _alike(levels: "zip[tuple[str, ...]]") -> int:
    """Return how many levels in a row hold only one name."""
    return sum(1 for _ in takewhile(lambda level: len(set(level)) == 1, levels))


NAMED = 4
"""Sites that a sentence names; of more it says how many."""


def which_sites(sites: Sequence[str], every: Sequence[str]) -> str:
    """Which part of all sites these are, as " at 2 of 6 sites (0.attn, 1.ffn)"; empty where it is all.

    Where it is every site of a kind, that is said: a port that applies H the other way before its FFNs alone.
    """
    if len(sites) == len(every):
        return ""
    more = "" if len(sites) <= NAMED else ", ..."
    kinds = {site.rpartition(".")[2] for site in sites}
    kind = next(iter(kinds)) if len(kinds) == 1 else ""
    is_whole = kind and len(sites) > 1 and len(sites) == sum(site.rpartition(".")[2] == kind for site in every)
    of = f"all {len(sites)} {kind} sites of {len(every)}" if is_whole else f"{len(sites)} of {len(every)} sites"
    return f" at {of} ({', '.join(sites[:NAMED])}{more})"

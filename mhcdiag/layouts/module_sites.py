"""Sites that are modules at paths the user chose: whatever stands before a known set of parameter names."""

import re
from collections.abc import Mapping, Sequence

from mhcdiag.errors import LayoutError
from mhcdiag.layouts.depth import order_by_depth, refuse_gaps
from mhcdiag.layouts.interface import Recognition, Site
from mhcdiag.namedtensors import NamedTensors

Modules = dict[str, dict[str, str]]
"""Per module path (with its trailing dot) the full tensor name by role."""


def find_modules(
    checkpoint: NamedTensors, mixers: Sequence[str], *, probes: Sequence[str], roles: Sequence[str]
) -> Modules:
    """The modules that hold any of the probes.

    Parameters
    ----------
    probes
        Parameter names that smell of mixing, any of which makes its module a site.
    roles
        All parameter names to collect there, probes included.
    """
    probe = re.compile(rf"^(?P<path>(?:.*\.)?)(?:{'|'.join(map(re.escape, probes))})$")
    paths = dict.fromkeys(match["path"] for name in mixers if (match := probe.match(name)) is not None)
    return {path: {role: path + role for role in roles if path + role in checkpoint.tensors} for path in paths}


def recognise_modules(
    checkpoint: NamedTensors, modules: Mapping[str, Mapping[str, str]], *, needed: Sequence[str], model: str
) -> Recognition:
    """The modules as sites in depth order.

    Raises
    ------
    LayoutError
        A module lacks a parameter, or a numbered module is missing.
    """
    for path, roles in modules.items():
        missing = [role for role in needed if role not in roles]
        if missing:
            raise LayoutError(
                checkpoint.path,
                found=f"module {path or '(top level)'} has {next(iter(roles.values()))} but no {missing[0]}",
                expected=", ".join(needed) + " for every site",
                hint="is a shard missing?",
            )
    paths = {path.removesuffix("."): roles for path, roles in modules.items()}
    refuse_gaps(checkpoint, list(paths))
    order = order_by_depth(paths)
    return Recognition(
        model=model,
        sites=tuple(
            Site(name=name or "0", tensors=paths[path], depth=depth)
            for depth, (path, name) in enumerate(zip(order.paths, order.names, strict=True))
        ),
        assumed=order.assumed,
    )

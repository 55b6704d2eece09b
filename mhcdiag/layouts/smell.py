"""Words that betray a mixer of residual streams.

An ordinary residual model has none of them in its tensor names or configuration. Anything that has one and fits no
layout must be refused by name: an unknown layout must never pass as "gain 1".
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

WORDS = (
    "hc", "mhc", "hyper", "hyperconnection", "hyperconnections", "hyperconn", "sinkhorn", "stream", "streams",
    "h_res", "h_pre", "h_post", "hres", "hpre", "hpost", "phi_res", "phi_pre", "phi_post", "b_res",
    "alpha_res", "static_alpha", "dynamic_alpha", "static_beta", "dynamic_beta", "residual_scale",
    "residual_mix", "res_mix", "proj_res", "bias_res", "branch_alpha", "branch_beta", "mapping_proj",
    "mapping_weight", "mixing_logits",
)  # fmt: skip

_PATTERN = re.compile(rf"(?:^|[._\-/])({'|'.join(WORDS)})\d*(?=$|[._\-/])", re.IGNORECASE)


def smells(name: str) -> bool:
    """Whether one of the words stands in a name, whole between dots, underscores or its ends (a digit may follow)."""
    return _PATTERN.search(name) is not None


def smelling_tensors(names: Iterable[str]) -> list[str]:
    """The tensor names that look like a mixer.

    A large checkpoint has a hundred thousand names that differ in their numbers only, so the pattern is tried once for
    each name without its digits. That loses no name, since the pattern asks for no digit; what passes is tried in full.
    """
    names = list(names)
    without_digits = "\n".join(names).encode("utf-8", "surrogatepass").translate(None, b"0123456789").split(b"\n")
    if len(without_digits) != len(names):  # a line break within a name
        return [name for name in names if smells(name)]
    suspicious = {bare for bare in set(without_digits) if smells(bare.decode("utf-8", "surrogatepass"))}
    return [name for name, bare in zip(names, without_digits, strict=True) if bare in suspicious and smells(name)]


def smelling_keys(config: Mapping[str, Any] | None, prefix: str = "") -> list[str]:
    """The configuration keys, nested ones dotted, that look like a mixer and are not switched off (false, null)."""
    found: list[str] = []
    for key, value in (config or {}).items():
        if isinstance(value, Mapping):
            found += smelling_keys(value, f"{prefix}{key}.")
        elif smells(key) and value is not None and value is not False:
            found.append(f"{prefix}{key}")
    return found

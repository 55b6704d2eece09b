"""By which factors a running site applies its mapping and its branch: least squares on what left it."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

ALONG = 1e-6
"""Share of its size that a branch must stand apart from H x by: along it, two factors cannot be told from one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StreamScales:
    """x_out = mixed H x + written post branch."""

    mixed: float
    """Factor on H x; 1 where it cannot be told."""
    written: float
    """Factor on what the branch adds; 1 where there is none."""
    doubt: float
    """Five standard errors of `mixed`, which rounding stays below; infinite where it cannot be told."""


UNKNOWN = StreamScales(mixed=1.0, written=1.0, doubt=float("inf"))


def stream_scales(
    mixed: Float[Tensor, "token stream width"],
    added: Float[Tensor, "token stream width"],
    after: Float[Tensor, "token stream width"],
) -> StreamScales:
    """The factors on H x and on post times branch with which both give what left a site, by least squares.

    Parameters
    ----------
    mixed
        H x.
    added
        Post weights times what the branch returned; zero where nothing was added.
    after
        x_out.
    """
    parts = [mixed.flatten(), *([added.flatten()] if bool(added.any()) else [])]
    columns, target = torch.stack(parts, dim=1), after.flatten()
    gram = columns.T @ columns
    if not (gram.isfinite().all() and target.isfinite().all()) or not float(gram[0, 0]) > 0:
        return UNKNOWN
    if len(parts) == 2 and float(torch.linalg.det(gram)) < ALONG * float(gram[0, 0] * gram[1, 1]):
        return UNKNOWN
    found = torch.linalg.solve(gram, columns.T @ target)
    rest = float((target - columns @ found).norm())
    doubt = 5 * rest / float(gram[0, 0]) ** 0.5 / max(len(target) - len(parts), 1) ** 0.5
    return StreamScales(mixed=float(found[0]), written=float(found[1]) if len(parts) == 2 else 1.0, doubt=doubt)

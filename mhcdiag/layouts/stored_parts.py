"""Where H_pre, H_post and H_res stand among the tensors of a site.

Most families fuse their parameters over n pre, n post and n*n residual entries, in this order and the last row by row.
Others have a tensor for each of the three, named alike, or keep weights of several views beside the residual columns.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isqrt, prod

from torch import Tensor

from mhcdiag.layouts.checks import read_float
from mhcdiag.layouts.interface import Recognition, Site, StoredGates
from mhcdiag.mappings.interface import GateActivation, SiteGates
from mhcdiag.namedtensors import NamedTensors, prefetch


def fused_rows(streams: int) -> int:
    """Number of entries of a fused axis: n pre, n post and n*n residual ones."""
    return streams * (streams + 2)


def streams_of_rows(rows: int) -> int:
    """The n of n*n + 2n rows; 0 where there is no such n.

    >>> streams_of_rows(24), streams_of_rows(25)
    (4, 0)
    """
    streams = isqrt(rows + 1) - 1
    return streams if fused_rows(streams) == rows else 0


def streams_of_fused(checkpoint: NamedTensors, site: Site, role: str) -> int:
    """Number of streams from the first axis of a fused tensor; 0 where there is none."""
    shape = checkpoint.tensors[site.tensors[role]].shape
    return streams_of_rows(shape[0]) if shape else 0


def streams_of_square(checkpoint: NamedTensors, site: Site, role: str) -> int:
    """Number of streams from a residual matrix [n, n] (or flattened, n*n)."""
    shape = checkpoint.tensors[site.tensors[role]].shape
    if len(shape) == 1:
        return isqrt(shape[0]) if isqrt(shape[0]) ** 2 == shape[0] else 0
    return shape[0] if len(shape) == 2 and shape[0] == shape[1] else 0


def residual_block(fused: Tensor, streams: int) -> Tensor:
    """The residual entries [n, n] of a fused vector."""
    return fused[2 * streams :].view(streams, streams)


def residual_columns(
    values: Mapping[str, Tensor], role: str, streams: int, *, input_major: bool = False, weight: Tensor | None = None
) -> Tensor | None:
    """The residual columns of a fused projection.

    Parameters
    ----------
    values
        The site's tensors by role.
    role
        That of the projection.
    input_major
        Whether it is stored [n*C, n*n + 2n] rather than [n*n + 2n, n*C].
    weight
        A norm's weight [n*C], folded in.

    Returns
    -------
    Tensor or None
        [n*C, n*n]; None where the projection was not read.
    """
    if role not in values:
        return None
    projection = values[role] if input_major else values[role].T
    columns = projection[:, 2 * streams :]
    return columns if weight is None else columns * weight[:, None]


@dataclass(frozen=True, slots=True)
class FusedGates:
    """The first 2n entries of a bias over n pre, n post and n*n residual ones."""

    role: str
    """Of the bias."""

    def names(self, checkpoint: NamedTensors, site: Site, streams: int) -> tuple[str, ...]:
        """See `StoredGates`."""
        name = site.tensors.get(self.role)
        fits = name is not None and checkpoint.tensors[name].shape == (fused_rows(streams),)
        return (name,) if name is not None and fits else ()

    def cut(self, values: Sequence[Tensor], streams: int, *, gate: GateActivation) -> SiteGates | None:
        """See `StoredGates`."""
        (bias,) = values
        return SiteGates(pre=bias[:streams], post=bias[streams : 2 * streams], gate=gate)


@dataclass(frozen=True, slots=True)
class SeparateGates:
    """A tensor of n numbers each, beside the residual bias and named alike: `..._pre` and `..._post` for `..._res`."""

    residual: str
    """Role of the residual bias."""
    gate: GateActivation | None = None
    """What follows the logits where it is not what follows them elsewhere."""

    def names(self, checkpoint: NamedTensors, site: Site, streams: int) -> tuple[str, ...]:
        """See `StoredGates`."""
        if self.residual not in site.tensors:
            return ()
        path, _, leaf = site.tensors[self.residual].rpartition("res")
        names = tuple(f"{path}{part}{leaf}" for part in ("pre", "post"))
        infos = [checkpoint.tensors.get(name) for name in names]
        return names if all(info is not None and prod(info.shape) == streams for info in infos) else ()

    def cut(self, values: Sequence[Tensor], streams: int, *, gate: GateActivation) -> SiteGates | None:
        """See `StoredGates`."""
        del streams
        pre, post = (value.flatten() for value in values)
        return SiteGates(pre=pre, post=post, gate=gate if self.gate is None else self.gate)


@dataclass(frozen=True, slots=True)
class AlphaGates:
    """The columns of `static_alpha` before the residual ones, averaged over views, and `static_beta`."""

    def names(self, checkpoint: NamedTensors, site: Site, streams: int) -> tuple[str, ...]:
        """See `StoredGates`."""
        del checkpoint, streams
        roles = ("static_alpha", "static_beta")
        return tuple(site.tensors[role] for role in roles) if set(roles) <= set(site.tensors) else ()

    def cut(self, values: Sequence[Tensor], streams: int, *, gate: GateActivation) -> SiteGates | None:
        """See `StoredGates`; rows of `static_alpha` are streams."""
        alpha, beta = values
        if alpha.ndim == 2 and alpha.shape[0] == streams and alpha.shape[1] > streams:
            views = alpha[:, :-streams]
        elif alpha.ndim == 1 and len(alpha) > streams:
            views = alpha[:streams, None]  # mHC-lite, KromHC: n weights of one view stand before the coefficients
        else:
            return None
        return SiteGates(pre=views.mean(dim=1), post=beta.flatten(), gate=gate) if beta.numel() == streams else None


def read_gates(
    checkpoint: NamedTensors,
    recognition: Recognition,
    stored: Sequence[StoredGates],
    streams: int,
    *,
    unconstrained: bool,
) -> tuple[SiteGates, ...] | None:
    """Read and write weights of every site; None where a site does not have them.

    Parameters
    ----------
    stored
        Where the layout keeps them; the first kind that a site has counts.
    unconstrained
        Whether H_res is that of hyper-connections: pre and post are then used as they stand.
    """
    gate = GateActivation.NONE if unconstrained else GateActivation.SIGMOID
    places = [
        next(((kind, names) for kind in stored if (names := kind.names(checkpoint, site, streams))), None)
        for site in recognition.sites
    ]
    prefetch(checkpoint, [name for place in places if place is not None for name in place[1]])
    found = []
    for place in places:
        if place is None:
            return None
        kind, names = place
        gates = kind.cut([read_float(checkpoint, name) for name in names], streams, gate=gate)
        if gates is None:
            return None
        found.append(gates)
    return tuple(found)

"""The input-independent read and write weights of every site, wherever a layout keeps them."""

from math import prod

from torch import Tensor

from mhcdiag.layouts.checks import read_float
from mhcdiag.layouts.interface import Recognition, Site
from mhcdiag.namedtensors import NamedTensors, prefetch
from mhcdiag.weight_readers.observed import Gate, SiteGates

FUSED = ("base", "branch_beta", "bias", "b")
"""Roles of a bias over n pre, n post and n*n residual entries."""
_RESIDUAL = ("bias_res", "b_res", "H_res_logits", "H_res")
"""Roles of the residual bias where pre and post have tensors of their own, named alike."""


def read_gates(
    checkpoint: NamedTensors, recognition: Recognition, streams: int, *, unconstrained: bool
) -> tuple[SiteGates, ...] | None:
    """Read and write weights of every site; None where the layout's records do not tell them.

    Parameters
    ----------
    unconstrained
        Whether H_res is that of hyper-connections: pre and post are then used as they stand.
    """
    gate = Gate.NONE if unconstrained else Gate.SIGMOID
    found = []
    prefetch(checkpoint, [name for site in recognition.sites for name in _names(checkpoint, site, streams)])
    for site in recognition.sites:
        gates = _of_site(checkpoint, site, streams, gate)
        if gates is None:
            return None
        found.append(gates)
    return tuple(found)


def _names(checkpoint: NamedTensors, site: Site, streams: int) -> list[str]:
    fused = _fused(checkpoint, site, streams)
    if fused is not None:
        return [fused]
    if "static_alpha" in site.tensors and "static_beta" in site.tensors:
        return [site.tensors["static_alpha"], site.tensors["static_beta"]]
    return _beside(checkpoint, site, streams)


def _of_site(checkpoint: NamedTensors, site: Site, streams: int, gate: Gate) -> SiteGates | None:
    names = _names(checkpoint, site, streams)
    values = [read_float(checkpoint, name) for name in names]
    if len(values) == 1:
        return SiteGates(pre=values[0][:streams], post=values[0][streams : 2 * streams], gate=gate)
    if len(values) != 2:
        return None
    if "static_alpha" not in site.tensors:
        softmax = "H_res_logits" in site.tensors  # tokenbender's weights add up to 1
        pre, post = (value.flatten() for value in values)
        return SiteGates(pre=pre, post=post, gate=Gate.SOFTMAX if softmax else gate)
    return _lucidrains(values[0], values[1], streams, gate)


def _lucidrains(alpha: Tensor, beta: Tensor, streams: int, gate: Gate) -> SiteGates | None:
    """The columns of `static_alpha` before the residual ones, averaged over views; rows are streams."""
    if alpha.ndim == 2 and alpha.shape[0] == streams and alpha.shape[1] > streams:
        views = alpha[:, :-streams]
    elif alpha.ndim == 1 and len(alpha) > streams:
        views = alpha[:streams, None]  # one view: n weights before the coefficients
    else:
        return None
    if beta.numel() != streams:
        return None
    return SiteGates(pre=views.mean(dim=1), post=beta.flatten(), gate=gate)


def _fused(checkpoint: NamedTensors, site: Site, streams: int) -> str | None:
    names = (site.tensors[role] for role in FUSED if role in site.tensors)
    return next((name for name in names if checkpoint.tensors[name].shape == (streams * (streams + 2),)), None)


def _beside(checkpoint: NamedTensors, site: Site, streams: int) -> list[str]:
    """The tensors of pre and post beside that of the residual bias, n numbers each; empty where there are none."""
    residual = next((site.tensors[role] for role in _RESIDUAL if role in site.tensors), None)
    if residual is None:
        return []
    path, leaf = residual.rpartition("res")[0], residual.rpartition("res")[2]
    names = [f"{path}{part}{leaf}" for part in ("pre", "post")]
    infos = [checkpoint.tensors.get(name) for name in names]
    fits = all(info is not None and prod(info.shape) == streams for info in infos)
    return names if fits else []

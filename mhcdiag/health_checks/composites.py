"""Composite mappings in float64 and what survives of a difference between streams over depth.

The composites of `kernels.composite` carry powers of two and are reduced to gains; here all matrices are kept, a scale
beside each, so that their singular values can be taken.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from mhcdiag.health_checks.interface import TINY


@dataclass(frozen=True, kw_only=True, slots=True)
class Prefixes:
    """P(1,l) for every l, each divided by its own scale."""

    matrices: Float[Tensor, "site token stream stream"]
    logs: Float[Tensor, "site token"]
    """ln of the scale."""


def prefixes(maps: Float[Tensor, "site stream stream token"]) -> Prefixes:
    """P(1,l) = H_l ... H_1, so scaled that depth neither overflows nor underflows."""
    matrices, logs = [], []
    product, log = None, torch.zeros(maps.shape[-1], dtype=maps.dtype)
    for of_site in maps.permute(0, 3, 1, 2):
        product = of_site if product is None else of_site @ product
        largest = product.abs().amax(dim=(-2, -1)).clamp(min=TINY)
        product, log = product / largest[:, None, None], log + largest.log()
        matrices.append(product)
        logs.append(log)
    return Prefixes(matrices=torch.stack(matrices), logs=torch.stack(logs))


def dobrushin(matrices: Float[Tensor, "*batch stream stream"]) -> Float[Tensor, " *batch"]:
    """Dobrushin's coefficient: the share of a difference between streams that survives, 0 to 1 where rows sum to 1.

    max over rows i, k of 1/2 sum_j |P_ij - P_kj|.
    """
    differences = matrices.unsqueeze(-2) - matrices.unsqueeze(-3)
    return differences.abs().sum(dim=-1).amax(dim=(-2, -1)) / 2


def lyapunov(maps: Float[Tensor, "site stream stream token"]) -> Float[Tensor, " exponent"]:
    """Lyapunov exponents per site, largest first: token means of (1/L) sum ln |R_kk|, R from QR of successive products.

    The first times L is the ln of the gain; its distance to the second is the rate of collapse.
    """
    tokens, streams = maps.shape[-1], maps.shape[1]
    # Products themselves lose all but the largest direction to rounding after a few sites; QR at each keeps all.
    basis = torch.eye(streams, dtype=maps.dtype).expand(tokens, streams, streams)
    total = torch.zeros(tokens, streams, dtype=maps.dtype)
    for of_site in maps.permute(0, 3, 1, 2):
        basis, triangle = torch.linalg.qr(of_site @ basis)
        total = total + triangle.diagonal(dim1=-2, dim2=-1).abs().clamp(min=TINY).log()
    return (total / maps.shape[0]).mean(dim=0)

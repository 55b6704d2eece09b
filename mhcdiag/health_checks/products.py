"""Composite mappings in float64, scaled so that depth neither overflows nor underflows."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class Prefixes:
    """P(1,l) for every l, each divided by its own scale."""

    matrices: Float[Tensor, "site token stream stream"]
    logs: Float[Tensor, "site token"]
    """ln of the scale."""


def prefixes(maps: Float[Tensor, "site stream stream token"]) -> Prefixes:
    """P(1,l) = H_l ... H_1."""
    matrices, logs = [], []
    product, log = None, torch.zeros(maps.shape[-1], dtype=maps.dtype)
    for of_site in maps.permute(0, 3, 1, 2):
        product = of_site if product is None else of_site @ product
        largest = product.abs().amax(dim=(-2, -1)).clamp(min=1e-300)
        product, log = product / largest[:, None, None], log + largest.log()
        matrices.append(product)
        logs.append(log)
    return Prefixes(matrices=torch.stack(matrices), logs=torch.stack(logs))


def dobrushin(matrices: Float[Tensor, "*batch stream stream"]) -> Float[Tensor, " *batch"]:
    """Max over rows i, k of half the sum of |P_ij - P_kj|: the share of a difference between streams that survives."""
    differences = matrices.unsqueeze(-2) - matrices.unsqueeze(-3)
    return differences.abs().sum(dim=-1).amax(dim=(-2, -1)) / 2


def lyapunov(maps: Float[Tensor, "site stream stream token"]) -> Float[Tensor, " exponent"]:
    """Exponents per site, largest first: token means of ln |R_kk| from QR of successive products, over depth."""
    tokens, streams = maps.shape[-1], maps.shape[1]
    basis = torch.eye(streams, dtype=maps.dtype).expand(tokens, streams, streams)
    total = torch.zeros(tokens, streams, dtype=maps.dtype)
    for of_site in maps.permute(0, 3, 1, 2):
        basis, triangle = torch.linalg.qr(of_site @ basis)
        total = total + triangle.diagonal(dim1=-2, dim2=-1).abs().clamp(min=1e-300).log()
    return (total / maps.shape[0]).mean(dim=0)

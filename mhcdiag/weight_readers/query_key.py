"""How large the attention logits of one block can become: bounds from its query and key projections.

With x = sqrt(d) u for a normalised input of d numbers, |u| = 1, a logit is q k = d u^T W_q^T W_k v, so that
d sigma1(W_q^T W_k) bounds it where both sit at the same position. A rotation by position stands between the two
projections and may align what is apart here: then only d sigma1(W_q) sigma1(W_k) bounds it. Both need no more than the
Gram matrices W W^T [d_head, d_head] of each head.

Where a norm follows the projection, nothing of this holds: it makes a short query as long as a long one. What bounds
|q| there is the norm alone, sqrt(d_head) max |g| for its weight g.
"""

from dataclasses import dataclass
from math import nan, sqrt

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class QueryKey:
    """The query and key projections of one block, a norm's weight folded in."""

    block: str
    """Path of the block."""
    query_gram: Float[Tensor, "head channel channel"]
    """W_q W_q^T of every head, float64."""
    key_gram: Float[Tensor, "group channel channel"]
    """W_k W_k^T of every key head; query heads share them in equal groups, in order."""
    query_offset: Float[Tensor, "head channel"]
    """What is added to q whatever the input: the bias, and the projected bias of the norm before."""
    key_offset: Float[Tensor, "group channel"]
    """The same for k."""
    inputs: int
    """Number d of inputs of the projections."""
    scale: float
    """Factor on the logits, usually 1/sqrt(d_head), with what positions may add to it."""
    rotated: bool
    """Whether positions rotate q and k, or may do so."""
    query_limit: Float[Tensor, " head"] | None = None
    """Largest |q| of each head that a norm after the projection lets pass; None without one."""
    key_limit: Float[Tensor, " group"] | None = None
    """The same for k."""
    clip: float | None = None
    """What the entries of q and k are clipped to, after their norms; None where they are not."""
    cap: float | None = None
    """What the model itself caps logits at; None where it does not."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LogitBound:
    """What the attention logits of one block cannot exceed, for inputs of RMS 1."""

    block: str
    spectral: float
    """Largest sigma1(W_q^T W_k) times the scale over heads: growth of a logit per unit-norm input squared."""
    largest: float
    """The bound on |logit|, over heads, with biases, rotation, norms and cap."""
    rank: float
    """Smallest effective rank exp(entropy of singular values) of W_q^T W_k over heads that have any; 0 without one."""
    head: int
    """The head of the largest bound."""
    silent: int = 0
    """Heads whose logits depend on no input: they attend evenly."""


def logit_bound(attention: QueryKey) -> LogitBound:
    """Bound the logits of one block; where its projections or norms hold NaN or infinity, nothing does: all is NaN.

    Source: sub-multiplicativity of the spectral norm; arXiv 2309.14322 for the level at which runs diverged, 2606.28116
    for the spectrum.
    """
    if not all(part.isfinite().all() for part in _parts(attention)):
        return LogitBound(block=attention.block, spectral=nan, largest=nan, rank=nan, head=0)
    heads, groups = attention.query_gram.shape[0], attention.key_gram.shape[0]
    of_head = torch.arange(heads) // (heads // groups)
    singular = _singular(attention.query_gram, attention.key_gram, of_head)
    limited = any(each is not None for each in (attention.query_limit, attention.key_limit, attention.clip))
    if attention.rotated or limited:
        product = _aligned(attention, of_head)
    else:
        product = _in_place(attention, of_head, singular[:, -1])
    bounds = product * attention.scale
    if attention.cap is not None:
        bounds = bounds.clamp(max=attention.cap)
    shares = singular / singular.sum(dim=-1, keepdim=True).clamp(min=1e-300)
    ranks = torch.exp(-(shares * shares.clamp(min=1e-300).log()).sum(dim=-1))
    return LogitBound(
        block=attention.block,
        spectral=float(singular.max()) * attention.scale,
        largest=float(bounds.max()),
        rank=float(ranks[singular[:, -1] > 0].min()) if bool((singular[:, -1] > 0).any()) else 0.0,
        head=int(bounds.argmax()),
        silent=int(((singular[:, -1] == 0) & (_crossed(attention, of_head) == 0)).sum()),
    )


def _parts(attention: QueryKey) -> list[Tensor]:
    limits = [each for each in (attention.query_limit, attention.key_limit) if each is not None]
    return [attention.query_gram, attention.key_gram, attention.query_offset, attention.key_offset, *limits]


def _singular(query: Tensor, key: Tensor, of_head: Tensor) -> Float[Tensor, "head channel"]:
    """Singular values of W_q^T W_k, ascending: roots of the eigenvalues of G_k^1/2 G_q G_k^1/2."""
    values, vectors = torch.linalg.eigh(key)
    root = (vectors * values.clamp(min=0).sqrt().unsqueeze(-2)) @ vectors.mT
    found: Tensor = torch.linalg.eigvalsh(root[of_head] @ query @ root[of_head])
    return found.clamp(min=0).sqrt()


def _aligned(attention: QueryKey, of_head: Tensor) -> Float[Tensor, " head"]:
    """The largest |q| times the largest |k| of each head."""
    query = _reach(attention, attention.query_gram, attention.query_offset, attention.query_limit)
    key = _reach(attention, attention.key_gram, attention.key_offset, attention.key_limit)
    return query * key[of_head]


def _reach(attention: QueryKey, gram: Tensor, offset: Tensor, limit: Tensor | None) -> Float[Tensor, " head"]:
    """sqrt(d) sigma1(W) + |o|, or what a norm or the clipping of entries lets pass."""
    found = sqrt(attention.inputs) * _norm(gram) + offset.norm(dim=-1) if limit is None else limit
    return found if attention.clip is None else found.clamp(max=attention.clip * sqrt(gram.shape[-1]))


def _in_place(attention: QueryKey, of_head: Tensor, largest: Tensor) -> Float[Tensor, " head"]:
    """D sigma1(W_q^T W_k) + sqrt(d) (|W_q^T o_k| + |W_k^T o_q|) + |o_q o_k|."""
    constant = (attention.query_offset * attention.key_offset[of_head]).sum(dim=-1).abs()
    return attention.inputs * largest + sqrt(attention.inputs) * _crossed(attention, of_head) + constant


def _crossed(attention: QueryKey, of_head: Tensor) -> Float[Tensor, " head"]:
    """|W_q^T o_k| + |W_k^T o_q|: what one input alone does to a logit."""
    query, key = attention.query_offset, attention.key_offset[of_head]
    return _length(attention.query_gram, key) + _length(attention.key_gram[of_head], query)


def _norm(gram: Tensor) -> Float[Tensor, " head"]:
    found: Tensor = torch.linalg.eigvalsh(gram)
    return found[..., -1].clamp(min=0).sqrt()


def _length(gram: Tensor, vector: Tensor) -> Float[Tensor, " head"]:
    """|W^T v| from the Gram matrix of W."""
    square: Tensor = (vector.unsqueeze(-2) @ gram @ vector.unsqueeze(-1)).flatten()
    return square.clamp(min=0).sqrt()

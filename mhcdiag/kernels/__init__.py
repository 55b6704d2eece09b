"""Batched products of small matrices along depth, and Sinkhorn-Knopp: tokens on the last and contiguous axis."""

"""Batched products of small matrices along depth, tokens on the last and contiguous axis."""

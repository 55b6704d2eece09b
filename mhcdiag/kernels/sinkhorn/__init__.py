"""Sinkhorn-Knopp: the rule, its plain form, its Numba and Triton programs, and one differentiable function over them."""

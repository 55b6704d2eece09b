"""Sinkhorn-Knopp: the rule, its plain form, its Numba and Triton programs, one differentiable function over them."""

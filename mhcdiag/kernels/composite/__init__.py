"""Products of mappings over sites and their gains: plain torch, Numba and Triton."""

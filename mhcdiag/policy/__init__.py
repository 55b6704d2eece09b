"""Policies: one small file that says what is checked, against which limits, and what is known already."""

from mhcdiag.policy.finding import find_policy
from mhcdiag.policy.reading import gate_series, read_policy
from mhcdiag.policy.record import BUILT_IN, BUILT_IN_NAME, Allow, Gate, Inputs, Policy

__all__ = [
    "BUILT_IN",
    "BUILT_IN_NAME",
    "Allow",
    "Gate",
    "Inputs",
    "Policy",
    "find_policy",
    "gate_series",
    "read_policy",
]

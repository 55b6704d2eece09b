"""The gain of one run over its steps, from its checkpoints or its log."""

from mhcdiag.trend.assembly import trend

__all__ = ["trend"]

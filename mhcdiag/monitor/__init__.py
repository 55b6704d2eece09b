"""Composite gains while a model trains."""

from mhcdiag.monitor.live import Monitor

__all__ = ["Monitor"]

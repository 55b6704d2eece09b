"""The version, in one place; read by the packaging and by `--version` without importing anything else."""

__version__ = "0.1.0"

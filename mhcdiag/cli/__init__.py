"""The command line: one command a file; they parse options, call one function per stage, and choose an exit code."""

from mhcdiag.cli.main import app, main

__all__ = ["app", "main"]

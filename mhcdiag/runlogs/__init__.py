"""Training logs to one table: one file per format, tried in the order of FORMATS."""

from mhcdiag.runlogs.folders import iter_logs, read_log, several_logs
from mhcdiag.runlogs.following import LineReader
from mhcdiag.runlogs.formats import FORMATS
from mhcdiag.runlogs.interface import Keys
from mhcdiag.runlogs.log_table import Entry, LogTable, Restart, Row, Run, ScalerEvent
from mhcdiag.runlogs.names import CANONICAL
from mhcdiag.runlogs.runs import split_runs

__all__ = [
    "CANONICAL",
    "FORMATS",
    "Entry",
    "Keys",
    "LineReader",
    "LogTable",
    "Restart",
    "Row",
    "Run",
    "ScalerEvent",
    "iter_logs",
    "read_log",
    "several_logs",
    "split_runs",
]

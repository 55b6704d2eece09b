"""From a training log to the report on its events, for the command line and for `import mhcdiag`."""

from mhcdiag.logapi.comparing import compare
from mhcdiag.logapi.live import Change, LiveLog
from mhcdiag.logapi.options import LogOptions
from mhcdiag.logapi.tail import tail
from mhcdiag.logapi.whole import judge_table, read_table, spikes
from mhcdiag.runlogs.sources import context_lines

__all__ = [
    "Change",
    "LiveLog",
    "LogOptions",
    "compare",
    "context_lines",
    "judge_table",
    "read_table",
    "spikes",
    "tail",
]

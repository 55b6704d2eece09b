"""Which format reads a log: the user's choice, the whole file's, or the text format that explains its lines best."""

from mhcdiag.errors import LogError
from mhcdiag.runlogs.detection import best_text_format, file_format, named_format, sample_lines, unknown
from mhcdiag.runlogs.formats import FILE_FORMATS, FORMATS, TEXT_FORMATS
from mhcdiag.runlogs.formats.generic import GENERIC
from mhcdiag.runlogs.formats.regex import REGEX
from mhcdiag.runlogs.interface import FileFormat, Keys, Sample, TextFormat
from mhcdiag.runlogs.sources import LogSource

HEAD_LINES = 2000
"""Lines of a stream on which its format is recognised."""

DOCUMENTS = (".md", ".rst", ".tex", ".html", ".htm", ".ipynb")
"""Ends of names of prose: a table of final losses there is no run, and must not be called clean."""


def choose_format(source: LogSource, *, log_format: str | None, keys: Keys) -> TextFormat | FileFormat:
    """Return the format to read a log with.

    Arguments: source: the log, not yet read; log_format: the user's choice; keys: names the user gave.
    Raises: LogError, SettingError.
    """
    if keys.regex is not None:
        return REGEX
    if log_format is not None:
        return named_format(log_format, FORMATS)
    sample = take_sample(source)
    whole = file_format(FILE_FORMATS, sample)
    if whole is not None:
        return whole
    pieces = sample_lines((sample.head, *sample.pieces))
    choice = best_text_format(TEXT_FORMATS[:-1], GENERIC, pieces, keys)
    if choice is None:
        raise unknown(source.path, sample.head)
    if choice.format is GENERIC and source.path.lower().endswith(DOCUMENTS):
        raise LogError(
            source.path,
            found="a document that names losses in no known log format",
            expected="a training log",
            hint="--log-format generic reads it all the same",
        )
    return choice.format


def take_sample(source: LogSource) -> Sample:
    """Return pieces of a log without consuming it.

    Arguments: source: the log, not yet read.
    """
    if not source.seekable:
        return Sample(path=source.path, head=source.head(HEAD_LINES), pieces=())
    head, middle, tail = (source.piece(where) for where in (0.0, 0.5, 1.0))
    pieces = (middle, tail) if len(head) >= 65536 else ()
    return Sample(path=source.path, head=head, pieces=pieces)

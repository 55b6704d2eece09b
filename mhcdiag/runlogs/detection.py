"""Which format a log is in: the user's choice, the whole file's, or the text format that reads samples of it best."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from mhcdiag.errors import LogError, SettingError
from mhcdiag.runlogs.formats import FILE_FORMATS, FORMATS, TEXT_FORMATS
from mhcdiag.runlogs.formats.any_text import GENERIC, REGEX
from mhcdiag.runlogs.grammar import BlockGrammar
from mhcdiag.runlogs.interface import FileFormat, Keys, LogRecord, LogSample, TextFormat
from mhcdiag.runlogs.lines import LineSplitter, clean_line
from mhcdiag.runlogs.names import canonical_rank
from mhcdiag.runlogs.sources import PIECE, LogSource

HEAD_LINES = 2000
"""Lines of a stream on which its format is recognised."""

DOCUMENTS = (".md", ".rst", ".tex", ".html", ".htm", ".ipynb")
"""Ends of names of prose: a table of final losses there is no run, and must not be called clean."""

_WORTH = {"loss": 4, "eval_loss": 2}
_MOST = max(_WORTH.values())


@dataclass(frozen=True, kw_only=True, slots=True)
class FormatChoice:
    """A text format and how well it fits."""

    format: TextFormat
    """The format."""
    score: int
    """4 per record with a training loss, 2 per evaluation, 1 per other record."""


@runtime_checkable
class OwnsLines(Protocol):
    """A text format that knows lines of its own beside those that give a record."""

    def belongs(self, text: str, /) -> bool:
        """Say whether a line is one of the format's own.

        The fallback, which takes any line that names a loss, has no claim to such lines: of the twenty norms in a block
        of OLMo's console it made twenty records, and OLMo's format made one.
        """
        ...


def choose_format(source: LogSource, *, log_format: str | None, keys: Keys) -> TextFormat | FileFormat:
    """Return the format to read a log with.

    Parameters
    ----------
    source
        The log, not yet read.
    log_format
        Name of the format that the user asks for, if any.
    keys
        Names that the user gave.

    Raises
    ------
    LogError
        No format fits.
    SettingError
        There is no format of this name.
    """
    if keys.regex is not None:
        return REGEX
    if log_format is not None:
        return named_format(log_format, FORMATS)
    sample = take_sample(source)
    whole = next((one for one in FILE_FORMATS if one.fits(sample)), None)
    if whole is not None:
        return whole
    pieces = sample_lines((sample.head, *sample.pieces))
    choice = best_text_format(TEXT_FORMATS[:-1], GENERIC, pieces, keys)
    if choice is None:
        raise unknown(source.path, sample.head)
    refuse_prose(choice.format, source.path)
    return choice.format


def refuse_prose(log_format: TextFormat, path: str) -> None:
    """Refuse a document that only the fallback reads: it finds some number in nearly any text.

    Parameters
    ----------
    log_format
        As it was recognised.
    path
        Of the log.

    Raises
    ------
    LogError
        It is prose.
    """
    if log_format is GENERIC and path.lower().endswith(DOCUMENTS):
        raise LogError(
            path,
            found="a document that names losses in no known log format",
            expected="a training log",
            hint="--log-format generic reads it all the same",
        )


def take_sample(source: LogSource) -> LogSample:
    """Return pieces of a log without consuming it.

    Middle and end count as much as the head: logs of modded-nanogpt open with a thousand lines of source code.
    """
    if not source.seekable:
        return LogSample(path=source.path, head=source.head(HEAD_LINES), pieces=())
    head, middle, tail = (source.piece(where) for where in (0.0, 0.5, 1.0))
    pieces = (middle, tail) if len(head) >= PIECE else ()
    return LogSample(path=source.path, head=head, pieces=pieces)


def sample_lines(pieces: Iterable[bytes]) -> list[list[bytes]]:
    """Return the whole lines of each piece of a log; the first piece begins with the log, the others anywhere."""
    found: list[list[bytes]] = []
    for number, piece in enumerate(pieces):
        splitter = LineSplitter()
        texts = splitter.feed(piece).texts[1 if number else 0 :]
        found.append(texts or splitter.finish().texts)
    return found


def best_text_format(
    formats: Sequence[TextFormat], fallback: TextFormat, pieces: Sequence[Sequence[bytes]], keys: Keys
) -> FormatChoice | None:
    """Return the text format that reads most, or None if none reads anything.

    A count of records decides, not the first match: bigscience's logs hold Megatron's line and that of DeepSpeed's
    pipeline engine for every step.

    Parameters
    ----------
    formats
        Candidates; the first wins a tie.
    fallback
        Taken if it finds twice as much as all others.
    pieces
        Lines as they stand in the log.
    keys
        Names that the user gave.
    """
    clean = [[clean_line(raw).text for raw in lines] for lines in pieces]
    best = FormatChoice(format=formats[0], score=score(formats[0], clean, keys))
    for one in formats[1:]:
        found = score(one, clean, keys, to_beat=best.score)
        best = FormatChoice(format=one, score=found) if found > best.score else best
    if _MOST * sum(map(len, clean)) > 2 * best.score:
        general = FormatChoice(format=fallback, score=score(fallback, _unclaimed(best, clean), keys))
        best = general if general.score > 2 * best.score else best
    return best if best.score else None


def _unclaimed(best: FormatChoice, pieces: Sequence[Sequence[str]]) -> Sequence[Sequence[str]]:
    """Return the lines that are not the best format's own by their look."""
    if not best.score or not isinstance(best.format, OwnsLines):
        return pieces
    belongs = best.format.belongs
    return [[text for text in lines if not belongs(text)] for lines in pieces]


def score(log_format: TextFormat, pieces: Sequence[Sequence[str]], keys: Keys, *, to_beat: int = -1) -> int:
    """Return how much of a log a text format can read.

    Parameters
    ----------
    log_format
        The candidate.
    pieces
        Clean lines.
    keys
        Names that the user gave.
    to_beat
        Score that another format has: reading ends, with the score so far, where this one can no longer have more.
        Reading every sample with every format was half of the time of a short log.
    """
    total = 0
    left = sum(map(len, pieces)) + len(pieces)  # no parser gives more than one record a line, and one at the end
    for lines in pieces:
        parser = log_format.parser(keys)
        for number, text in enumerate(lines, start=1):
            record = parser.feed(number, text)
            left -= 1
            if record is not None:
                total += _worth(record, log_format, keys)
            elif total + _MOST * left <= to_beat:
                return total
        last = parser.finish()
        left -= 1
        total += _worth(last, log_format, keys) if last is not None else 0
    return total


def _worth(record: LogRecord, log_format: TextFormat, keys: Keys) -> int:
    # Lines of a block without its heading may be anybody's: they are indented and have a sign between name and value.
    if isinstance(log_format, BlockGrammar) and record.step is None and keys.step is None:
        return 0
    return record_worth(record, log_format.preferred)


def record_worth(record: LogRecord, preferred: Mapping[str, tuple[str, ...]]) -> int:
    """Return what a record counts in the choice of a format.

    Parameters
    ----------
    record
        From a parser.
    preferred
        Names that the format fixes.
    """
    best = 1 if record.values else 0
    for name in record.values:
        canonical = next((key for key, names in preferred.items() if name in names), None)
        if canonical is None:
            rank = canonical_rank(name)
            canonical = rank[0] if rank is not None else None
        if canonical in _WORTH:
            best = max(best, _WORTH[canonical])
    return best


def named_format(name: str, formats: Sequence[TextFormat | FileFormat]) -> TextFormat | FileFormat:
    """Return a format by its name.

    Raises
    ------
    SettingError
        There is none of this name; names those there are.
    """
    for one in formats:
        if one.name == name:
            return one
    known = ", ".join(one.name for one in formats)
    raise SettingError(f"--log-format {name}: no such format; there are {known}")


def unknown(path: str, head: bytes) -> LogError:
    """Return the error for a log that no format can read; its first bytes say whether it is text at all."""
    expected = "lines or records that name a loss"
    if not head:
        return LogError(path, found="an empty file", expected=expected)
    odd = sum(byte < 9 or 14 <= byte < 27 or byte > 126 for byte in head[:4096])
    if odd > 0.3 * len(head[:4096]):
        return LogError(path, found="binary data of no known kind", expected=expected)
    return LogError(
        path,
        found="no training records",
        expected=expected,
        hint="say how to read it with --log-format, --loss-key and --step-key, or --regex",
    )

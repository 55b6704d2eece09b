"""Which format a log is in, told by what its parsers find in samples of it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from mhcdiag.errors import LogError, SettingError
from mhcdiag.runlogs.interface import FileFormat, Keys, Record, Sample, TextFormat
from mhcdiag.runlogs.lines import LineSplitter, clean_line
from mhcdiag.runlogs.names import canonical_rank

_WORTH = {"loss": 4, "eval_loss": 2, None: 1}
_MOST = max(_WORTH.values())


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """A text format and how well it fits."""

    format: TextFormat
    """The format."""
    score: int
    """4 per record with a training loss, 2 per evaluation, 1 per other record."""


def sample_lines(pieces: Iterable[bytes]) -> list[list[bytes]]:
    """Return the whole lines of each piece of a log.

    Arguments: pieces: the first one begins with the log, the others anywhere.
    """
    found: list[list[bytes]] = []
    for number, piece in enumerate(pieces):
        splitter = LineSplitter()
        texts = splitter.feed(piece).texts[1 if number else 0 :]
        found.append(texts or splitter.finish().texts)
    return found


def record_worth(record: Record, preferred: Mapping[str, tuple[str, ...]]) -> int:
    """Return what a record counts in the choice of a format.

    Arguments: record: from a parser; preferred: names the format fixes.
    """
    best = 1 if record.values else 0
    for name in record.values:
        canonical = next((key for key, names in preferred.items() if name in names), None)
        if canonical is None:
            rank = canonical_rank(name)
            canonical = rank[0] if rank is not None else None
        best = max(best, _WORTH.get(canonical, 1))
    return best


def score(log_format: TextFormat, pieces: Sequence[Sequence[str]], keys: Keys, *, to_beat: int = -1) -> int:
    """Return how much of a log a text format can read.

    Arguments: log_format: the candidate; pieces: clean lines; keys: names the user gave; to_beat: score that another
    format has: reading ends, with the score so far, where this one can no longer have more.
    """
    total = 0
    left = sum(map(len, pieces)) + len(pieces)  # no parser gives more than one record a line, and one at the end
    for lines in pieces:
        parser = log_format.parser(keys)
        for number, text in enumerate(lines, start=1):
            record = parser.feed(number, text)
            left -= 1
            if record is not None:
                total += record_worth(record, log_format.preferred)
            elif total + _MOST * left <= to_beat:
                return total
        last = parser.finish()
        left -= 1
        total += record_worth(last, log_format.preferred) if last is not None else 0
    return total


def best_text_format(
    formats: Sequence[TextFormat], fallback: TextFormat, pieces: Sequence[Sequence[bytes]], keys: Keys
) -> Choice | None:
    """Return the text format that reads most, or None if none reads anything.

    Arguments: formats: candidates, first wins a tie; fallback: taken if it finds twice as much as all others;
    pieces: raw lines; keys: names the user gave.
    """
    clean = [[clean_line(raw).text for raw in lines] for lines in pieces]
    best = Choice(format=formats[0], score=score(formats[0], clean, keys))
    for one in formats[1:]:
        found = score(one, clean, keys, to_beat=best.score)
        best = Choice(format=one, score=found) if found > best.score else best
    if _MOST * sum(map(len, clean)) > 2 * best.score:
        general = Choice(format=fallback, score=score(fallback, clean, keys))
        best = general if general.score > 2 * best.score else best
    return best if best.score else None


def file_format(formats: Sequence[FileFormat], sample: Sample) -> FileFormat | None:
    """Return the whole-file format that recognises a sample, or None.

    Arguments: formats: candidates; sample: of the log.
    """
    return next((one for one in formats if one.fits(sample)), None)


def named_format(name: str, formats: Sequence[TextFormat | FileFormat]) -> TextFormat | FileFormat:
    """Return a format by its name.

    Arguments: name: from the command line; formats: all of them. Raises: SettingError.
    """
    for one in formats:
        if one.name == name:
            return one
    known = ", ".join(one.name for one in formats)
    raise SettingError(f"--log-format {name}: no such format; there are {known}")


def unknown(path: str, head: bytes) -> LogError:
    """Return the error for a log that no format can read.

    Arguments: path: the log; head: its first bytes.
    """
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

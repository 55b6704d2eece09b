"""Text from logs, checkpoints and file names, made harmless, and numbers as all reports write them."""

import math
import textwrap


def printable(text: str) -> str:
    """Return the text with control characters escaped, so that file contents cannot drive the terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def in_bytes(count: int) -> str:
    """Return a number of bytes in decimal units, as disks and networks count them.

    >>> in_bytes(512), in_bytes(135_266_304), in_bytes(160_000_000_000)
    ('512 B', '135.3 MB', '160.0 GB')
    """
    size = float(count)
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if size < 1000 or unit == "TB":
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    raise AssertionError


def all_digits(number: float) -> str:
    """Return a number for a table that a program reads: every digit, and whole ones without a decimal point.

    >>> all_digits(12000.0), all_digits(0.1), all_digits(float("nan"))
    ('12000', '0.1', 'nan')
    """
    # From 2**53 on a float stands for several integers: which of them was meant is not known.
    if math.isfinite(number) and number == int(number) and abs(number) < 2**53:
        return str(int(number))
    return repr(number)


def reason_beside(path: str, reason: str) -> str:
    """Return a reason as it stands behind its path: most begin with the path, and said twice it hides what is wrong.

    >>> reason_beside("a.pt", "a.pt: 4 bytes, shorter than a header")
    '4 bytes, shorter than a header'
    """
    return reason.removeprefix(path).lstrip(": ")


def wrapped(head: str, text: str, width: int, *, indent: int) -> list[str]:
    """Return lines of at most so many columns that begin with a head; a name or a path is never broken in two.

    Parameters
    ----------
    head
        Begins the first line.
    text
        What is wrapped.
    width
        Columns.
    indent
        Spaces before the other lines.
    """
    return textwrap.wrap(
        head + text, width, subsequent_indent=" " * indent, break_long_words=False, break_on_hyphens=False
    )

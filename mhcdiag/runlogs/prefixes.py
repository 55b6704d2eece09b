"""What launchers, terminals and log collectors put before the line that the training code printed."""

import re
from dataclasses import dataclass

_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])|\^\[\[[0-9;]*[A-Za-z]")
_PREFIX = re.compile(
    r"\s{0,8}(?:"
    r"(?P<srun>\d{1,5}):[ \t]"  # srun --label
    r"|\[?[Rr]ank[ _]?(?P<torchrun>\d{1,5})\]?:[ ]?"  # torchrun, deepspeed
    r"|\[default(?P<local>\d{1,5})\]:[ ]?"  # torchrun --tee
    r"|\[(?P<index>\d{1,5})\]:[ ]?"
    r"|\[\d+,(?P<mpirun>\d{1,5})\]<std(?:out|err)>:[ ]?"  # mpirun --tag-output
    r"|\((?:\w+[ ])?pid=\d+(?:,[ ]ip=[\d.]+)?\)[ ]"  # Ray
    r"|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)[ ]"  # Kubernetes
    r"(?:std(?:out|err)[ ][FP][ ])?"  # containerd
    r")"
)
_RANKS = ("srun", "torchrun", "local", "index", "mpirun")
_STARTS = frozenset("0123456789[(rR \t")


@dataclass(frozen=True, kw_only=True, slots=True)
class CleanLine:
    """A line as the training code printed it."""

    text: str
    """The line without escapes, prefixes and line end."""
    rank: int | None
    """Rank of the writer, where a prefix tells it."""


def clean_line(raw: bytes) -> CleanLine:
    """Decode a line and take off what is not the training code's.

    Arguments: raw: the line's bytes; invalid UTF-8 becomes U+FFFD, NUL bytes are dropped.
    """
    text = raw.decode("utf-8", "replace")
    if "\x00" in text:
        text = text.replace("\x00", "")
    if "\x1b" in text or "^[[" in text:
        text = _ESCAPES.sub("", text)
    text = text.rstrip().lstrip("\ufeff")
    rank: int | None = None
    while text and text[0] in _STARTS:
        match = _PREFIX.match(text)
        if match is None:
            break
        found = next((match[name] for name in _RANKS if match[name] is not None), None)
        rank = int(found) if found is not None else rank
        text = text[match.end() :]
    return CleanLine(text=text, rank=rank)

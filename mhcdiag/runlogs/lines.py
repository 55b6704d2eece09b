"""Blocks of bytes to numbered lines, whatever the split: a line counts once it has ended."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

LONGEST_LINE = 1 << 20
"""Bytes of a line that are kept; no record is longer, but a stray dump may be."""

_ENDS = re.compile(rb"\r\n|\n|\r")


@dataclass(frozen=True, kw_only=True, slots=True)
class Lines:
    r"""Some whole lines; the pieces of a line that a terminal would overwrite (`\r`) share its number."""

    numbers: Sequence[int]
    """1-based number of each line."""
    texts: list[bytes]
    """The lines without their ends."""


class LineSplitter:
    """Cuts a stream of bytes into lines, in constant memory."""

    def __init__(self) -> None:
        self.count = 0
        """Lines that have ended so far."""
        self.too_long = 0
        """Lines that were longer than LONGEST_LINE and were left out."""
        self._rest = b""
        self._skipping = False
        self._begun = False

    def feed(self, block: bytes) -> Lines:
        """Return the lines that end in this block, the next bytes of the log."""
        # Blocks without a carriage return, nearly all, are cut by one split, without a pattern.
        data = self._rest + block
        cut = data.rfind(b"\n") + 1
        if b"\r" not in data:
            self._rest = data[cut:]
            texts = data[:cut].split(b"\n")
            texts.pop()
            numbers: Sequence[int] = range(self.count + 1, self.count + 1 + len(texts))
            self.count += len(texts)
            self._begun = self._begun and not texts
            return self._drop_long(Lines(numbers=numbers, texts=texts))
        # A carriage return at the very end may be half of "\r\n": wait for the next byte.
        cut = max(cut, data.rfind(b"\r", 0, len(data) - 1) + 1)
        self._rest = data[cut:]
        return self._drop_long(self._split_ends(data[:cut]))

    def finish(self) -> Lines:
        """Return the last line if it has no end."""
        self.count += bool(self._rest) or self._skipping or self._begun
        rest, self._rest = self._rest.rstrip(b"\r"), b""
        if not rest or self._skipping:
            self._skipping = False
            return Lines(numbers=(), texts=[])
        return self._drop_long(Lines(numbers=(self.count,), texts=[rest]))

    def _split_ends(self, data: bytes) -> Lines:
        numbers: list[int] = []
        texts: list[bytes] = []
        start = 0
        for end in _ENDS.finditer(data):
            texts.append(data[start : end.start()])
            numbers.append(self.count + 1)
            self._begun = end.group() == b"\r"
            self.count += not self._begun
            start = end.end()
        return Lines(numbers=numbers, texts=texts)

    def _drop_long(self, lines: Lines) -> Lines:
        texts = lines.texts
        numbers = lines.numbers
        if self._skipping and texts:
            texts, numbers, self._skipping = texts[1:], numbers[1:], False
        if len(self._rest) > LONGEST_LINE:
            self.too_long += not self._skipping
            self._rest, self._skipping = b"", True
        if texts and max(map(len, texts)) > LONGEST_LINE:
            kept = [i for i, text in enumerate(texts) if len(text) <= LONGEST_LINE]
            self.too_long += len(texts) - len(kept)
            numbers, texts = [numbers[i] for i in kept], [texts[i] for i in kept]
        return Lines(numbers=numbers, texts=texts)


# CSI and OSC sequences of terminals, and the "^[[A" that a terminal shows for a typed arrow key (found before "step" in
# logs of `screen -L`).
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])|\^\[\[[0-9;]*[A-Za-z]")
_PREFIX = re.compile(
    r"\s{0,8}(?:"
    # srun --label; but darknet's lines open with their iteration: "71: 723.6, 723.6 avg loss, 0.001 rate"
    r"(?P<srun>\d{1,5}):[ \t](?!-?(?:\d[\d.]*|nan|inf), )"
    r"|\[?[Rr]ank[ _]?(?P<torchrun>\d{1,5})\]?:[ ]?"  # torchrun, deepspeed
    r"|\[default(?P<local>\d{1,5})\]:[ ]?"  # torchrun --tee
    r"|\[(?P<index>\d{1,5})\]:[ ]?"
    r"|\[\d+,(?P<mpirun>\d{1,5})\]<std(?:out|err)>:[ ]?"  # mpirun --tag-output
    r"|\((?:\w+[ ])?pid=\d+(?:,[ ]ip=[\d.]+)?\)[ ]"  # Ray
    r"|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)[ ]"  # Kubernetes
    r"(?:std(?:out|err)[ ][FP][ ])?"  # containerd
    # Python's logging.basicConfig: "INFO:tensorflow:loss = 7.9"; of "INFO:loss:7.9" the middle is no module.
    r"|(?:DEBUG|INFO|WARNING|ERROR):(?!\w*(?:loss|step|iter|epoch|norm|cost)\w*:)[A-Za-z_][\w.]*:[ ]?"
    r")"
)
_RANKS = ("srun", "torchrun", "local", "index", "mpirun")
_STARTS = frozenset("0123456789[(rRDIWE \t")


@dataclass(frozen=True, kw_only=True, slots=True)
class CleanLine:
    """A line as the training code printed it."""

    text: str
    """The line without escapes, prefixes and line end."""
    rank: int | None
    """Rank of the writer, where a prefix names it."""


def clean_line(raw: bytes) -> CleanLine:
    """Decode a line and take off what is not the training code's.

    Invalid UTF-8 becomes U+FFFD. NUL bytes are dropped: a file that is truncated under its writer is
    padded with them.
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

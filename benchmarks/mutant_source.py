"""A source text, where its nodes stand, and one change of it."""

import ast
import re
from bisect import bisect_right
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Edit:
    """A span of a source text and what takes its place."""

    start: int
    end: int
    text: str
    operator: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Mutant:
    """One edit of one file."""

    file: str
    """Relative to the repository, with forward slashes."""
    line: int
    edit: Edit
    before: str
    """The changed lines on one line, with single spaces."""
    after: str

    @property
    def key(self) -> tuple[str, str, str]:
        """What stays the same when lines are added above."""
        return self.file, self.before, self.after


class Source:
    """A source text and where its nodes stand; all positions are indices of characters."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._lines = text.splitlines(keepends=True)
        self._starts = [0]
        for line in self._lines:
            self._starts.append(self._starts[-1] + len(line))

    def start(self, node: ast.AST) -> int:
        """First character of a node."""
        return self._position(node.lineno, node.col_offset)  # type: ignore[attr-defined]

    def end(self, node: ast.AST) -> int:
        """One behind the last character of a node."""
        return self._position(node.end_lineno, node.end_col_offset)  # type: ignore[attr-defined]

    def _position(self, line: int, column: int) -> int:
        # The parser counts bytes.
        return self._starts[line - 1] + len(self._lines[line - 1].encode()[:column].decode())

    def of(self, node: ast.AST) -> str:
        """The text of a node, without parentheses around it."""
        return self.text[self.start(node) : self.end(node)]

    def token(self, token: str, left: int, right: int) -> tuple[int, int]:
        """The span of an operator between two operands: there stand only parentheses, comments and space beside it."""
        between = re.sub(r"#[^\n]*", lambda comment: " " * len(comment[0]), self.text[left:right])
        found = re.search(r"\s+".join(map(re.escape, token.split())), between)
        assert found is not None
        return left + found.start(), left + found.end()

    def line_of(self, position: int) -> int:
        """1-based line of a character."""
        return bisect_right(self._starts, position)

    def lines_around(self, start: int, end: int) -> tuple[int, int]:
        """The span of the whole lines that a span touches."""
        stop = self.text.find("\n", end)
        return self.text.rfind("\n", 0, start) + 1, len(self.text) if stop < 0 else stop


def applied(text: str, edit: Edit) -> str:
    """The text with the edit in it."""
    return text[: edit.start] + edit.text + text[edit.end :]

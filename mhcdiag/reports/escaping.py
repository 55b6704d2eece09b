"""Text from logs and file names, made harmless for a terminal."""


def printable(text: str) -> str:
    """Return the text with control characters escaped, so that file contents cannot drive the terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)

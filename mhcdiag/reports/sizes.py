"""Sizes for people."""


def in_bytes(count: int) -> str:
    """A number of bytes in decimal units.

    >>> in_bytes(512), in_bytes(135_266_304), in_bytes(160_000_000_000)
    ('512 B', '135.3 MB', '160.0 GB')
    """
    size = float(count)
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if size < 1000 or unit == "TB":
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    raise AssertionError

"""Numbers as training logs print them: separators, suffixes, units, NaN in all spellings."""

import re

NUMBER = (
    r"[-+]?(?:\d+(?:,\d{3})+(?:\.\d+)?|\d+\.?\d*(?:[eE][-+]?\d+)?|\.\d+(?:[eE][-+]?\d+)?"
    r"|(?i:nan|inf(?:inity)?)\b)"
)
"""Pattern of a number, without suffix or unit."""

_SCALES = {"K": 1e3, "M": 1e6, "G": 1e9, "B": 1e9, "T": 1e12}
_WITH_UNIT = re.compile(rf"({NUMBER})\s*(?:([KMGBT])(?![\w])|[%a-zA-Zµ][\w/%²]*)?(?:\s*\([^()]*\))?$")


def parse_number(text: str) -> float | None:
    """Return the number a field of a log holds, or None if it holds none.

    A suffix K, M, G, B or T multiplies (`12.3K`); a unit (`35.1ms`, `2.49GiB(3.14%)`) is left out.

    Arguments: text: the field, without the name.
    """
    try:
        return float(text)
    except ValueError:
        pass
    match = _WITH_UNIT.match(text.strip().strip("'\""))
    if match is None:
        return None
    return float(match[1].replace(",", "")) * _SCALES.get(match[2], 1.0)


def parse_decimal_comma(text: str) -> float | None:
    """Return the number of a field that has a comma before its decimals and dots between thousands.

    Arguments: text: the field.
    """
    return parse_number(text.replace(".", "").replace(",", ".") if "," in text else text)

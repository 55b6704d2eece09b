"""Numbers in strict JSON: NaN and infinity are strings, and a number beyond float64 is {"log10": ...}."""

import math

from mhcdiag.results.numbers import Huge, Number


def number(value: Number | None) -> object:
    """Return a number as strict JSON; None stays null."""
    if value is None:
        return None
    if isinstance(value, Huge):
        return {"log10": value.log10}
    if math.isfinite(value):
        return value
    return "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"


def parse_number(value: object) -> Number | None:
    """Return the number that `number` wrote; None for null and for what is no number."""
    match value:
        case bool():
            return None
        case int() | float():
            return float(value)
        case "nan" | "inf" | "-inf":
            return float(value)
        case {"log10": float() | int() as log10}:
            return Huge(float(log10))
        case _:
            return None


def step(value: float | None) -> float | int | None:
    """Return a step, or another number of a log, without decimals where it is whole; NaN and infinity are null."""
    if value is None or not math.isfinite(value):
        return None
    return int(value) if value == int(value) and abs(value) < 2**53 else value

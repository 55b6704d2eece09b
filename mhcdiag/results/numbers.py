"""Numbers that may be too large for a float64.

The composite gain of a diverged run has no upper limit: 122 sites that each amplify by 1e40 give 1e4880. Such a value
is carried as its decimal logarithm and is larger than every float.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import total_ordering


@total_ordering
@dataclass(frozen=True, slots=True)
class Huge:
    """A positive number above the largest float64, known by its decimal logarithm."""

    log10: float
    """Decimal logarithm; at least 308."""

    def __lt__(self, other: object) -> bool:
        if isinstance(other, Huge):
            return self.log10 < other.log10
        if isinstance(other, int | float):
            return False  # above every float; also not below NaN, which compares false with everything
        return NotImplemented

    def __float__(self) -> float:
        return math.inf


Number = float | Huge


def from_log2(log2: float) -> Number:
    """2 to the power of `log2`, as a float where it fits and as `Huge` where it does not.

    Minus infinity gives 0, NaN gives NaN, plus infinity gives infinity (an infinite mapping is not a huge one).
    """
    if math.isnan(log2) or math.isinf(log2):
        return 0.0 if log2 == -math.inf else log2
    if log2 < 1024:
        return math.exp2(log2)
    return Huge(log2 * math.log10(2))


def from_log10(log10: float) -> Number:
    """10 to the power of `log10`, as a float where it fits and as `Huge` where it does not."""
    return Huge(log10) if log10 >= 308 else math.pow(10.0, log10)


def log10_of(number: Number) -> float:
    """Decimal logarithm of a non-negative number; minus infinity for 0, NaN for NaN."""
    if isinstance(number, Huge):
        return number.log10
    if math.isnan(number):
        return math.nan
    return math.log10(number) if number > 0 else -math.inf


def is_finite(number: Number) -> bool:
    """Whether the number is a real number; `Huge` is, infinity and NaN are not."""
    return isinstance(number, Huge) or math.isfinite(number)


def within(number: Number, limit: float) -> bool:
    """Whether `number <= limit`, failing closed: NaN is within nothing."""
    return not isinstance(number, Huge) and number <= limit


def text(number: Number, *, digits: int = 4) -> str:
    """The number for people: four significant digits, plain up to 1e6, then in powers of ten.

    >>> text(1.0), text(0.99999), text(264.6), text(28345.2), text(3.1e9), text(Huge(4880.5))
    ('1.000', '1.000', '264.6', '28345', '3.100e9', '3.162e4880')
    """
    if isinstance(number, Huge):
        exponent = math.floor(number.log10)
        return f"{10 ** (number.log10 - exponent):.{digits - 1}f}e{exponent}"
    if not math.isfinite(number):
        return str(number)
    mantissa, _, exponent_text = f"{number:.{digits - 1}e}".partition("e")
    magnitude = int(exponent_text)
    if number == 0:
        return "0"
    if -4 <= magnitude < 6:
        return f"{number:.{max(0, digits - 1 - magnitude)}f}"
    return f"{mantissa}e{magnitude}"


def text_beside(number: Number, limit: float, *, shown: Callable[[Number, int], str] | None = None) -> tuple[str, str]:
    """Number and limit with as many digits as it takes to see which is larger.

    Rounding must never turn a failure into a pass on the screen: 1000.00001 against 1000 is not printed "1000 > 1000",
    and 0.12346 against 0.12345 not "0.1235 > 0.1235".

    Parameters
    ----------
    shown
        How a number is written with so many digits; `text` where it is left out.

    >>> text_beside(1000.00001, 1000.0), text_beside(0.12346, 0.12345), text_beside(2.5, 3.0)
    (('1000.00001', '1000'), ('0.12346', '0.12345'), ('2.500', '3.000'))
    """
    write = shown or (lambda value, digits: text(value, digits=digits))
    # A limit is mostly written by hand: where four digits say it all, more would only be zeros.
    is_short = float(write(limit, 4)) == limit
    for digits in range(4, 18):
        one, other = write(number, digits), write(limit, 4 if is_short else digits)
        if order(float(one), float(other)) == order(number, limit):
            return one, other
    return (f"10^{number.log10!r}" if isinstance(number, Huge) else repr(number)), write(limit, 17)


def order(number: Number, limit: Number) -> int | None:
    """-1, 0 or 1 as the number is below, at or above the limit; None where NaN has no order."""
    if any(one != one for one in (number, limit)):  # noqa: PLR0124 - NaN
        return None
    return 0 if number == limit else 1 if number > limit else -1


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

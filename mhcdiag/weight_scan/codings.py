"""How the bytes of each element type become numbers, and where its numbers end.

A floating point number without its sign is a whole number that grows with the value ("magnitude"): NaN and infinity are
those above a limit, zero is 0. So a pass over raw bytes needs comparisons of whole numbers only, and gets the value by
putting the bits where float32 has them and multiplying by a power of two.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

Floats = np.ndarray[Any, np.dtype[np.floating[Any]]]
Bytes = np.ndarray[Any, np.dtype[np.uint8]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Coding:
    """One element type."""

    word: str
    """NumPy's unsigned type of one element, or of one byte where several elements share it."""
    exponent: int = 0
    """Bits of the exponent; 0 for types that are no floating point numbers of the usual kind."""
    mantissa: int = 0
    """Bits of the mantissa."""
    first_nonfinite: int = 0
    """Smallest magnitude that is not finite; 0 where every one is finite."""
    has_infinity: bool = False
    """Whether that smallest one is infinity; else all of them are NaN."""
    table: Floats | None = None
    """The values of a byte's 256 patterns, [256, values per byte]; None for wider types."""
    plain: str = ""
    """NumPy's own type of the same bits, where it has one."""

    @property
    def mask(self) -> int:
        """The bits of a magnitude."""
        return (1 << (8 * np.dtype(self.word).itemsize - 1)) - 1

    @property
    def shift(self) -> int:
        """Places by which a magnitude is moved to stand where float32 has exponent and mantissa."""
        return 23 - self.mantissa

    @property
    def scale(self) -> float:
        """Power of two that makes up for the other bias of the exponent; right for subnormal numbers too."""
        return math.ldexp(1.0, 127 - ((1 << (self.exponent - 1)) - 1))

    @property
    def has_magnitudes(self) -> bool:
        """Whether the pass over magnitudes can read it."""
        return bool(self.exponent) and self.plain != "float64"

    @property
    def largest(self) -> float:
        """Largest finite number; infinity where the type has no such limit worth knowing."""
        return self.value(self.first_nonfinite - 1) if self.first_nonfinite and self.exponent else math.inf

    @property
    def smallest_normal(self) -> float:
        """Smallest number that keeps all bits of the mantissa."""
        return self.value(1 << self.mantissa) if self.exponent else 0.0

    def value(self, magnitude: int) -> float:
        """The number of a magnitude."""
        if self.plain == "float64":
            return float(np.array([magnitude], dtype=np.uint64).view(np.float64)[0])
        bits = np.array([magnitude << self.shift], dtype=np.uint32)
        return float(bits.view(np.float32)[0]) * self.scale

    def magnitude(self, value: float) -> int:
        """The smallest magnitude whose number is at least this value; 0 for 0."""
        low, high = 0, self.first_nonfinite
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if self.value(middle) >= value else (middle + 1, high)
        return low

    def decode(self, data: Bytes) -> Floats:
        """The values of consecutive elements, in float32 (float64 for types that it cannot hold)."""
        if self.table is not None:
            return self.table[data].reshape(-1)
        words = data.view(self.word)
        if self.plain in ("float32", "float64"):
            return words.view(self.plain)
        if self.plain:
            wide = np.float32 if words.itemsize <= 2 else np.float64
            return words.view(self.plain).astype(wide)
        return (words.astype(np.uint32) << np.uint32(16)).view(np.float32)  # bfloat16 is the upper half of float32


def _fp4() -> Floats:
    """OCP Microscaling formats 1.0, E2M1: two in a byte, the lower half first."""
    one = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6], dtype=np.float32)
    both = np.concatenate([one, -one])
    byte = np.arange(256)
    return np.stack([both[byte & 15], both[byte >> 4]], axis=1)


def _fp8(exponent: int, mantissa: int, *, bias: int, special: str) -> Floats:
    """The 256 numbers of an 8-bit float.

    Parameters
    ----------
    special
        "fn": all ones are NaN, nothing is infinite; "ieee": the last exponent is infinity and NaN; "fnuz": the pattern
        of minus zero is NaN, and nothing else.
    """
    byte = np.arange(256)
    sign = np.where(byte & 0x80, -1.0, 1.0)
    power = byte >> mantissa & (1 << exponent) - 1
    part = byte & (1 << mantissa) - 1
    values = np.where(
        power == 0,
        np.ldexp(part / (1 << mantissa), 1 - bias),
        np.ldexp(1 + part / (1 << mantissa), np.maximum(power, 1) - bias),
    )
    values = sign * values
    if special == "fn":
        values[(byte & 0x7F) == 0x7F] = np.nan
    elif special == "fnuz":
        values[0x80] = np.nan
    else:
        last = power == (1 << exponent) - 1
        values[last] = np.where(part[last] == 0, sign[last] * np.inf, np.nan)
    return values.astype(np.float32)[:, None]


def _e8m0() -> Floats:
    """OCP Microscaling formats 1.0, E8M0: powers of two from 2^-127 on; 255 is NaN."""
    return np.append(np.ldexp(1.0, np.arange(255) - 127), np.nan).astype(np.float32)[:, None]


def _counts(kind: type[np.generic]) -> Floats:
    return np.arange(256).astype(np.uint8).view(kind).astype(np.float32)[:, None]


CODINGS: Mapping[str, Coding] = {
    "F64": Coding(word="uint64", exponent=11, mantissa=52, first_nonfinite=0x7FF << 52, has_infinity=True,
                  plain="float64"),
    "F32": Coding(word="uint32", exponent=8, mantissa=23, first_nonfinite=0xFF << 23, has_infinity=True,
                  plain="float32"),
    "BF16": Coding(word="uint16", exponent=8, mantissa=7, first_nonfinite=0xFF << 7, has_infinity=True),
    "F16": Coding(word="uint16", exponent=5, mantissa=10, first_nonfinite=0x1F << 10, has_infinity=True,
                  plain="float16"),
    "F8_E4M3": Coding(word="uint8", exponent=4, mantissa=3, first_nonfinite=0x7F,
                      table=_fp8(4, 3, bias=7, special="fn")),
    "F8_E5M2": Coding(word="uint8", exponent=5, mantissa=2, first_nonfinite=0x1F << 2, has_infinity=True,
                      table=_fp8(5, 2, bias=15, special="ieee")),
    "F8_E4M3FNUZ": Coding(word="uint8", table=_fp8(4, 3, bias=8, special="fnuz")),
    "F8_E5M2FNUZ": Coding(word="uint8", table=_fp8(5, 2, bias=16, special="fnuz")),
    "F8_E8M0": Coding(word="uint8", table=_e8m0()),
    "F4": Coding(word="uint8", table=_fp4()),
    "I8": Coding(word="uint8", table=_counts(np.int8)),
    "U8": Coding(word="uint8", table=_counts(np.uint8)),
    "BOOL": Coding(word="uint8", table=_counts(np.uint8)),
    **{f"{letter}{bits}": Coding(word=f"uint{bits}", plain=f"{kind}{bits}")
       for letter, kind in (("I", "int"), ("U", "uint")) for bits in (16, 32, 64)},
}  # fmt: skip
"""Element types by the spelling of safetensors. Six-bit floats are not among them: nothing writes them yet."""

WHOLE_NUMBERS = frozenset({"I8", "U8", "BOOL", "I16", "U16", "I32", "U32", "I64", "U64"})
"""Types of counts, indices, masks and packed bits: whether they are large, or small, says nothing."""

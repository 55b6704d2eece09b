"""NumPy's numbers and arrays in a pickle, rebuilt without NumPy's own unpickling, which trusts what it is given.

An array of objects holds pointers, and `numpy.ndarray.__setstate__` makes one out of whatever a file says; an element
type can be rewritten behind NumPy's back in the same way. Here a file can only describe plain numbers.
"""

import math
from typing import Any

import numpy as np

_KINDS = np.typecodes["AllInteger"] + np.typecodes["AllFloat"] + "?"
_PLAIN = frozenset(np.dtype(code).str[1:] for code in _KINDS)
"""Element types without pointers, parts or units, as pickles spell them: "f8", "i4", "b1"."""

_MOST_BYTES = 2**62
"""No array of any shape is larger: NumPy computes sizes in 64 bits with a sign."""


class NotPlainNumbersError(ValueError):
    """A file describes something else than plain numbers; the message says what, as a clause."""


class ElementType:
    """Stands for `numpy.dtype`: what the file calls it, checked again wherever it is used.

    Without a dictionary of its own: else a pickle could turn any other object into one of these, past all checks.
    """

    __slots__ = ("_code", "_order")

    def __init__(self, code: object, _align: object = False, _copy: object = True) -> None:
        if not isinstance(code, str) or code not in _PLAIN:
            raise NotPlainNumbersError(_named(code))
        self._code = code
        self._order = "="

    def __setstate__(self, state: object) -> None:
        """Take the order of bytes; whatever else a state can say belongs to structures, objects and units."""
        match state:
            case (3, "<" | ">" | "=" | "|" as order, None, None, None, -1, -1, 0):
                self._order = str(order)
            case _:
                raise NotPlainNumbersError(f"a NumPy element type of the state {state!r:.60}")

    def __str__(self) -> str:
        return str(self.plain())

    def plain(self) -> np.dtype[Any]:
        """The element type, made anew from its name."""
        code, order = getattr(self, "_code", None), getattr(self, "_order", None)
        if code not in _PLAIN or order not in ("<", ">", "=", "|"):
            raise NotPlainNumbersError("a NumPy element type without a name")
        return np.dtype(code if order == "|" else f"{order}{code}")


class PlainArray(np.ndarray[Any, Any]):
    """Stands for `numpy.ndarray`: a real array, which takes only a state that describes plain numbers."""

    def __new__(cls, *_arguments: object) -> "PlainArray":
        """Refuse: files make arrays by `empty_array` alone, and this would take any element type."""
        raise NotPlainNumbersError("a NumPy array that is made from arguments")

    def __setstate__(self, state: Any) -> None:
        """Take shape, element type and bytes, once it is sure that they belong together."""
        if self.size:
            # A second state would free values that a tensor made from this array still points to.
            raise NotPlainNumbersError("a NumPy array with two states")
        match state:
            case (int(), tuple() as shape, ElementType() as element, bool() | 0 | 1 as fortran, data):
                plain = element.plain()
            case _:
                raise NotPlainNumbersError("a NumPy array whose state is none")
        if not all(type(length) is int and length >= 0 for length in shape):
            raise NotPlainNumbersError(f"a NumPy array of the shape {shape!r:.60}")
        claimed = math.prod(shape) * plain.itemsize
        if not isinstance(data, bytes) or len(data) != claimed or math.prod(max(1, n) for n in shape) > _MOST_BYTES:
            held = f"{len(data)} bytes" if isinstance(data, bytes) else f"a {type(data).__name__}"
            raise NotPlainNumbersError(f"a NumPy array of {claimed} bytes that holds {held}")
        # NumPy's stubs ask for np.bool here, which NumPy itself does not take.
        super().__setstate__((1, shape, plain, bool(fortran), data))  # type: ignore[arg-type]


def empty_array(kind: object, _shape: object = (0,), _code: object = b"b") -> PlainArray:
    """Stands for `numpy._core.multiarray._reconstruct`: an array that still waits for its state."""
    if kind is not PlainArray:
        raise NotPlainNumbersError(f"a NumPy array of the class {kind!r:.60}")
    return np.ndarray.__new__(PlainArray, (0,), np.dtype(np.int8))


def scalar(element: object, data: object = b"") -> Any:
    """Stands for `numpy._core.multiarray.scalar`: one number."""
    if not isinstance(element, ElementType):
        raise NotPlainNumbersError(_named(element))
    plain = element.plain()
    if not isinstance(data, bytes) or len(data) != plain.itemsize:
        raise NotPlainNumbersError(f"a NumPy number of type {plain} that does not hold {plain.itemsize} bytes")
    return np.frombuffer(data, plain)[0]


def stand_ins() -> list[tuple[Any, str]]:
    """What takes the place of NumPy's names in a pickle; NumPy 2 renamed numpy.core, which files remember."""
    return [
        (PlainArray, "numpy.ndarray"),
        (ElementType, "numpy.dtype"),
        *((scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")),
        *((empty_array, f"numpy.{core}.multiarray._reconstruct") for core in ("core", "_core")),
    ]


def _named(code: object) -> str:
    objects = isinstance(code, str) and code.lstrip("<>|=").startswith("O")
    return f"NumPy values of element type {'object' if objects else repr(code)[:40]}"

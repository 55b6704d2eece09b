"""Both passes over values measure what NumPy measures in float64, for every element type."""

import numpy as np
import pytest

from mhcdiag.weight_scan.codings import CODINGS
from mhcdiag.weight_scan.compiled import BLOCK, CompiledPass
from mhcdiag.weight_scan.measuring import PlainPass

PASSES = [PlainPass(), CompiledPass()]
ROWS = 5


def some(name: str, columns: int) -> np.ndarray:
    """Bytes of finite values of a type: rows of its patterns, zeros and its largest number among them."""
    coding = CODINGS[name]
    rng = np.random.default_rng(0)
    if coding.exponent:
        # Of wide types, values whose squares float32 holds; else the pass hands them on, which another test sees.
        low, high = (
            (coding.magnitude(1e-3), coding.magnitude(1e3)) if coding.exponent > 5 else (0, coding.first_nonfinite)
        )
        words = rng.integers(low, high, (ROWS, columns)).astype(coding.word)
        words[rng.random((ROWS, columns)) < 0.1] = 0
        sign = np.array(coding.mask + 1, dtype=coding.word)
        words[rng.random((ROWS, columns)) < 0.5] |= sign
    else:
        per_byte = coding.table.shape[1] if coding.table is not None else 1
        # The scales of E8M0 begin at 2^-127; those around 1 are what blocks of weights have.
        low = 100 if name == "F8_E8M0" else 0
        words = rng.integers(low, low + 40, (ROWS, columns // per_byte)).astype(coding.word)
    return words.reshape(-1).view(np.uint8)


@pytest.mark.parametrize("measuring", PASSES, ids=lambda one: one.name)
@pytest.mark.parametrize("columns", [2, 62, BLOCK + 4])
@pytest.mark.parametrize("name", CODINGS)
def test_rows_and_columns_measure_what_they_hold(name: str, columns: int, measuring) -> None:
    coding = CODINGS[name]
    data = some(name, columns)
    values = coding.decode(data).astype(np.float64).reshape(ROWS, columns)
    found = measuring.measure(data, coding, columns, small=0.5)
    assert found.is_sound
    assert np.allclose(found.largest, np.abs(values).max(axis=1), rtol=1e-6)
    assert np.allclose(found.squares, np.square(values).sum(axis=1), rtol=1e-4)
    assert np.allclose(found.columns, np.square(values).sum(axis=0), rtol=1e-4)
    assert np.array_equal(found.zeros, (values == 0).sum(axis=1))
    assert np.array_equal(found.small, (np.abs(values) < 0.5).sum(axis=1))


@pytest.mark.parametrize("measuring", PASSES, ids=lambda one: one.name)
@pytest.mark.parametrize("name", [name for name, coding in CODINGS.items() if coding.exponent or name == "F8_E8M0"])
def test_what_is_not_finite_is_never_sound(name: str, measuring) -> None:
    coding = CODINGS[name]
    for pattern in {coding.first_nonfinite, coding.mask} if coding.exponent else {255}:
        for sign in (0, coding.mask + 1) if coding.exponent else (0,):
            for column in (0, 33, 63):
                words = np.zeros(64, dtype=coding.word)
                words[column] = pattern + sign
                if coding.exponent:
                    assert not measuring.measure(words.view(np.uint8), coding, 64, small=0.0).is_sound
                else:
                    assert not np.isfinite(measuring.measure(words, coding, 64, small=0.0).largest).all()


@pytest.mark.parametrize("measuring", PASSES, ids=lambda one: one.name)
@pytest.mark.parametrize("value", [1e-30, 1e30, -1e38])
def test_what_float32_cannot_square_is_not_sound(value: float, measuring) -> None:
    data = np.full(64, value, dtype=np.float32).view(np.uint8)
    assert not measuring.measure(data, CODINGS["F32"], 32, small=0.0).is_sound

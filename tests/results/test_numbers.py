"""Numbers beyond float64, and how numbers are shown."""

import doctest
import math

import pytest

from mhcdiag.results import bands, numbers
from mhcdiag.results.numbers import Huge, from_log2, is_finite, log10_of, text, text_beside, within


def test_the_examples_in_the_docstrings():
    assert doctest.testmod(numbers).failed == 0


def test_huge_is_above_every_float_and_ordered_among_its_kind():
    assert Huge(400.0) > 1e308
    assert float(Huge(400.0)) == math.inf
    assert sorted([Huge(500.0), 3.0, Huge(400.0)]) == [3.0, Huge(400.0), Huge(500.0)]
    assert not within(Huge(400.0), math.inf)


@pytest.mark.parametrize("log2", [-1074.0, -3.0, 0.0, 1023.5])
def test_what_fits_is_a_float(log2: float):
    assert from_log2(log2) == pytest.approx(2.0**log2)


def test_what_does_not_fit_keeps_its_logarithm():
    assert from_log2(2048.0).log10 == pytest.approx(2048 * math.log10(2))
    assert from_log2(-math.inf) == 0.0
    assert from_log2(math.inf) == math.inf
    assert math.isnan(from_log2(math.nan))


def test_limits_fail_closed():
    assert within(1000.0, 1000.0)
    assert not within(math.nextafter(1000.0, math.inf), 1000.0)
    assert not within(math.nan, math.inf)
    assert not within(Huge(400.0), math.inf)


def test_logarithms():
    assert log10_of(1e40) == pytest.approx(40)
    assert log10_of(0.0) == -math.inf
    assert log10_of(Huge(4880.0)) == 4880.0
    assert [is_finite(x) for x in (1.0, Huge(400.0), math.inf, math.nan)] == [True, True, False, False]


@pytest.mark.parametrize("value", [1000.0000001, 999.9999999, math.nextafter(1000.0, 0), 1000.04])
def test_rounding_never_hides_on_which_side_of_the_limit_a_number_is(value: float):
    shown, limit = text_beside(value, 1000.0)
    assert (float(shown) < float(limit)) == (value < 1000.0)
    assert float(shown) != float(limit)


@pytest.mark.parametrize("value", [0.0, 1e-7, 0.00012345, 0.41, 1.0, 9.9999, 123456.7, 999999.6, 1.5e12, 1e300])
def test_text_keeps_four_digits(value: float):
    assert float(text(value)) == pytest.approx(value, rel=5.1e-4)


def test_bands_cover_every_gain():
    words = [
        bands.band_of(x).word
        for x in (0.3, 1.1, 1.11, 3.0, 29.0, 31.0, 1000.0, 1000.1, Huge(400.0), math.nan, math.inf)
    ]
    assert words == [
        "calm",
        "calm",
        "normal",
        "normal",
        "watch",
        "warn",
        "warn",
        "exploded",
        "exploded",
        "broken",
        "broken",
    ]

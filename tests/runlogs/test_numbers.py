import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mhcdiag.runlogs.records import parse_decimal_comma, parse_number


@given(st.floats(allow_nan=False))
def test_every_printed_float_comes_back(value):
    assert parse_number(repr(value)) == value
    assert parse_number(f"{value:.17e}") == value


@given(st.integers(-(10**15), 10**15))
def test_thousands_separators(value):
    assert parse_number(f"{value:,}") == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("12.3K", 12_300),
        ("2.1M", 2_100_000),
        ("3B", 3e9),
        ("35392.33ms", 35392.33),
        ("13.85%", 13.85),
        ("2.49GiB(3.14%)", 2.49),
        ("548.72 ms (step)", 548.72),
        ("10.713 (+0.31z)", 10.713),
        ("'0.25'", 0.25),
        ("1e999", math.inf),
        ("-Infinity", -math.inf),
        ("0.00m", 0.0),
        ("1,234.5", 1234.5),
    ],
)
def test_suffixes_units_and_words(text, value):
    assert parse_number(text) == value


@pytest.mark.parametrize("text", ["nan", "NaN", "-nan", "NAN"])
def test_nan(text):
    number = parse_number(text)
    assert number is not None
    assert math.isnan(number)


@pytest.mark.parametrize("text", ["", "n/a", "###", "None", "1.2.3", "3/7", "0:03:29", "[1, 2]", "2025-01-03"])
def test_what_is_no_number(text):
    assert parse_number(text) is None


def test_decimal_comma():
    assert parse_decimal_comma("1.234,5") == 1234.5
    assert parse_decimal_comma("2,5") == 2.5
    assert parse_decimal_comma("2.5") == 2.5

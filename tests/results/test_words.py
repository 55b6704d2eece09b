"""Wordings that plots and reports share."""

import doctest

import pytest

from mhcdiag.results import words
from mhcdiag.results.words import counted, short_names


def test_the_examples_in_the_docstrings():
    assert doctest.testmod(words).failed == 0


@pytest.mark.parametrize(
    ("number", "form", "shown"),
    [
        (0, ",", "0 sites"),
        (1, "d", "1 site"),
        (2, ",", "2 sites"),
        (1000, ",", "1,000 sites"),
        (1000, "d", "1000 sites"),
    ],
)
def test_a_number_with_its_noun(number: int, form: str, shown: str):
    assert counted(number, "site", form=form) == shown


@pytest.mark.parametrize(
    ("paths", "names"),
    [(["/a/x", "b/x"], ["/a/x", "b/x"]), (["./a", "./b"], ["a", "b"]), (["a/", "b"], ["a", "b"]), ([], [])],
)
def test_what_is_not_shared_stays_as_it_was_written(paths: list[str], names: list[str]):
    assert short_names(paths) == names

"""Counts, steps and paths in words."""

import math

import pytest

from mhcdiag.results.numbers import Huge
from mhcdiag.results.wording import badness, counted, distinct_names, plural, short_names, step_text


@pytest.mark.parametrize(("number", "shown"), [(0, "0 lines"), (1, "1 line"), (1234, "1,234 lines")])
def test_counts_set_thousands_apart(number, shown):
    assert counted(number, "line") == shown
    assert plural(number, "line") == shown.split()[1]


@pytest.mark.parametrize(("step", "shown"), [(10400.0, "10,400"), (0.25, "0.25"), (math.nan, "?"), (math.inf, "?")])
def test_steps_are_whole_where_they_are(step, shown):
    assert step_text(step) == shown


def test_what_is_not_finite_is_the_worst():
    gains = [1.0, math.nan, 1e300, Huge(4880.5), 0.0]
    assert sorted(gains, key=badness)[:4] == [0.0, 1.0, 1e300, Huge(4880.5)]
    assert badness(math.inf) == badness(math.nan) == math.inf


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["/data/run/model.pt"], ["model.pt"]),
        (["model.pt"], ["model.pt"]),
        (["run/"], ["run"]),
        (["/"], ["/"]),
        (["/d/a/model.pt", "/d/b/model.pt"], ["a/model.pt", "b/model.pt"]),
        (["/d/a/model.pt", "/d/model.pt"], ["a/model.pt", "model.pt"]),
        (["x/same.pt", "x/same.pt"], ["same.pt", "same.pt"]),
        (["/a/model.pt", "b/model.pt"], ["/a/model.pt", "b/model.pt"]),
        (["/a/model.pt", "/b/model.pt"], ["a/model.pt", "b/model.pt"]),
        (["hc/", "mhc/"], ["hc", "mhc"]),
        (["https://host/a", "b"], ["https://host/a", "b"]),
    ],
)
def test_short_names_lose_the_folders_they_share(paths, names):
    assert short_names(paths) == names


def test_distinct_names_lose_the_ends_they_share():
    assert distinct_names(["step_1/model.pt", "step_2/model.pt"]) == ["step_1", "step_2"]
    assert distinct_names(["a/model.pt", "model.pt"]) == ["a/model.pt", "model.pt"]
    assert distinct_names(["model.pt", "model.pt"]) == ["model.pt", "model.pt"]

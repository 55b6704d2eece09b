"""Output projections against the median of their kind."""

from math import inf, nan

import numpy as np
import pytest
from health_checks.subjects import plain, run, said, speaks_above, subject, whats

from mhcdiag.health_checks.families.writers import CHECK as writers
from mhcdiag.weight_readers.records import Writer


def model(sites: int, **kinds):
    """Writers by kind, block by block, each (rms, spectral)."""
    held = []
    for kind, numbers in kinds.items():
        word = kind.replace("_", "-")
        held += [Writer(name=f"{kind} {i}", kind=word, rms=r, spectral=s) for i, (r, s) in enumerate(numbers)]
    return subject(np.ones((sites, 1, 1)), plain=plain(writers=held))


def of_spectral(*values: float):
    return model(len(values), attention=[(1.0, value) for value in values])


def of_rms(*values: float):
    return model(len(values), attention=[(value, 1.0) for value in values])


def test_each_kind_has_its_own_median():
    of = model(
        3, attention=[(1.0, 2.0), (2.0, 8.0), (4.0, 4.0)], feed_forward=[(10.0, 30.0), (20.0, 20.0), (5.0, 50.0)]
    )
    outcome = run(writers, of)
    assert outcome.overall == {
        "broken": 0.0, "spectral": 50.0, "spectral_over_median": 2.0, "smallest_over_median": 0.5,
    }  # fmt: skip
    assert outcome.per_site == {
        "attention_rms": (1.0, 2.0, 4.0),
        "attention_spectral": (2.0, 8.0, 4.0),
        "feed_forward_rms": (10.0, 20.0, 5.0),
        "feed_forward_spectral": (30.0, 20.0, 50.0),
    }


def test_a_kind_that_a_block_lacks_has_no_curve():
    outcome = run(writers, model(2, attention=[(1.0, 1.0)], feed_forward=[(1.0, 1.0), (1.0, 1.0)]))
    assert set(outcome.per_site) == {"feed_forward_rms", "feed_forward_spectral"}


@pytest.mark.parametrize(
    ("largest", "severity"), [(10.0, None), (10.1, "note"), (100.0, "note"), (100.1, "warn"), (1000.0, "warn")]
)
def test_a_dominant_direction_is_named(largest: float, severity: str | None):
    outcome = run(writers, of_spectral(1.0, 1.0, largest, 1.0, 1.0))
    assert said(outcome) == ([] if severity is None else [(severity, "attention 2", 1)])


@pytest.mark.parametrize(("smallest", "warned"), [(0.01, False), (0.0099, True), (0.0, True)])
def test_a_branch_that_hardly_writes_is_named(smallest: float, warned: bool):
    outcome = run(writers, of_rms(1.0, smallest, smallest, 1.0, 1.0))
    assert said(outcome) == ([("warn", "attention 1", 2)] if warned else [])
    if warned:
        assert whats(outcome) == [f"writes {smallest:.2g} of the median of its kind (< 0.01)"]


def test_exactly_the_limits_pass():
    assert speaks_above(writers, of_spectral(1.0, 1.0, 2.0), "spectral_note", 2.0) == [True, False, False]
    assert speaks_above(writers, of_spectral(1.0, 1.0, 2.0), "spectral_warn", 2.0) == [True, False, False]
    assert speaks_above(writers, of_rms(1.0, 1.0, 0.5), "silent", 0.5) == [False, False, True]


def test_a_kind_that_is_mostly_zero_is_told_in_words():
    outcome = run(writers, of_rms(0.0, 0.0, 1.0))
    assert outcome.overall["smallest_over_median"] == 0.0
    assert [(severity, count) for severity, _, count in said(outcome)] == [("note", 2)]
    assert whats(outcome) == ["writes nothing (all zero), as most of its kind"]
    outcome = run(writers, of_spectral(0.0, 0.0, 1.0))
    assert outcome.overall["spectral_over_median"] == inf
    assert "it writes, where most of its kind are zero" in whats(outcome)


@pytest.mark.parametrize("value", [nan, inf, -inf])
@pytest.mark.parametrize("where", [0, 1])
@pytest.mark.parametrize("position", range(3))
def test_one_broken_projection_is_a_failure(position: int, where: int, value: float):
    numbers = [[1.0, 1.0] for _ in range(3)]
    numbers[position][where] = value
    outcome = run(writers, model(3, attention=numbers, feed_forward=[(1.0, 1.0), (nan, 1.0), (1.0, 1.0)]))
    assert said(outcome) == [("fail", f"attention {position}", 2)]
    assert outcome.overall == {"broken": 2.0}


def test_what_cannot_be_read_says_why():
    assert run(writers, subject()).not_checkable == "read for models with one residual stream only"
    assert run(writers, model(1)).not_checkable.startswith("no output projections under a known name")

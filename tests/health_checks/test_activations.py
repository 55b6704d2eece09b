"""How large captured streams become, first token apart."""

from math import inf, nan

import numpy as np
import pytest
from health_checks.subjects import SITES, STREAMS, TOKENS, activations, run, said, speaks_above, subject, whats

from mhcdiag.health_checks.families.activations import CHECK as check

WIDTH = 11


def of_sizes(*sizes: float, tokens: int = 2):
    """Sites whose streams have this RMS; nothing else is large."""
    return subject(activations=tuple(activations(np.full((tokens, STREAMS, WIDTH), size)) for size in sizes))


def random_streams(seed: int = 0) -> np.ndarray:
    drawn = np.random.default_rng(seed).standard_normal((SITES, TOKENS, STREAMS, WIDTH))
    drawn[:, 0] *= 50
    return drawn * 1.05 ** np.arange(SITES)[:, None, None, None]


def test_the_first_token_stands_apart():
    x = random_streams()
    outcome = run(check, subject(activations=tuple(map(activations, x))))
    rest = np.sqrt((x[:, 1:] ** 2).mean(axis=(1, 2, 3)))
    first = np.sqrt((x[:, 0] ** 2).mean(axis=(1, 2)))
    assert outcome.per_site["rms"] == pytest.approx(tuple(rest))
    assert outcome.per_site["rms_first_token"] == pytest.approx(tuple(first))
    assert outcome.overall == pytest.approx(
        {
            "growth_per_site": (rest[-1] / rest[0]) ** (1 / (SITES - 1)),
            "largest": abs(x).max(),
            "first_token_ratio": (first / rest).max(),
        }
    )


def test_one_token_is_both_the_first_and_the_rest():
    outcome = run(check, of_sizes(3.0, tokens=1))
    assert outcome.per_site == {"rms": (3.0,), "rms_first_token": (3.0,)}
    assert outcome.overall["growth_per_site"] == 1.0


@pytest.mark.parametrize(("last", "warned"), [(1.2099, False), (1.2101, True), (0.5, False)])
def test_growth_per_site_is_a_geometric_mean(last: float, warned: bool):
    outcome = run(check, of_sizes(1.0, 1.0, last))
    assert bool(outcome.findings) is warned
    assert outcome.overall["growth_per_site"] == pytest.approx(last**0.5)


def test_growth_of_exactly_the_limit_passes():
    assert speaks_above(check, of_sizes(1.0, 1.25), "growth_warn", 1.25) == [True, False, False]
    outcome = run(check, of_sizes(1.0, 1.25))
    assert (said(outcome), whats(outcome)) == ([("warn", "", 0)], ["the RMS grows by 1.25 per site (> 1.1)"])


@pytest.mark.parametrize(("largest", "failed"), [(8188.0, False), (-8188.0, False), (8188.1, True), (-8189.0, True)])
def test_less_than_three_bits_to_the_largest_half_is_a_failure(largest: float, failed: bool):
    x = np.ones((2, STREAMS, WIDTH))
    x[1, 2, 3] = largest
    outcome = run(check, subject(activations=(activations(np.ones_like(x)), activations(x))), growth_warn=inf)
    assert said(outcome) == ([("fail", "", 0)] if failed else [])
    assert outcome.overall["largest"] == abs(largest)


def test_the_range_of_another_type_can_be_set():
    outcome = run(check, of_sizes(100.0), headroom_fail_bits=1.0, largest=128.0)
    assert whats(outcome) == ["max |x| is 100: under 1 bits to 128"]


@pytest.mark.parametrize("site", range(3))
@pytest.mark.parametrize("value", [nan, inf, -inf])
def test_one_broken_number_is_a_failure_wherever_it_stands(site: int, value: float):
    x = np.ones((3, 2, STREAMS, WIDTH))
    x[site, 1, 2, 4] = value
    assert ("fail", "", 0) in said(run(check, subject(activations=tuple(map(activations, x)))))


def test_streams_of_zeros_neither_grow_nor_fail():
    outcome = run(check, of_sizes(0.0, 0.0))
    assert outcome.findings == ()
    assert outcome.overall == {"growth_per_site": 1.0, "largest": 0.0, "first_token_ratio": 1.0}


def test_a_growth_from_nothing_is_told_in_words():
    outcome = run(check, of_sizes(0.0, 3.0))
    assert whats(outcome) == ["the streams are zero at the first site, and are not at the last"]
    assert outcome.overall["growth_per_site"] == inf


@pytest.mark.parametrize("value", [nan, 9000.0])
def test_what_leaves_a_site_counts_too(value: float):
    """The last one's output is the input of none."""
    x = np.ones((2, STREAMS, WIDTH))
    after = x.copy()
    after[1, 0, 3] = value
    outcome = run(check, subject(activations=(activations(x), activations(x, x_out=after))))
    assert said(outcome) == [("fail", "", 0)]


def test_nothing_captured_is_not_checkable():
    assert run(check, subject()).not_checkable == "no activations were captured (--captured)"

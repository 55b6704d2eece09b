"""Bounds of attention logits over blocks: limits, ranks, growth, and projections that are broken."""

from dataclasses import replace
from math import inf, nan

import numpy as np
import pytest
import torch
from health_checks.subjects import plain, run, said, speaks_above, subject, whats

from mhcdiag.health_checks.families.attention import CHECK as attention
from mhcdiag.weight_readers.query_key import QueryKey

CHANNELS, INPUTS, HEADS = 3, 11, 2


def block(name: str, bound: float, *, rank: int = CHANNELS, spectral: float | None = None) -> QueryKey:
    """Two heads; the second one's logits are bounded by `bound`, the first one's by half of it."""
    spectral = bound / INPUTS if spectral is None else spectral
    eye = torch.diag(torch.tensor([1.0] * rank + [0.0] * (CHANNELS - rank), dtype=torch.float64))
    return QueryKey(
        block=name,
        query_gram=torch.stack([eye * (spectral / 2) ** 2, eye * spectral**2]),
        key_gram=torch.eye(CHANNELS, dtype=torch.float64).expand(HEADS, -1, -1),
        query_offset=torch.zeros(HEADS, CHANNELS, dtype=torch.float64),
        key_offset=torch.zeros(HEADS, CHANNELS, dtype=torch.float64),
        inputs=INPUTS,
        scale=1.0,
        rotated=True,
    )


def model(*blocks: QueryKey, **changes):
    return subject(np.ones((len(blocks), 1, 1)), plain=plain(attention=blocks), **changes)


def broken(name: str, value: float, part: str = "query_gram") -> QueryKey:
    whole = block(name, 1.0)
    changed = getattr(whole, part).clone()
    changed.view(-1)[-1] = value
    return replace(whole, **{part: changed})


def test_numbers_per_block_and_of_the_model():
    outcome = run(attention, model(block("a", 22.0), block("b", 33.0, rank=2), block("c", 11.0)))
    assert outcome.per_site["bound"] == pytest.approx((22.0, 33.0, 11.0))
    assert outcome.per_site["spectral"] == pytest.approx((2.0, 3.0, 1.0))
    assert outcome.overall == pytest.approx({"bound": 33.0, "spectral": 3.0, "rank": 2.0})


def test_blocks_that_were_not_read_leave_no_numbers_per_site():
    of = subject(np.ones((3, 1, 1)), plain=plain(attention=[block("a", 22.0)]))
    assert run(attention, of).per_site == {}


@pytest.mark.parametrize(
    ("bound", "severity"),
    [(9_999.0, None), (10_001.0, "note"), (999_999.0, "note"), (1_000_001.0, "warn")],
)
def test_large_bounds_are_named_by_block_and_head(bound: float, severity: str | None):
    outcome = run(attention, model(block("a", 1.0), block("b", bound), block("c", bound / 2)))
    count = 2 if bound / 2 > 1e4 and severity == "note" else 1
    assert said(outcome) == ([] if severity is None else [(severity, "b", count)])
    assert all(what.startswith("logits of head 1 are bounded by ") for what in whats(outcome))


@pytest.mark.parametrize(("limit", "other"), [("bound_note", "bound_warn"), ("bound_warn", "bound_note")])
def test_a_bound_of_exactly_the_limit_passes(limit: str, other: str):
    of = model(block("a", 22.0))
    bound = run(attention, of).overall["bound"]
    assert speaks_above(attention, of, limit, bound, **{other: inf}) == [True, False, False]


@pytest.mark.parametrize(("rank", "severity"), [(1, "note"), (2, None)])
def test_a_head_of_one_feature_is_noted(rank: int, severity: str | None):
    outcome = run(attention, model(block("a", 1.0), block("b", 1.0, rank=rank), block("c", 1.0, rank=rank)))
    assert said(outcome) == ([] if severity is None else [(severity, "b", 2)])


def test_a_rank_of_exactly_the_limit_passes():
    of = model(block("a", 1.0, rank=2))
    rank = run(attention, of).overall["rank"]
    assert speaks_above(attention, of, "rank_note", rank) == [False, False, True]
    assert whats(run(attention, of, rank_note=2.5)) == ["a head's W_q^T W_k has effective rank 2.00 (< 2.5)"]


class TestGrowth:
    """Against an earlier checkpoint."""

    def test_blocks_are_compared_by_name(self):
        earlier = model(block("b", 11.0), block("a", 22.0))
        outcome = run(attention, model(block("a", 22.0), block("b", 55.0), block("new", 11e3), earlier=earlier))
        assert said(outcome)[-1] == ("warn", "b", 1)
        assert whats(outcome)[-1] == "the bound is 5 times that of the earlier checkpoint (> 4)"
        assert outcome.overall["growth"] == pytest.approx(5.0)

    @pytest.mark.parametrize(("times", "warned"), [(3.99, False), (4.01, True)])
    def test_four_times_is_too_much(self, times: float, warned: bool):
        of = model(block("a", 11.0 * times), earlier=model(block("a", 11.0)))
        assert bool(run(attention, of).findings) is warned

    def test_growth_of_exactly_the_limit_passes(self):
        of = model(block("a", 44.0), earlier=model(block("a", 11.0)))
        growth = run(attention, of).overall["growth"]
        assert speaks_above(attention, of, "growth_warn", growth) == [True, False, False]

    def test_an_earlier_bound_of_zero_is_told_in_words(self):
        of = model(block("a", 11.0), earlier=model(block("a", 0.0)))
        outcome = run(attention, of)
        assert outcome.overall["growth"] == inf
        assert whats(outcome) == ["the bound was zero at the earlier checkpoint and is not"]
        still = model(block("a", 0.0), earlier=model(block("a", 0.0)))
        assert run(attention, still).overall["growth"] == 1.0

    @pytest.mark.parametrize("earlier", [None, subject(np.ones((1, 1, 1)))])
    def test_without_an_earlier_plain_model_nothing_grows(self, earlier):
        assert "growth" not in run(attention, model(block("a", 1.0), earlier=earlier)).overall


@pytest.mark.parametrize("value", [nan, inf, -inf])
@pytest.mark.parametrize("part", ["query_gram", "key_gram", "query_offset", "key_offset"])
@pytest.mark.parametrize("position", range(3))
def test_one_broken_number_is_a_failure_and_no_crash(position: int, part: str, value: float):
    blocks = [block("a", 22.0), block("b", 22.0)]
    blocks.insert(position, broken("sick", value, part))
    outcome = run(attention, model(*blocks, earlier=model(block("a", 22.0), block("sick", 22.0))))
    assert said(outcome)[0] == ("fail", "sick", 1)
    assert whats(outcome)[0] == "the query or key projection, or a norm beside it, holds NaN or infinity"
    assert all(np.isnan(outcome.overall[name]) for name in ("bound", "spectral", "rank", "growth"))


def test_every_broken_block_is_counted():
    outcome = run(attention, model(block("a", 1.0), broken("b", nan), broken("c", inf)))
    assert said(outcome) == [("fail", "b", 2)]


def test_what_cannot_be_read_says_why():
    assert run(attention, subject()).not_checkable == "read for models with one residual stream only"
    assert run(attention, subject(plain=plain(unread="no heads"))).not_checkable == "no heads"

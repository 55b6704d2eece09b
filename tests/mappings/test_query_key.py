"""Bounds of attention logits from Gram matrices, against float64 NumPy on the projections themselves."""

from dataclasses import replace
from math import inf, isnan, nan, sqrt

import numpy as np
import pytest
import torch

from mhcdiag.weight_readers.query_key import QueryKey, logit_bound

HEADS, GROUPS, CHANNELS, INPUTS, SCALE = 6, 2, 3, 11, 0.3


def projections() -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(0).standard_normal
    sizes = np.array([1.0, 0.5, 2.0, 1.5, 3.0, 0.25])[:, None, None]
    return draw((HEADS, CHANNELS, INPUTS)) * sizes, draw((GROUPS, CHANNELS, INPUTS)) * np.array([1.0, 4.0])[
        :, None, None
    ]


def offsets() -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(1).standard_normal
    return draw((HEADS, CHANNELS)), draw((GROUPS, CHANNELS))


def block(*, rotated: bool, biased: bool = True, **changes) -> QueryKey:
    query, key = projections()
    of_query, of_key = (each * biased for each in offsets())
    held = QueryKey(
        block="b",
        query_gram=torch.tensor(query @ query.swapaxes(1, 2)),
        key_gram=torch.tensor(key @ key.swapaxes(1, 2)),
        query_offset=torch.tensor(of_query),
        key_offset=torch.tensor(of_key),
        inputs=INPUTS,
        scale=SCALE,
        rotated=rotated,
    )
    return replace(held, **changes)


def pairs():
    """Query head, its key head, and their offsets; three query heads share a key head, in order."""
    (query, key), (of_query, of_key) = projections(), offsets()
    return [(query[h], key[h // 3], of_query[h], of_key[h // 3]) for h in range(HEADS)]


def norm(matrix: np.ndarray) -> float:
    return np.linalg.norm(matrix, 2)


def test_rotated_heads_are_bounded_by_both_norms():
    bounds = [
        (sqrt(INPUTS) * norm(q) + np.linalg.norm(b)) * (sqrt(INPUTS) * norm(k) + np.linalg.norm(c)) * SCALE
        for q, k, b, c in pairs()
    ]
    found = logit_bound(block(rotated=True))
    assert (found.largest, found.head) == (pytest.approx(max(bounds)), int(np.argmax(bounds)))


def test_heads_in_place_are_bounded_by_the_product():
    bounds = [
        SCALE
        * (INPUTS * norm(q.T @ k) + sqrt(INPUTS) * (np.linalg.norm(q.T @ c) + np.linalg.norm(k.T @ b)) + abs(b @ c))
        for q, k, b, c in pairs()
    ]
    found = logit_bound(block(rotated=False))
    assert (found.largest, found.head) == (pytest.approx(max(bounds)), int(np.argmax(bounds)))


@pytest.mark.parametrize("rotated", [False, True])
def test_spectral_and_rank_are_those_of_the_products(rotated: bool):
    singular = [np.linalg.svd(q.T @ k, compute_uv=False)[:CHANNELS] for q, k, _, _ in pairs()]
    shares = [each / each.sum() for each in singular]
    found = logit_bound(block(rotated=rotated))
    assert found.spectral == pytest.approx(max(each.max() for each in singular) * SCALE)
    assert found.rank == pytest.approx(min(np.exp(-(each * np.log(each)).sum()) for each in shares))
    assert found.block == "b"


@pytest.mark.parametrize("rotated", [False, True])
def test_no_input_exceeds_the_bound(rotated: bool):
    x, y = np.random.default_rng(2).standard_normal((2, 4001, INPUTS))
    x, y = (each / np.sqrt((each**2).mean(axis=1, keepdims=True)) for each in (x, y))
    logits = [abs(((x @ q.T + b) * (y @ k.T + c)).sum(axis=1)).max() * SCALE for q, k, b, c in pairs()]
    assert max(logits) <= logit_bound(block(rotated=rotated)).largest


def lengths(side: str) -> list[float]:
    """The largest |q| or |k| of each head, without a norm behind the projections."""
    at = {"query": (0, 2), "key": (1, 3)}[side]
    return [sqrt(INPUTS) * norm(pair[at[0]]) + np.linalg.norm(pair[at[1]]) for pair in pairs()]


@pytest.mark.parametrize("rotated", [False, True])
@pytest.mark.parametrize("query", [None, [2.0, 1.0, 1.0, 1.0, 1.0, 5.0]])
@pytest.mark.parametrize("key", [None, [3.0, 0.5]])
def test_behind_a_norm_only_what_it_lets_pass_counts(query, key, rotated: bool):
    """A norm makes short queries long: what the projection would bound says nothing then (Qwen3, Gemma 3, OLMo 2)."""
    limits = {
        f"{side}_limit": torch.tensor(values, dtype=torch.float64)
        for side, values in (("query", query), ("key", key))
        if values is not None
    }
    found = logit_bound(block(rotated=rotated, **limits))
    if not limits:
        assert found == logit_bound(block(rotated=rotated))
        return
    of_query = lengths("query") if query is None else query
    of_key = lengths("key") if key is None else [key[head // 3] for head in range(HEADS)]
    bounds = [q * k * SCALE for q, k in zip(of_query, of_key, strict=True)]
    assert (found.largest, found.head) == (pytest.approx(max(bounds)), int(np.argmax(bounds)))


@pytest.mark.parametrize(("cap", "largest"), [(0.125, 0.125), (1e9, None)])
def test_a_cap_limits_the_bound(cap: float, largest: float | None):
    without = logit_bound(block(rotated=True)).largest
    found = logit_bound(block(rotated=True, cap=cap)).largest
    assert found == pytest.approx(without if largest is None else largest)


def test_projections_of_zeros_bound_by_zero():
    zeros = torch.zeros(HEADS, CHANNELS, CHANNELS, dtype=torch.float64)
    found = logit_bound(block(rotated=False, biased=False, query_gram=zeros))
    assert (found.spectral, found.largest, found.rank) == (0.0, 0.0, 0.0)  # no head has a rank


@pytest.mark.parametrize("value", [nan, inf])
@pytest.mark.parametrize("part", ["query_gram", "key_gram", "query_offset", "key_offset"])
def test_broken_projections_are_bounded_by_nothing(part: str, value: float):
    whole = block(rotated=True, cap=1.0)
    getattr(whole, part).view(-1)[-1] = value
    found = logit_bound(whole)
    assert all(map(isnan, (found.spectral, found.largest, found.rank)))
    assert found.head == 0


@pytest.mark.parametrize("rotated", [False, True])
def test_heads_of_one_feature_have_the_rank_one(rotated: bool):
    """Their Gram matrices have eigenvalues that rounding puts below zero."""
    direction = np.random.default_rng(3).standard_normal((HEADS, CHANNELS, 1))
    gram = torch.tensor(direction @ direction.swapaxes(1, 2))
    found = logit_bound(block(rotated=rotated, query_gram=gram, key_gram=gram[:GROUPS]))
    assert found.rank == pytest.approx(1.0, abs=1e-6)
    assert found.largest > 0

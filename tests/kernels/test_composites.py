"""Laws of composite mappings and their gains."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import reference

from mhcdiag.kernels.composite.reference import gains, prefixes, prefixes_and_suffixes, products, span_sums
from mhcdiag.kernels.composite.scaled import Scaled, multiply, needs_scaling
from mhcdiag.results.gain import Definition, Direction
from mhcdiag.results.numbers import Huge, log10_of

SITES, STREAMS, TOKENS = 7, 3, 5


def random_maps(seed: int, *, sites: int = SITES, streams: int = STREAMS, tokens: int = TOKENS) -> torch.Tensor:
    """Signed, asymmetric mappings [site, stream, stream, token] in float64."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(sites, streams, streams, tokens, dtype=torch.float64, generator=generator)


def stochastic_maps(seed: int, *, axis: int, sites: int = SITES) -> torch.Tensor:
    """Non-negative mappings whose sums over `axis` are 1 (2 for rows, 1 for columns)."""
    maps = random_maps(seed, sites=sites).exp()
    return maps / maps.sum(dim=axis, keepdim=True)


def full(composites: Scaled, direction: str, definition: str) -> list[float]:
    return gains(composites)[Direction(direction), Definition(definition)].mantissa.tolist()


seeds = st.integers(0, 2**31)


@settings(deadline=None, max_examples=25)
@given(seeds)
def test_products_and_gains_are_those_of_numpy(seed: int):
    maps = random_maps(seed)
    expected = reference(maps.permute(0, 3, 1, 2).numpy())
    for kind, composites in products(maps).items():
        for (direction, definition), gain in gains(composites).items():
            np.testing.assert_allclose(
                gain.mantissa.mean(dim=-1), expected.gain[kind, direction, definition, "mean"], rtol=1e-12
            )


@settings(deadline=None, max_examples=25)
@given(seeds)
def test_spans_are_those_of_numpy(seed: int):
    maps = random_maps(seed)
    expected = reference(maps.permute(0, 3, 1, 2).numpy())
    for key, sums in span_sums(maps).items():
        np.testing.assert_allclose(sums.mantissa / TOKENS, expected.spans[key], rtol=1e-12)


@given(seeds)
@settings(deadline=None, max_examples=25)
def test_spans_of_nonnegative_mappings_take_the_short_way_to_the_same_numbers(seed: int):
    maps = random_maps(seed).abs()
    expected = reference(maps.permute(0, 3, 1, 2).numpy())
    for key, sums in span_sums(maps).items():
        np.testing.assert_allclose(sums.mantissa / TOKENS, expected.spans[key], rtol=1e-12)


@given(seeds)
@settings(deadline=None, max_examples=25)
def test_row_stochastic_mappings_have_forward_gain_one_and_backward_gain_at_most_n(seed: int):
    composites = prefixes(stochastic_maps(seed, axis=2))
    np.testing.assert_allclose(full(composites, "forward", "norm"), 1.0, rtol=1e-12)
    assert max(map(max, full(composites, "backward", "norm"))) <= STREAMS * (1 + 1e-12)


@given(seeds)
@settings(deadline=None, max_examples=25)
def test_doubly_stochastic_mappings_have_gain_one_everywhere(seed: int):
    generator = torch.Generator().manual_seed(seed)
    permutations = torch.stack([torch.eye(STREAMS)[torch.randperm(STREAMS, generator=generator)] for _ in range(4)])
    weights = torch.rand(SITES, TOKENS, 4, generator=generator).double()
    weights = weights / weights.sum(dim=-1, keepdim=True)
    maps = torch.einsum("stp,pij->sijt", weights, permutations.double())
    for composites in products(maps).values():
        for gain in gains(composites).values():
            np.testing.assert_allclose(gain.mantissa, 1.0, rtol=1e-12)


@given(seeds, st.floats(-300, 300).filter(lambda log: abs(log) > 1e-3), st.booleans())
@settings(deadline=None, max_examples=40)
def test_scaling_every_mapping_scales_the_composite_by_the_power(seed: int, log2: float, negative: bool):
    """|c|^L, however large: the products must neither overflow nor underflow on the way."""
    maps = random_maps(seed, sites=11)
    factor = (-1.0 if negative else 1.0) * 2.0**log2
    for definition in ("amax", "norm"):
        key = (Direction.FORWARD, Definition(definition))
        plain = gains(prefixes(maps))[key].log2()[-1]
        scaled = gains(prefixes(maps * factor))[key].log2()[-1]
        np.testing.assert_allclose(scaled, plain + 11 * log2, rtol=1e-9, atol=1e-9)


@given(seeds)
@settings(deadline=None, max_examples=25)
def test_renaming_the_streams_changes_nothing(seed: int):
    maps = random_maps(seed)
    order = torch.randperm(STREAMS, generator=torch.Generator().manual_seed(seed))
    renamed = maps[:, order][:, :, order]
    for key, gain in gains(prefixes(maps)).items():
        np.testing.assert_allclose(gain.mantissa, gains(prefixes(renamed))[key].mantissa, rtol=1e-9)


@given(seeds)
@settings(deadline=None, max_examples=25)
def test_transposing_and_reversing_swaps_forward_and_backward(seed: int):
    maps = random_maps(seed)
    mirrored = maps.flip(0).transpose(1, 2)
    for definition in ("amax", "norm"):
        np.testing.assert_allclose(
            full(prefixes(maps), "forward", definition)[-1],
            full(prefixes(mirrored), "backward", definition)[-1],
            rtol=1e-9,
        )


@given(seeds)
@settings(deadline=None, max_examples=25)
def test_both_ways_around_meet_in_the_full_composite(seed: int):
    maps = random_maps(seed)
    np.testing.assert_allclose(
        prefixes(maps).mantissa[-1], prefixes_and_suffixes(maps)[1].mantissa[0], rtol=1e-9, atol=1e-12
    )


def test_signed_sums_are_not_sums_of_absolute_values():
    maps = torch.tensor([[1.0, -1.0], [0.5, 2.0]], dtype=torch.float64)[None, :, :, None]
    found = {key: float(gain.mantissa) for key, gain in gains(Scaled(maps, None)).items()}
    assert found == {
        ("forward", "amax"): 2.5,
        ("forward", "norm"): 2.5,
        ("backward", "amax"): 1.5,
        ("backward", "norm"): 3.0,
    }


def test_122_sites_at_gain_1e40_give_1e4880():
    maps = torch.eye(2, dtype=torch.float64)[None, :, :, None].repeat(122, 1, 1, 3) * 1e40
    for composites, entry in zip(prefixes_and_suffixes(maps), (-1, 0), strict=True):
        for gain in gains(composites).values():
            number = (gain.sum_tokens() / 3).numbers()[entry]
            assert isinstance(number, Huge)
            assert number.log10 == pytest.approx(4880, rel=1e-12)
    worst = span_sums(maps)["forward", "norm"][0].numbers()[-1]
    assert log10_of(worst) == pytest.approx(4880 + math.log10(3), rel=1e-12)


def test_tokens_of_very_different_size_keep_their_own_exponents():
    maps = torch.eye(2, dtype=torch.float64)[None, :, :, None].repeat(50, 1, 1, 2)
    maps[..., 0] *= 1e-30
    maps[..., 1] *= 1e30
    gain = gains(prefixes(maps))["forward", "norm"]
    np.testing.assert_allclose(gain.log2()[-1] * math.log10(2), [-1500, 1500], rtol=1e-12)


def test_a_zero_after_huge_products_does_not_wipe_out_the_other_tokens():
    """Its product is 0, whatever its exponent was: sums are formed at the largest exponent that occurs."""
    maps = torch.eye(2, dtype=torch.float64)[None, :, :, None].repeat(41, 1, 1, 2)
    maps[:20, :, :, 0] *= 1e30
    maps[20, :, :, 0] = 0
    last = gains(prefixes(maps))["forward", "norm"].sum_tokens()[-1:].numbers()
    assert last == (1.0,)


def test_ordinary_mappings_need_no_exponents():
    assert not needs_scaling(stochastic_maps(0, axis=2, sites=240))
    assert needs_scaling(random_maps(0, sites=240) * 1e3)


def test_nan_stays_where_it_is():
    maps = random_maps(1)
    maps[3, 1, 2, 4] = torch.nan
    gain = gains(prefixes(maps))["forward", "norm"].mantissa
    assert gain.isfinite().all(dim=0).tolist() == [True] * 4 + [False]
    assert gain[:, 4].isfinite().tolist() == [True, True, True, False, False, False, False]


def test_multiply_is_the_matrix_product_of_every_token():
    left, right = random_maps(2)[0], random_maps(3)[0]
    for token in range(TOKENS):
        expected = left[..., token] @ right[..., token]
        np.testing.assert_allclose(multiply(left, right)[..., token], expected, rtol=1e-12)

"""Composites of factors on one stream against products of diagonal matrices."""

from math import inf, isnan

import pytest
import torch

from mhcdiag.mappings.diagonal import channel_range, diagonal_gains, worst_channel


def factors(sites: int = 6, channels: int = 5) -> torch.Tensor:
    """Of both signs, none of them 1."""
    generator = torch.Generator().manual_seed(4)
    drawn = 0.3 + 1.6 * torch.rand(sites, channels, generator=generator, dtype=torch.float64)
    return drawn * torch.where(torch.rand(sites, channels, generator=generator) < 0.3, -1.0, 1.0)


def test_gains_are_norms_of_products_of_diagonal_matrices():
    held = factors()
    gains = diagonal_gains(held)
    for first in range(6):
        product = torch.eye(5, dtype=torch.float64)
        assert all(isnan(value) for value in gains.spans[first][:first])
        for last in range(first, 6):
            product = torch.diag(held[last]) @ product
            for axis in (0, 1):
                expected = float(product.abs().sum(dim=axis).max())
                assert gains.spans[first][last] == pytest.approx(expected, rel=1e-12)
    assert gains.prefix == gains.spans[0]
    assert gains.suffix == tuple(row[-1] for row in gains.spans)
    assert gains.single == tuple(gains.spans[site][site] for site in range(6))


def test_the_range_is_that_of_channels():
    whole = factors().prod(dim=0).abs()
    assert channel_range(factors()) == pytest.approx((float(whole.min()), float(whole.max())), rel=1e-12)


def test_the_worst_channel_has_the_worst_stretch():
    held = torch.tensor([[1.0, 5.0, 0.1], [4.0, 0.1, 3.0], [1.2, 1.0, 2.0]])
    assert worst_channel(held).flatten().tolist() == pytest.approx([0.1, 3.0, 2.0])  # 6, against 4.8 and 5


@pytest.mark.parametrize(("value", "expected"), [(0.0, 0.0), (inf, inf)])
def test_zero_and_infinity_stay_what_they_are(value: float, expected: float):
    gains = diagonal_gains(torch.tensor([[2.0], [value], [3.0]]))
    assert gains.prefix == pytest.approx((2.0, expected, expected))
    assert gains.spans[2][2] == pytest.approx(3.0)

"""Rolling moments against NumPy, window by window."""

import numpy as np
import pytest

from mhcdiag.detectors.published import RollingMoments

WINDOW = 7


def _series() -> np.ndarray:
    noise = np.random.default_rng(11).standard_normal(53)
    return np.concatenate([noise, np.full(19, 0.1), [1e9], np.full(23, 0.1), 1e-3 * noise])


@pytest.mark.parametrize("piece", [1, 5, 1000])
def test_moments_are_those_of_each_window(piece: int) -> None:
    values, rolling = _series(), RollingMoments(WINDOW)
    parts = [rolling.feed(values[start : start + piece]) for start in range(0, len(values), piece)]
    means, variances = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    windows = np.lib.stride_tricks.sliding_window_view(values, WINDOW)[:-1]
    assert np.isnan(means[:WINDOW]).all()
    np.testing.assert_allclose(means[WINDOW:], windows.mean(axis=1), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(variances[WINDOW:], windows.var(axis=1), rtol=1e-6, atol=1e-15)


def test_a_constant_window_has_no_variance_at_all() -> None:
    _, variances = RollingMoments(WINDOW).feed(np.full(31, 0.1))
    assert (variances[WINDOW:] == 0).all()

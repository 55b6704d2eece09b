"""Random inputs against the packages' modules on Gaussian streams: two samples of one distribution."""

import copy
from functools import cache
from math import asin, ceil, pi, sin, sqrt

import numpy as np
import pytest
import torch
from reference import token_gains

import mhcdiag

TOKENS = 2048
MODULE_TOKENS = 1024
SITES = 4
SIGMAS = 5.0
"""Of one comparison. About 1500 are made, with fixed seeds; were they independent, the chance that any of
them exceeded 5 standard deviations would be 0.1 %."""
ROUNDING = 1e-5
"""Relative; exact sides are 1 up to rounding and have no spread of their own."""

CASES = [
    "deepseek_v4",
    "deepseek_v4_three_streams",
    "deepseek_v4_two_streams",
    "glm5_next",
    "hc",
    "hc_without_tanh",
    "hc_views",
    "mhc",
    "mhc_three_iterations",
    "mhc_v2_proposals",
    "mhc_v2_mixed_norm",
]


def differences(result: mhcdiag.GainResult, maps: np.ndarray) -> list[str]:
    """Means and quantiles that two samples of one distribution would not show."""
    assert len(result.sites) == len(maps)
    found = []
    deviation = SIGMAS * sqrt(1 / result.tokens + 1 / maps.shape[1])
    for key, gains in token_gains(maps).items():
        ordered = np.sort(gains, axis=1)
        for site in range(len(gains)):
            mean = float(result.gain[(*key, "mean")][site])
            if abs(mean - gains[site].mean()) > deviation * gains[site].std() + ROUNDING * mean:
                found.append(f"{key} mean at site {site}: {mean} instead of {gains[site].mean()}")
            for name, q in (("p50", 0.50), ("p99", 0.99)):
                value = float(result.gain[(*key, name)][site])
                low, high = quantile_range(ordered[site], q, deviation)
                if not low * (1 - ROUNDING) <= value <= high * (1 + ROUNDING):
                    found.append(f"{key} {name} at site {site}: {value} is not within {low}..{high}")
    return found


def quantile_range(ordered: np.ndarray, q: float, deviation: float) -> tuple[float, float]:
    """Where the quantile of another sample can lie.

    The share of a sample below a value has a deviation that depends on the share; that of its angle asin(sqrt(share))
    does not, and is half of 1 / sqrt(size).
    """
    angles = [min(max(asin(sqrt(q)) + sign * deviation / 2, 0.0), pi / 2) for sign in (-1, 1)]
    ranks = [min(max(ceil(sin(angle) ** 2 * len(ordered)), 1), len(ordered)) for angle in angles]
    return float(ordered[ranks[0] - 1]), float(ordered[ranks[1] - 1])


def gaussian(case, model: torch.nn.Module) -> np.ndarray:
    """Mappings of the package's modules on Gaussian streams."""
    return case.gaussian(model, sites=SITES, tokens=MODULE_TOKENS, seed=11)


@pytest.fixture(scope="session")
def module_maps(build_case):
    """The same by name of a case, computed once."""
    return cache(lambda name: gaussian(build_case(name), build_case(name).model))


def measure(case) -> mhcdiag.GainResult:
    settings = case.iterations | case.activation
    result = mhcdiag.gain(case.path, inputs="random", tokens=TOKENS, seed=3, sites=(1, SITES), **settings)
    assert result.inputs == "random"
    assert result.tokens == TOKENS
    return result


@pytest.mark.parametrize("name", CASES)
def test_random_inputs_have_the_distribution_of_gaussian_streams(build_case, module_maps, name: str):
    assert differences(measure(build_case(name)), module_maps(name)) == []


def changed(model: torch.nn.Module, change: str) -> torch.nn.Module:
    """The model with one part of its input-dependent mapping lost."""
    model = copy.deepcopy(model)
    parts = {
        "gamma": lambda name, parameter: parameter.zero_() if name.endswith("norm.gamma") else None,
        "scale": lambda name, parameter: parameter.mul_(1.3) if name.endswith("scale") else None,
        "slice": lambda name, parameter: parameter.copy_(parameter.roll(1, -1)) if name.endswith("alpha_fn") else None,
        "rows": lambda name, parameter: parameter.copy_(parameter.roll(1, 0)) if name.endswith(".fn") else None,
    }
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parts[change](name, parameter)
    return model


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("deepseek_v4_three_streams", "scale"),
        ("deepseek_v4_three_streams", "rows"),
        ("hc", "gamma"),
        ("hc", "scale"),
        ("hc", "slice"),
        ("mhc_three_iterations", "gamma"),
        ("mhc_three_iterations", "slice"),
    ],
)
def test_the_comparison_notices_a_lost_part(build_case, name: str, change: str):
    case = build_case(name)
    maps = gaussian(case, changed(case.model, change))
    assert differences(measure(case), maps)


@pytest.mark.parametrize("name", ["hc", "mhc", "deepseek_v4"])
def test_the_comparison_notices_a_transposed_reading(build_case, module_maps, name: str):
    assert differences(measure(build_case(name)), module_maps(name).swapaxes(-1, -2))


def test_the_comparison_notices_a_missing_tanh(build_case, module_maps):
    path = build_case("hc_without_tanh").path
    squashed = mhcdiag.gain(path, inputs="random", tokens=TOKENS, sites=(1, SITES), tanh=True)
    assert differences(squashed, module_maps("hc_without_tanh"))

"""Gains of residual mappings in float64 NumPy, straight from their definitions.

For token t and sites a <= b, the composite mapping is P(a,b) = H_b ... H_a, where x_new = H x: a row of H is
a target stream, a column a source stream. Plain loops and none of the package's code, so that a mistake there
cannot hide here.
"""

from dataclasses import dataclass
from math import nan

import numpy as np

DIRECTIONS = ("forward", "backward")
DEFINITIONS = ("amax", "norm")
REDUCTIONS = ("mean", "p50", "p99", "max", "of_mean")


@dataclass(frozen=True, kw_only=True)
class Reference:
    """The numbers of one set of mappings, keyed as in `mhcdiag.GainResult`."""

    gain: dict[tuple[str, str, str, str], list[float]]
    """One number per site for each (kind, direction, definition, reduction)."""
    worst: dict[tuple[str, str], float]
    """Largest token mean over all P(a,b), for each (direction, definition)."""
    spans: dict[tuple[str, str], np.ndarray]
    """Token mean over P(a,b) at [a, b], NaN below the diagonal, for each (direction, definition)."""


def gain_of(matrix: np.ndarray, direction: str, definition: str) -> float:
    """Gain of one n x n matrix."""
    lines = matrix if direction == "forward" else matrix.T
    if definition == "amax":
        return max(abs(line.sum()) for line in lines)
    return max(abs(line).sum() for line in lines)


def reduce_tokens(products: list[np.ndarray], direction: str, definition: str, reduction: str) -> float:
    """One number from the composites of all tokens."""
    if reduction == "of_mean":
        return gain_of(sum(products) / len(products), direction, definition)
    gains = sorted(gain_of(product, direction, definition) for product in products)
    if reduction == "mean":
        return sum(gains) / len(gains)
    percent = {"p50": 50, "p99": 99, "max": 100}[reduction]
    rank = -(-percent * len(gains) // 100)  # ceil(q T), in whole numbers
    return gains[rank - 1]


def composite(maps: np.ndarray, token: int, first: int, last: int) -> np.ndarray:
    """P(first, last) of one token; the later site stands on the left."""
    product = np.eye(maps.shape[-1])
    for site in range(first, last + 1):
        product = maps[site, token] @ product
    return product


def reference(maps: np.ndarray) -> Reference:
    """All numbers of `maps` [site, token, n, n]."""
    maps = np.asarray(maps, dtype=np.float64)
    sites, tokens = maps.shape[:2]
    products = {
        (a, b): [composite(maps, token, a, b) for token in range(tokens)] for a in range(sites) for b in range(a, sites)
    }
    ends = {
        "single": [(site, site) for site in range(sites)],
        "prefix": [(0, site) for site in range(sites)],
        "suffix": [(site, sites - 1) for site in range(sites)],
    }
    gain = {
        (kind, direction, definition, reduction): [
            reduce_tokens(products[span], direction, definition, reduction) for span in ends[kind]
        ]
        for kind in ends
        for direction in DIRECTIONS
        for definition in DEFINITIONS
        for reduction in REDUCTIONS
    }
    spans = {}
    for direction in DIRECTIONS:
        for definition in DEFINITIONS:
            table = np.full((sites, sites), nan)
            for (a, b), of_tokens in products.items():
                table[a, b] = reduce_tokens(of_tokens, direction, definition, "mean")
            spans[direction, definition] = table
    worst = {key: float(np.nanmax(table)) for key, table in spans.items()}
    return Reference(gain=gain, worst=worst, spans=spans)


def token_gains(maps: np.ndarray) -> dict[tuple[str, str, str], np.ndarray]:
    """Gain [site, token] per (kind, direction, definition), for more tokens than plain loops can bear."""
    maps = np.asarray(maps, dtype=np.float64)
    prefix, suffix = [maps[0]], [maps[-1]]
    for of_site in maps[1:]:
        prefix.append(of_site @ prefix[-1])
    for of_site in maps[-2::-1]:
        suffix.append(suffix[-1] @ of_site)
    products = {"single": maps, "prefix": np.stack(prefix), "suffix": np.stack(suffix[::-1])}
    axes = {"forward": -1, "backward": -2}
    gains = {}
    for kind, product in products.items():
        for direction, axis in axes.items():
            gains[kind, direction, "amax"] = abs(product.sum(axis)).max(-1)
            gains[kind, direction, "norm"] = abs(product).sum(axis).max(-1)
    return gains


def disagreements(result, expected: Reference, *, relative: float = 1e-5) -> list[str]:
    """Every number of a `GainResult` that is further from its reference than `relative` of the `norm`.

    `amax` is a sum with cancellation, so that its error is measured against the `norm` of the same composite.
    """
    found = []
    for key, wanted in expected.gain.items():
        scale = expected.gain[key[0], key[1], "norm", key[3]]
        got = result.gain[key]
        if len(got) != len(wanted):
            found.append(f"{key}: {len(got)} sites instead of {len(wanted)}")
            continue
        for site, (value, right, norm) in enumerate(zip(got, wanted, scale, strict=True)):
            if not abs(float(value) - right) <= relative * norm:
                found.append(f"{key} at site {site}: {float(value)!r} instead of {right!r}")
    for key, right in expected.worst.items():
        span = result.worst[key]
        norm = expected.worst[key[0], "norm"]
        if not abs(float(span.value) - right) <= relative * norm:
            found.append(f"worst {key}: {float(span.value)!r} instead of {right!r}")
        a, b = result.sites.index(span.from_site), result.sites.index(span.to_site)
        if not abs(expected.spans[key][a, b] - right) <= relative * norm:
            found.append(f"worst {key}: at {a}..{b}, whose gain is {expected.spans[key][a, b]!r} and not {right!r}")
    return found

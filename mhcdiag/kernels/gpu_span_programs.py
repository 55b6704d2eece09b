"""The gains of all stretches of sites as a Triton program: one program takes a block of tokens up from one first site.

The product of a stretch stays in registers and grows by one site a step; mappings come from the second-level cache for
all but the first program that reads them.
"""

import triton
import triton.language as tl

from mhcdiag.kernels.gpu_programs import _gains, _load, _multiply


@triton.jit
def _store_span(product, place, valid, low, high, side: tl.constexpr):
    """Write the sums of the four gains; returns the smallest and largest forward norm gain so far."""
    gains = _gains(product, side)
    for key in tl.static_range(0, 4):
        tl.store(place + key, tl.sum(tl.where(valid, gains[key], 0.0), axis=0))
    return tl.minimum(low, gains[1]), tl.maximum(high, gains[1])


@triton.jit
def _broken(mapping, check, side: tl.constexpr):
    """`check`, or NaN where the mapping holds NaN or infinity."""
    for k in tl.static_range(0, side * side):
        check += mapping[k] * 0
    return check


@triton.jit
def span_program(
    maps, site_stride, token_stride, entry_stride, sites, tokens, sums, extremes,
    n: tl.constexpr, side: tl.constexpr, TOKENS: tl.constexpr, dtype: tl.constexpr,
):  # fmt: skip
    """Gains of P(a,b) for one a, all b >= a and `TOKENS` tokens.

    Parameters
    ----------
    maps, site_stride, token_stride, entry_stride, sites, tokens, n, side
        As in `composite_program`.
    sums
        Written where a <= b: [program, a, b, key], over tokens.
    extremes
        Written: [program, a, 3], smallest and largest forward norm gain, and 0 where all mappings are finite, else NaN.
    """
    rows = tl.program_id(0).to(tl.int64) * TOKENS + tl.arange(0, TOKENS)
    valid = rows < tokens
    a = tl.program_id(1).to(tl.int64)
    line = tl.program_id(0).to(tl.int64) * sites + a
    here = maps + a * site_stride
    product = _load(here, token_stride, entry_stride, rows, valid, n, side, dtype)
    check = _broken(product, tl.zeros((TOKENS,), dtype), side)
    low = tl.full((TOKENS,), float("inf"), dtype)
    high = tl.zeros((TOKENS,), dtype)
    low, high = _store_span(product, sums + (line * sites + a) * 4, valid, low, high, side)
    for b in range(a + 1, sites):
        here += site_stride
        mapping = _load(here, token_stride, entry_stride, rows, valid, n, side, dtype)
        check = _broken(mapping, check, side)
        product = _multiply(mapping, product, side)
        low, high = _store_span(product, sums + (line * sites + b) * 4, valid, low, high, side)
    tl.store(extremes + line * 3, tl.min(tl.where(valid, low, float("inf")), axis=0))
    tl.store(extremes + line * 3 + 1, tl.max(tl.where(valid, high, 0.0), axis=0))
    tl.store(extremes + line * 3 + 2, tl.sum(tl.where(valid, check, 0.0), axis=0))

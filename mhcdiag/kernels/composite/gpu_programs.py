"""Composite gains as a Triton program: every token's products in registers, sums and maxima on chip.

One program takes `TOKENS` tokens through all sites. It reads a site's mappings as whole tiles [token, entry] and takes
them apart into one vector of tokens for each entry; the product of two matrices is then a sum of products of vectors,
and nothing but mappings and reduced numbers touches memory. Suffixes go down through the sites in a second pass, which
finds the mappings in the second-level cache. Numbers of streams that are no power of two are padded with zeros: a row
of zeros has gain 0 and changes no maximum.

Registers have no addresses: what is kept in them is a tuple of vectors, whose entries only unrolled loops
(`static_range`) can name. Triton knows no lists, and no assignment to an entry, so that tuples grow by `+`.
"""

import triton
import triton.language as tl


@triton.jit
def _load(
    base,
    token_stride,
    entry_stride,
    rows,
    valid,
    n: tl.constexpr,
    side: tl.constexpr,
    dtype: tl.constexpr,
):
    """The mappings of one site as `side * side` vectors of tokens."""
    entries: tl.constexpr = side * side
    entry = tl.arange(0, entries)
    i, j = entry // side, entry % side
    inside = valid[:, None] & ((i < n) & (j < n))[None, :]
    places = rows[:, None] * token_stride + ((i * n + j) * entry_stride)[None, :]
    tile = tl.load(base + places, mask=inside, other=0.0).to(dtype)
    # Loading entry by entry would read each line of memory n * n times: a tile is read once, and `split`, which halves
    # the last axis, takes it apart level by level.
    parts = (tile,)
    for level in tl.static_range(0, 6):
        if (entries >> level) > 1:
            firsts = ()
            seconds = ()
            for p in tl.static_range(0, 1 << level):
                pairs = tl.reshape(parts[p], (tile.shape[0], entries >> (level + 1), 2))
                even, odd = tl.split(pairs)
                firsts = firsts + (even,)
                seconds = seconds + (odd,)
            parts = firsts + seconds  # part p now holds the entries that are p modulo their number
    vectors = ()
    for k in tl.static_range(0, entries):
        vectors = vectors + (tl.reshape(parts[k], (tile.shape[0],)),)
    return vectors


@triton.jit
def _broken(mapping, check, side: tl.constexpr):
    """`check`, or NaN where the mapping holds NaN or infinity."""
    for k in tl.static_range(0, side * side):
        check += mapping[k] * 0  # of NaN and infinity NaN; one sum in place of a comparison for each entry
    return check


@triton.jit
def _multiply(left, right, side: tl.constexpr):
    product = ()
    for i in tl.static_range(0, side):
        for j in tl.static_range(0, side):
            total = left[i * side] * right[j]
            for k in tl.static_range(1, side):
                total = total + left[i * side + k] * right[k * side + j]
            product = product + (total,)
    return product


@triton.jit
def _gains(matrices, side: tl.constexpr):
    """Forward amax, forward norm, backward amax, backward norm."""
    row_amax = tl.zeros_like(matrices[0])
    row_norm = row_amax
    column_amax = row_amax
    column_norm = row_amax
    for i in tl.static_range(0, side):
        row = matrices[i * side]
        column = matrices[i]
        row_size = tl.abs(row)
        column_size = tl.abs(column)
        for j in tl.static_range(1, side):
            row = row + matrices[i * side + j]
            row_size = row_size + tl.abs(matrices[i * side + j])
            column = column + matrices[j * side + i]
            column_size = column_size + tl.abs(matrices[j * side + i])
        row_amax = tl.maximum(row_amax, tl.abs(row))
        row_norm = tl.maximum(row_norm, row_size)
        column_amax = tl.maximum(column_amax, tl.abs(column))
        column_norm = tl.maximum(column_norm, column_size)
    return row_amax, row_norm, column_amax, column_norm


@triton.jit
def _store(
    matrices,
    kind: tl.constexpr,
    site,
    sites,
    tokens,
    rows,
    valid,
    reduced,
    entry_sums,
    per_token,
    n: tl.constexpr,
    side: tl.constexpr,
    with_matrices: tl.constexpr,
    with_tokens: tl.constexpr,
):
    """Reduce one product over the program's tokens, and write what is wanted."""
    gains = _gains(matrices, side)
    here = (tl.program_id(0) * 3 + kind) * sites + site
    for key in tl.static_range(0, 4):
        place = reduced + here * 12 + key
        gain = gains[key]
        tl.store(place, tl.sum(tl.where(valid, gain, 0.0), axis=0))
        tl.store(place + 4, tl.max(tl.where(valid, gain, 0.0), axis=0))
        if key == 1:
            tl.store(place + 8, tl.min(tl.where(valid, gain, float("inf")), axis=0))
        if with_tokens:
            tl.store(per_token + ((kind * 4 + key) * sites + site) * tokens + rows, gain, mask=valid)
    if with_matrices:
        for i in tl.static_range(0, n):
            for j in tl.static_range(0, n):
                total = tl.sum(tl.where(valid, matrices[i * side + j], 0.0), axis=0)
                tl.store(entry_sums + here * n * n + i * n + j, total)


@triton.jit
def composite_program(
    maps, site_stride, token_stride, entry_stride, sites, tokens,
    reduced, entry_sums, per_token, finite,
    n: tl.constexpr, side: tl.constexpr, TOKENS: tl.constexpr, dtype: tl.constexpr,
    with_matrices: tl.constexpr, with_tokens: tl.constexpr,
):  # fmt: skip
    """Gains of single, prefix and suffix products of `TOKENS` tokens.

    Parameters
    ----------
    maps
        H_res of the first token and site; element (l, t, k) lies the strides away.
    reduced
        Written: [program, kind, site, 3, key] in the type of the products: sum, largest and, for the forward norm only,
        smallest over tokens; keys in the order of `interface.KEYS`.
    entry_sums, per_token
        Written if wanted: [program, kind, site, entry] and [kind, key, site, token].
    finite
        Written: [program], 0 where all mappings are finite, else NaN.
    n, side
        Number of streams, and the next power of two.
    """
    # In 64 bits: ten million tokens of 60 sites have more entries than 32 bits count.
    rows = tl.program_id(0).to(tl.int64) * TOKENS + tl.arange(0, TOKENS)
    valid = rows < tokens
    prefix = _load(maps, token_stride, entry_stride, rows, valid, n, side, dtype)
    check = _broken(prefix, tl.zeros((TOKENS,), dtype), side)
    _store(
        prefix, 0, 0, sites, tokens, rows, valid, reduced, entry_sums, per_token, n, side, with_matrices, with_tokens
    )
    _store(
        prefix, 1, 0, sites, tokens, rows, valid, reduced, entry_sums, per_token, n, side, with_matrices, with_tokens
    )
    here = maps
    for site in range(1, sites):
        here += site_stride
        mapping = _load(here, token_stride, entry_stride, rows, valid, n, side, dtype)
        check = _broken(mapping, check, side)
        _store(
            mapping, 0, site, sites, tokens, rows, valid, reduced, entry_sums, per_token, n, side, with_matrices,
            with_tokens,
        )  # fmt: skip
        prefix = _multiply(mapping, prefix, side)
        _store(
            prefix, 1, site, sites, tokens, rows, valid, reduced, entry_sums, per_token, n, side, with_matrices,
            with_tokens,
        )  # fmt: skip
    tl.store(finite + tl.program_id(0), tl.sum(tl.where(valid, check, 0.0), axis=0))

    suffix = _load(here, token_stride, entry_stride, rows, valid, n, side, dtype)
    _store(
        suffix, 2, sites - 1, sites, tokens, rows, valid, reduced, entry_sums, per_token, n, side, with_matrices,
        with_tokens,
    )  # fmt: skip
    for back in range(1, sites):
        site = sites - 1 - back
        here -= site_stride
        mapping = _load(here, token_stride, entry_stride, rows, valid, n, side, dtype)
        suffix = _multiply(suffix, mapping, side)
        _store(
            suffix, 2, site, sites, tokens, rows, valid, reduced, entry_sums, per_token, n, side, with_matrices,
            with_tokens,
        )  # fmt: skip


@triton.jit
def _store_span(product, place, valid, low, high, side: tl.constexpr):
    """Write the sums of the four gains; returns the smallest and largest forward norm gain so far."""
    gains = _gains(product, side)
    for key in tl.static_range(0, 4):
        tl.store(place + key, tl.sum(tl.where(valid, gains[key], 0.0), axis=0))
    return tl.minimum(low, gains[1]), tl.maximum(high, gains[1])


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

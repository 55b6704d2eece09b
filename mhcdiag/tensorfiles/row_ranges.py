"""Ranges of a tensor's first axis."""


def row_range(shape: tuple[int, ...], rows: slice) -> range:
    """The rows that a slice without a step selects, clipped to the tensor as Python clips.

    Raises
    ------
    ValueError
        The tensor is a scalar, or the slice has a step: a mistake of the caller, not of the file.
    """
    if not shape:
        raise ValueError("a scalar has no rows")
    chosen = range(*rows.indices(shape[0]))
    if chosen.step != 1:
        raise ValueError(f"rows must be contiguous, not every {chosen.step}th")
    return range(chosen.start, max(chosen.start, chosen.stop))

"""What one report of a running monitor says."""

from dataclasses import dataclass

from mhcdiag.results.numbers import Number, is_finite
from mhcdiag.results.presented import Brief


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class LiveGains(Brief):
    """Gains of one training step, in the definition `norm`, over all tokens seen by all ranks."""

    step: int
    """Training step, counted from 1."""
    sites: tuple[str, ...]
    """In the order in which they ran."""
    tokens: int
    """Number of tokens behind the numbers, all ranks together."""
    prefix_forward: tuple[Number, ...]
    """Token mean of the forward gain of P(1,l), per site l."""
    suffix_backward: tuple[Number, ...]
    """Token mean of the backward gain of P(l,L), per site l."""
    forward: Number
    """Largest token mean of the forward gain over single, prefix and suffix products."""
    backward: Number
    """The same of the backward gain."""
    forward_max: Number
    """Largest forward gain of any token."""
    backward_max: Number
    """Largest backward gain of any token."""

    @property
    def worst(self) -> Number:
        """The larger of `forward` and `backward`; NaN or infinity if either is."""
        pair = (self.forward, self.backward)
        return next((number for number in pair if not is_finite(number)), max(pair))

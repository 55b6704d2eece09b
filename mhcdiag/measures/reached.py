"""How much some input is found to amplify, beside what no input can exceed.

A bound that holds for any input may be loose by orders of magnitude. What some input reaches says how loose: the
largest gain of any input that was measured or searched for, whether a token could have it or not.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from mhcdiag.kernels.composite.reference import span_sums
from mhcdiag.mappings.parametric import StaticMaps
from mhcdiag.measures.gain import Gains
from mhcdiag.results.gain import Bound, Definition, Direction, Kind, Reduction
from mhcdiag.results.numbers import Number, is_finite


def with_reached(
    bounds: Mapping[Direction, Bound], worst_inputs: StaticMaps, measured: Gains
) -> dict[Direction, Bound]:
    """Bounds with what some input reaches over the worst span, in the definition `norm`.

    Parameters
    ----------
    bounds
        What no input can exceed.
    worst_inputs
        Mappings of inputs that were searched for.
    measured
        Gains of inputs that were measured; some of these may exceed what was searched for.

    Returns
    -------
    dict
        `reached` is at most `worst`: rounding alone could lift it above, where the bound itself is reached.
    """
    searched = [span_sums(worst_inputs.maps[..., token : token + 1]) for token in range(worst_inputs.tokens)]
    found = {}
    for direction, bound in bounds.items():
        key = (direction, Definition.NORM)
        numbers = [
            number for sums in searched for a in range(len(sums[key].mantissa)) for number in sums[key][a].numbers()
        ]
        numbers += _measured(measured, direction)
        reached = max((number for number in numbers if is_finite(number)), default=None)
        found[direction] = replace(bound, reached=_at_most(reached, bound.worst))
    return found


def _at_most(reached: Number | None, bound: Number | None) -> Number | None:
    return reached if reached is None or bound is None else min(reached, bound)


def _measured(measured: Gains, direction: Direction) -> Iterator[Number]:
    """The worst span on average, and the largest of each product over tokens."""
    yield measured.worst[direction, Definition.NORM].value
    for kind in Kind:
        yield from measured.curves[kind, direction, Definition.NORM, Reduction.MAX]

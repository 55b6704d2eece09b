"""Inputs that amplify as much as can be found: a lower bound on what some input reaches, beside the upper bound.

A bound entry by entry may be loose by orders of magnitude, and whether it is nobody can tell from it alone. Here every
stream of every site has an input of its own, which no token has: what is reached lies between what tokens do and the
bound. a^T H_L ... H_1 b is linear in each H_l, and each row of H_l as stored depends on the input of one stream alone;
so sites are improved one by one, back and forth, each time by projected ascent on the ellipsoid of projected
inputs, and no step is taken that makes it less.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy
import torch

from mhcdiag.mappings.interface import Orientation
from mhcdiag.mappings.parametric import Activation, ParametricStack, StaticMaps

if TYPE_CHECKING:
    from mhcdiag.mappings.aligned import AlignedMaps

SWEEPS = 6
"""Passes over all sites at most: the toy's trained models gain less than 1 % after the fourth."""
ENOUGH = 1e-3
"""Growth of ln(gain) in a pass below which the search ends."""
DRAWN_STARTS = 5
"""Drawn tokens from which the search begins too."""
KEPT = 3
"""Of the starts for forward gains, and of those for backward gains, the number that go on after the first pass."""
STEPS = (1.0, 1.0, 0.5, 0.5, 0.25, 0.25)
"""Lengths of the steps of a site's ascent, in radii."""

Array = numpy.ndarray[tuple[int, ...], numpy.dtype[numpy.float64]]


def ascended(parameters: ParametricStack, aligned: "AlignedMaps") -> StaticMaps | None:
    """Mappings of two inputs that are not those of any token: the first amplifies forward, the second backward.

    Parameters
    ----------
    parameters
        Unconstrained, with a norm per stream, and their projections read.
    aligned
        The mappings of aligned inputs, `DRAWN_STARTS` tokens of them, from which the search starts.

    Returns
    -------
    StaticMaps or None
        With two tokens; None where parameters are not finite.
    """
    # On trained models every start leads to the same gains; on random ones that saturate, one in thirty got stuck. The
    # static mappings are no start: an input that switches the dynamic part off need not exist.
    starts = numpy.concatenate([aligned.common()[..., None], aligned.chunk(0, DRAWN_STARTS).numpy()], axis=-1)
    sites = _sites_of(parameters)
    parts = [part for site in sites for part in (site.base, site.scale, site.triangle, site.offset)]
    if not all(numpy.isfinite(part).all() for part in parts):
        return None
    with numpy.errstate(over="ignore", invalid="ignore"):  # what overflows is no number that could be reached
        search = _Search(sites=sites, maps=numpy.moveaxis(starts, -1, 1).copy())
        search.run()
    return StaticMaps(stack=parameters.stack, maps=torch.from_numpy(search.best()), tokens=2)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Site:
    """One site: stored row = base row + scale act(triangle^T y + offset), |y| <= radius."""

    base: Array
    scale: float
    triangle: Array
    inverse: Array
    """Pseudo-inverse of the transposed triangle."""
    offset: Array
    radius: float
    tanh: bool
    rows_are_targets: bool

    def improved(self, left: Array, right: Array) -> Array:
        """Mappings [start, stream, stream] with left^T H right as large as was found, for vectors [start, stream]."""
        weights, values = (left, right) if self.rows_are_targets else (right, left)
        high = self._extremes(values)
        # tanh is odd, so that without an offset the input of the smallest sum is that of the largest, turned round.
        low = self._extremes(-values) if self.offset.any() else -high
        # Each row takes the input that makes its own share of the sum large.
        dynamic = numpy.where((weights * self.scale >= 0)[..., None], high[:, None], low[:, None])
        stored = self.base + self.scale * dynamic
        return numpy.asarray(stored if self.rows_are_targets else stored.swapaxes(1, 2))

    def _extremes(self, values: Array) -> Array:
        """act(z) [start, entry] with values . act(z) as large as was found."""
        if not self.tanh:
            return self._activated(self._on_sphere(values @ self.triangle.T))
        # Towards the projection where tanh is nearly linear, towards the signs of all entries where it saturates.
        first = numpy.stack([values @ self.triangle.T, numpy.sign(values) @ self.inverse.T])
        points = self._on_sphere(first)
        found = self._activated(points)
        sums = (found * values).sum(axis=-1)
        for length in STEPS:
            gradient = (values * (1 - found**2)) @ self.triangle.T
            moved = self._on_sphere(points + length * self._on_sphere(gradient))
            there = self._activated(moved)
            reached = (there * values).sum(axis=-1)
            better = reached > sums
            points, found = numpy.where(better[..., None], moved, points), numpy.where(better[..., None], there, found)
            sums = numpy.maximum(sums, reached)
        best = sums.argmax(axis=0)
        return numpy.asarray(found[best, numpy.arange(len(best))])

    def _on_sphere(self, points: Array) -> Array:
        lengths = numpy.sqrt((points**2).sum(axis=-1, keepdims=True))
        unit = numpy.divide(points, lengths, out=numpy.zeros_like(points), where=lengths > 0)
        return numpy.asarray(self.radius * unit)

    def _activated(self, points: Array) -> Array:
        logits = points @ self.triangle + self.offset
        return numpy.asarray(numpy.tanh(logits) if self.tanh else logits)


def _sites_of(parameters: ParametricStack) -> list[_Site]:
    assert parameters.factors is not None
    found = []
    for index, factor in enumerate(parameters.factors):
        triangle = factor.triangle.double().numpy()
        finite = bool(numpy.isfinite(triangle).all())
        offset = numpy.zeros(triangle.shape[1])
        found.append(
            _Site(
                base=parameters.base[index].double().numpy(),
                scale=float(parameters.scale[index]),
                triangle=triangle,
                inverse=numpy.linalg.pinv(triangle.T) if finite else triangle,
                offset=offset if parameters.offset is None else parameters.offset[index].double().numpy(),
                radius=factor.inputs**0.5,
                tanh=parameters.recipe.activation is Activation.TANH,
                rows_are_targets=parameters.recipe.orientation is Orientation.TARGET_ROWS,
            )
        )
    return found


class _Search:
    """Ascent from every start for each row of the composite (forward) and each column (backward), all at once.

    A forward gain is a^T P b with a = e_i and the signs b of that row of P, a backward gain the other way round.
    """

    def __init__(self, *, sites: list[_Site], maps: Array) -> None:
        starts, streams = maps.shape[1], maps.shape[-1]
        self._sites = sites
        self._maps: Array = numpy.repeat(maps, 2 * streams, axis=1)
        """[site, start, stream, stream]."""
        self._forward = numpy.tile(numpy.arange(2 * streams) < streams, starts)
        self._left: Array = numpy.tile(numpy.eye(streams), (2 * starts, 1))
        """a."""
        self._right: Array = self._left.copy()
        """b."""
        self._growth: Array = numpy.full(len(self._left), -numpy.inf)
        """ln(a^T P b)."""

    def run(self) -> None:
        """Improve all sites until that gains little."""
        free = ~self._forward
        self._left[free], self._right[~free] = _signs(self._rights()[-1][free]), _signs(self._lefts()[0][~free])
        for sweep in range(SWEEPS):
            before = self._growth
            self._growth = self._upwards() if sweep % 2 else self._downwards()
            if sweep == 0:
                self._keep_best()
            elif (self._growth - before).max() < ENOUGH:
                break

    def best(self) -> Array:
        """[site, stream, stream, 2]: of the starts the one with the largest forward, and with the largest backward."""
        return numpy.ascontiguousarray(self._maps[:, self._ranked(1)].transpose(0, 2, 3, 1))

    def _keep_best(self) -> None:
        kept = self._ranked(KEPT)
        self._maps, self._forward, self._growth = self._maps[:, kept], self._forward[kept], self._growth[kept]
        self._left, self._right = self._left[kept], self._right[kept]

    def _ranked(self, most: int) -> list[int]:
        """The starts with the largest forward gains, then those with the largest backward gains."""
        growth = numpy.nan_to_num(self._growth, nan=-numpy.inf)
        sides = (numpy.where(side, growth, -numpy.inf) for side in (self._forward, ~self._forward))
        count = min(most, int(self._forward.sum()))
        return [int(start) for side in sides for start in numpy.argsort(-side, kind="stable")[:count]]

    def _rights(self) -> list[Array]:
        """H_l ... H_1 b for l = 0 .. L, scaled to a largest entry of 1."""
        found = [self._right]
        for maps in self._maps:
            found.append(_scaled(_times(maps, found[-1]))[0])
        return found

    def _lefts(self) -> list[Array]:
        """a^T H_L ... H_(l+1) for l = 0 .. L, scaled likewise."""
        found = [self._left]
        for maps in self._maps[::-1]:
            found.append(_scaled(_times(maps.swapaxes(1, 2), found[-1]))[0])
        return found[::-1]

    def _downwards(self) -> Array:
        """Improve the last site first; b then takes the signs of a^T P where it is free."""
        rights, left, growth = self._rights(), self._left, numpy.zeros(len(self._left))
        for site in range(len(self._sites) - 1, -1, -1):
            self._improve(site, left, rights[site])
            left, size = _scaled(_times(self._maps[site].swapaxes(1, 2), left))
            growth = growth + size
        self._right = numpy.asarray(numpy.where(self._forward[:, None], _signs(left), self._right))
        return growth + _log(abs((left * self._right).sum(axis=1)))

    def _upwards(self) -> Array:
        """Improve the first site first; a then takes the signs of P b where it is free."""
        lefts, right, growth = self._lefts(), self._right, numpy.zeros(len(self._right))
        for site in range(len(self._sites)):
            self._improve(site, lefts[site + 1], right)
            right, size = _scaled(_times(self._maps[site], right))
            growth = growth + size
        self._left = numpy.where(self._forward[:, None], self._left, _signs(right))
        return growth + _log(abs((self._left * right).sum(axis=1)))

    def _improve(self, site: int, left: Array, right: Array) -> None:
        tried = self._sites[site].improved(left, right)
        before, after = (((left[:, None] @ maps)[:, 0] * right).sum(axis=1) for maps in (self._maps[site], tried))
        self._maps[site] = numpy.where((after > before)[:, None, None], tried, self._maps[site])


def _times(maps: Array, vectors: Array) -> Array:
    return numpy.asarray((maps @ vectors[..., None])[..., 0])


def _signs(values: Array) -> Array:
    return numpy.where(values < 0, -1.0, 1.0)


def _scaled(vectors: Array) -> tuple[Array, Array]:
    """Vectors with a largest entry of 1, and ln of what that was."""
    size = abs(vectors).max(axis=1)
    return vectors / numpy.where(size > 0, size, 1.0)[:, None], _log(size)


def _log(values: Array) -> Array:
    return numpy.log(values, out=numpy.full_like(values, -numpy.inf), where=values > 0)

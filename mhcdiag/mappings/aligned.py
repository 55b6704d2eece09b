"""Inputs that share one direction over depth, as real tokens do: what hyper-connections are measured on by default.

What trained models show (docs/inputs.md): once the composite grows, all streams of a token are parallel, they keep the
direction that they had, and only their signs change from site to site, as the mappings make them. Inputs that are drawn
anew at every site average the input-dependent part away and miss the growth, a thousandfold in a trained model.

So each token is one vector x, the streams start as copies of it, and they are carried through the mappings that they
themselves produce; branches add nothing, so that a stream stays a multiple of x, of which a norm keeps the sign alone.
x is drawn where the projections look: with A = [alpha_l W_l] of all sites side by side,

    x = sqrt(SHARED) m + sqrt(1 - SHARED) A g / |A|_F,   g standard Gaussian,

where m is what tokens have in common: of the leading left singular vectors of A, with either sign, the one along which
carried streams grow most. Nothing but the parameters of the sites is needed, and only Gram matrices of A are.
"""

from dataclasses import dataclass, field

import numpy
import torch
from jaxtyping import Float
from torch import Tensor

from mhcdiag.mappings.interface import CHUNK_TOKENS, Stack
from mhcdiag.mappings.parametric import Activation, ParametricStack

SHARED = 1 / 3
"""Share of the variance that tokens have in common. Of 0.2, 0.33, 0.5 and 0.66 the first two came closest to the gains
of real tokens in the runs that it was chosen on, and 0.33 was the less often too low (docs/inputs.md)."""
CANDIDATES = 8
"""Singular vectors that are tried as the common part: the leading one was best for three quarters of the checkpoints of
those runs, one of the first three for all."""

Array = numpy.ndarray[tuple[int, ...], numpy.dtype[numpy.float64]]


@dataclass(frozen=True, kw_only=True, slots=True)
class AlignedMaps:
    """Mappings of tokens whose streams are parallel, the same direction at every site."""

    parameters: ParametricStack
    tokens: int
    seed: int
    _looks: "_Looks" = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_looks", _looks_of(self.parameters))

    @property
    def stack(self) -> Stack:
        """The sites."""
        return self.parameters.stack

    def chunk(self, start: int, stop: int, *, device: str = "cpu") -> Float[Tensor, "site stream stream token"]:
        """The mappings of tokens start..stop-1; computed on the CPU, since each site waits for the one before it."""
        maps, _ = carried(self.parameters, self._looks.projected(self._coefficients(start, stop)))
        return torch.from_numpy(maps).to(device)

    def common(self) -> Array:
        """Mappings [site, stream, stream] of the common part m alone."""
        maps, _ = carried(self.parameters, self._looks.projected(self._looks.shared[:, None]))
        return numpy.asarray(maps[..., 0])

    def inputs(self, start: int, stop: int) -> Float[Tensor, "token input"]:
        """The vectors x of tokens start..stop-1 themselves, which a running model can be fed with."""
        return torch.from_numpy((_stacked(self.parameters) @ self._coefficients(start, stop)).T)

    def _coefficients(self, start: int, stop: int) -> Array:
        assert start % CHUNK_TOKENS == 0
        generator = numpy.random.default_rng([self.seed, start // CHUNK_TOKENS])
        # Tokens come first in the draw: the first t tokens are then the same, however many follow.
        return self._looks.tokens(generator.standard_normal((stop - start, len(self._looks.gram))).T)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Looks:
    """What the projections of all sites see of vectors x = A w, by their coefficients w."""

    gram: Array
    """A^T A."""
    seen: Array
    """W_l^T A sqrt(d) as [site, column, coefficient]: the projections of unscaled vectors."""
    shared: Array
    """Coefficients of m."""

    def tokens(self, drawn: Array) -> Array:
        """Coefficients [coefficient, token] of tokens, from standard Gaussian numbers of that shape."""
        size = numpy.sqrt(numpy.trace(self.gram))
        own = drawn / size if size > 0 else numpy.zeros_like(drawn)
        return numpy.asarray(SHARED**0.5 * self.shared[:, None] + (1 - SHARED) ** 0.5 * own)

    def projected(self, coefficients: Array) -> Array:
        """W_l^T norm(x) as [site, column, token]; eps of the norm is left out, since x has a direction but no size."""
        lengths = numpy.sqrt((coefficients * _product(self.gram, coefficients)).sum(axis=0).clip(min=0))
        unit = numpy.divide(coefficients, lengths, out=numpy.zeros_like(coefficients), where=lengths > 0)
        sites, columns, _ = self.seen.shape
        return _product(self.seen.reshape(sites * columns, -1), unit).reshape(sites, columns, -1)


def _looks_of(parameters: ParametricStack) -> _Looks:
    stacked = _stacked(parameters)
    gram = _product(stacked.T, stacked)
    weights = _weights(parameters)
    # As in `logit_factor`, a projection that holds NaN or infinity gives NaN for every input.
    weights[~numpy.isfinite(weights).all(axis=(1, 2))] = numpy.nan
    seen = _product(numpy.concatenate(list(weights), axis=1).T, stacked).reshape(len(weights), -1, len(gram))
    seen *= _inputs(parameters) ** 0.5
    looks = _Looks(gram=gram, seen=seen, shared=numpy.zeros(len(gram)))
    units = _leading(stacked, gram)
    if not units.size:
        return looks
    tried = numpy.concatenate([units, -units], axis=1)
    _, growth = carried(parameters, looks.projected(tried))
    best = int(numpy.argmax(numpy.nan_to_num(growth, nan=-numpy.inf)))
    return _Looks(gram=gram, seen=seen, shared=tried[:, best])


def _product(left: Array, right: Array) -> Array:
    """Matrix product by torch, whose threads are counted: those of NumPy cost 20 times the work on a busy machine."""
    return numpy.asarray((torch.from_numpy(left) @ torch.from_numpy(right)).numpy())


def _leading(stacked: Array, gram: Array) -> Array:
    """Coefficients [coefficient, k] of the leading left singular vectors of A, from its smaller Gram matrix."""
    wide = len(stacked) < len(gram)
    found = torch.linalg.eigh(torch.from_numpy(_product(stacked, stacked.T) if wide else gram))
    squares, vectors = found.eigenvalues.numpy(), found.eigenvectors.numpy()
    kept = [k for k in range(len(squares) - 1, -1, -1) if squares[k] > 1e-12 * squares[-1] > 0][:CANDIDATES]
    # A (A^T u / s^2) = u for a left singular vector u, and A (v / s) = u for a right one.
    if not wide:
        return numpy.asarray(vectors[:, kept] / numpy.sqrt(squares[kept]))
    return numpy.asarray(_product(stacked.T, vectors[:, kept]) / squares[kept])


def _stacked(parameters: ParametricStack) -> Array:
    """A as [input, coefficient], its largest entry 1: only directions count, and squares must not leave float64.

    A site whose parameters are broken must break its own mappings and no direction.
    """
    scaled = _weights(parameters) * parameters.scale.double().numpy()[:, None, None]
    stacked = numpy.nan_to_num(numpy.concatenate(list(scaled), axis=1), nan=0.0, posinf=0.0, neginf=0.0)
    largest = abs(stacked).max()
    return numpy.asarray(stacked / largest if largest > 0 else stacked)


def _weights(parameters: ParametricStack) -> Array:
    """Projections [site, input, column]."""
    assert parameters.factors is not None
    kept = [factor.weight for factor in parameters.factors]
    assert all(weight is not None for weight in kept)
    return numpy.asarray(numpy.stack([weight.double().numpy() for weight in kept if weight is not None]))


def _inputs(parameters: ParametricStack) -> int:
    assert parameters.factors is not None
    return parameters.factors[0].inputs


def carried(
    parameters: ParametricStack, projected: Float[numpy.ndarray, "site column token"]
) -> tuple[Array, Float[numpy.ndarray, " token"]]:
    """Mappings of streams that start as copies of one vector and go through the mappings that they produce.

    Parameters
    ----------
    parameters
        Unconstrained, with a norm per stream.
    projected
        W_l^T norm(x) of the vector x of each token.

    Returns
    -------
    maps, growth
        H_res as [site, stream, stream, token], and per token ln(max |c|) of the streams c x behind the last site.
    """
    recipe, streams = parameters.recipe, parameters.stack.streams
    base, scale = parameters.base.double().numpy(), parameters.scale.double().numpy()
    offset = None if parameters.offset is None else parameters.offset.double().numpy()
    sites, _, tokens = projected.shape
    maps = numpy.empty((sites, streams, streams, tokens))
    multiples, growth = numpy.ones((streams, tokens)), numpy.zeros(tokens)
    with numpy.errstate(over="ignore", invalid="ignore"):  # what overflows is found in the maps
        for site in range(sites):
            logits = numpy.sign(multiples)[:, None] * projected[site]
            if offset is not None:
                logits += offset[site][:, None]
            if recipe.activation is Activation.TANH:
                numpy.tanh(logits, out=logits)
            logits *= scale[site]
            logits += base[site][..., None]
            maps[site] = recipe.orient(torch.from_numpy(logits)).numpy()
            # Rows are targets now. A broken site breaks its own mappings; those behind it see streams that count as 1.
            multiples = numpy.einsum("ijt,jt->it", maps[site], multiples)
            multiples = numpy.nan_to_num(multiples, nan=1.0, posinf=1.0, neginf=-1.0)
            largest = abs(multiples).max(axis=0)
            largest[largest == 0] = 1.0
            multiples /= largest
            growth += numpy.log(largest)
    return maps, growth

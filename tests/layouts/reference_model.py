"""What each implementation computes, in float64 NumPy loops written from its formulas, and checkpoints to go with it.

Nothing here comes from the package under test. A `Model` holds the tensors of one small random checkpoint and, site by
site, a function from the projected input z (what W^T norm(x) is, in the order of the projection's columns) to H_res as
the implementation applies it: `apply(z, x)` returns the mixed streams, so that a transposed reading cannot hide.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Array = np.ndarray
Mix = Callable[[Array, Array], Array]


@dataclass(kw_only=True)
class Model:
    """One checkpoint and its mathematics."""

    layout: str
    tensors: dict[str, Array] = field(default_factory=dict)
    config: dict[str, Any] | None = None
    streams: int = 3
    mixes: list[Mix] = field(default_factory=list)
    """Per site: mixed streams [n, C] from projected input and streams [n, C]."""
    projections: list[Array] = field(default_factory=list)
    """Per site: W [inputs, logits] with norm weights folded in; empty where nothing depends on the input."""
    settings: dict[str, Any] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)
    per_stream: bool = False

    def mapping(self, site: int, z: Array) -> Array:
        """H_res as it is applied: the columns are what unit streams become."""
        return self.mixes[site](z, np.eye(self.streams))

    def static(self) -> Array:
        """H_res [site, 1, n, n] at z = 0."""
        return np.stack([self.mapping(site, self.zeros(site))[None] for site in range(len(self.mixes))])

    def zeros(self, site: int) -> Array:
        """The projected input that is none."""
        columns = self.projections[site].shape[1] if self.projections else 0
        return np.zeros((self.streams, columns) if self.per_stream else columns)


def rounded(array: Array) -> Array:
    """float32 values in float64, so that a checkpoint holds them exactly."""
    return array.astype(np.float32).astype(np.float64)


class Draw:
    """Random numbers by name of the case."""

    def __init__(self, seed: int) -> None:
        self.generator = np.random.default_rng(seed)

    def __call__(self, *shape: int, spread: float = 1.0) -> Array:
        return rounded(self.generator.normal(size=shape) * spread)


def softmax_sinkhorn(logits: Array, iterations: int, eps: float) -> Array:
    """Row softmax + eps, columns, then rows and columns."""
    matrix = np.exp(logits - logits.max(axis=1, keepdims=True))
    matrix = matrix / matrix.sum(axis=1, keepdims=True) + eps
    matrix = matrix / (matrix.sum(axis=0, keepdims=True) + eps)
    for _ in range(iterations - 1):
        matrix = matrix / (matrix.sum(axis=1, keepdims=True) + eps)
        matrix = matrix / (matrix.sum(axis=0, keepdims=True) + eps)
    return matrix


def rows_columns(matrix: Array, iterations: int, *, added: float = 0.0, floor: float = 0.0) -> Array:
    """Rows, then columns, of a positive matrix."""
    for _ in range(iterations):
        matrix = matrix / np.maximum(matrix.sum(axis=1, keepdims=True) + added, floor)
        matrix = matrix / np.maximum(matrix.sum(axis=0, keepdims=True) + added, floor)
    return matrix


def source_rows(matrix: Array, streams: Array) -> Array:
    """x_new[t] = sum_s A[s, t] x[s]."""
    return np.einsum("st,sd->td", matrix, streams)


def target_rows(matrix: Array, streams: Array) -> Array:
    """x_new[t] = sum_s A[t, s] x[s]."""
    return np.einsum("ts,sd->td", matrix, streams)


KINDS = ("attn", "ffn")
LAYERS, STREAMS, WIDTH = 2, 3, 7  # a width for which no size of a projection equals another
ROWS = STREAMS * (STREAMS + 2)
INPUTS = STREAMS * WIDTH


def places() -> list[tuple[int, str]]:
    """Layer and kind of every site, in depth order."""
    return [(layer, kind) for layer in range(LAYERS) for kind in KINDS]


def fused_case(
    layout: str,
    *,
    names: Callable[[int, str], dict[str, str]],
    sinkhorn: Callable[[Array], Array],
    apply: Callable[[Array, Array], Array],
    input_major: bool = False,
    gamma: bool = False,
    config: dict[str, Any] | None = None,
    settings: dict[str, Any] | None = None,
    fused_scale: bool = True,
    seed: int,
) -> Model:
    """The family with one projection, one bias and fused entries pre, post, res."""
    draw, n = Draw(seed), STREAMS
    model = Model(layout=layout, config=config, settings=settings or {}, streams=n)
    for layer, kind in places():
        name = names(layer, kind)
        fn, base, scale = draw(ROWS, INPUTS), draw(ROWS), draw(3)
        weight = draw(INPUTS) if gamma else np.ones(INPUTS)
        model.tensors[name["fn"]] = fn.T if input_major else fn
        model.tensors[name["base"]] = base
        if fused_scale:
            model.tensors[name["scale"]] = scale
        else:
            for role, value in zip(("pre", "post", "res"), scale, strict=True):
                model.tensors[name["alpha_" + role]] = np.array([value])
        if gamma:
            model.tensors[name["gamma"]] = weight
        res = slice(2 * n, None)

        def mix(z: Array, x: Array, base: Array = base[res], alpha: float = scale[2]) -> Array:
            return apply(sinkhorn((alpha * z + base).reshape(n, n)), x)

        model.mixes.append(mix)
        model.projections.append((fn * weight)[res].T)
        model.names.append(f"{layer}.{kind}")
    return model

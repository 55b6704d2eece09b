"""The gains of the sample checkpoints once more, in float64 NumPy and with nothing of mhcdiag.

Random inputs are drawn in full here, C numbers for each stream, and pushed through norm and projection as a model
would; mhcdiag draws only the few numbers that matter. The two agree within the sampling error.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy
from safetensors.numpy import load_file

STREAMS = 4
ITERATIONS = 20
KINDS = ("single", "prefix", "suffix")
LINES = {"forward": -1, "backward": -2}
"""The axis to sum over: rows of H for signals, columns for gradients."""

Array = numpy.ndarray


@dataclass(frozen=True, kw_only=True)
class Gains:
    """Token means of one set of mappings."""

    curves: dict[tuple[str, str, str], Array]
    """One number per site for each (kind, direction, definition)."""
    spans: dict[tuple[str, str], Array]
    """Gain of P(a,b) at [a, b], 0 below the diagonal, for each (direction, definition)."""
    errors: dict[tuple[str, str], Array]
    """Standard errors of `spans`."""


def mappings(checkpoint: Path, *, tokens: int, seed: int) -> Array:
    """H_res [site, token, n, n]; with 0 tokens one pseudo-token whose input-dependent part is zero."""
    random = numpy.random.RandomState(seed)
    if checkpoint.is_dir():
        tensors = {name: values.astype(float) for name, values in load_file(checkpoint / "model.safetensors").items()}
        prefixes = [f"layers.{site // 2}.hc_{('attn', 'ffn')[site % 2]}" for site in range(60)]
        return numpy.stack([deepseek_site(tensors, prefix, random, tokens) for prefix in prefixes])
    tensors = {name: values.astype(float) for name, values in load_file(checkpoint).items()}
    prefixes = [f"blocks.{site // 2}.{('attn', 'ffn')[site % 2]}.hc" for site in range(60)]
    return numpy.stack([toy_site(tensors, prefix, random, tokens) for prefix in prefixes])


def captured(checkpoint: Path) -> Array:
    """H_res [site, token, n, n] of captured mappings."""
    tensors = load_file(checkpoint)
    return numpy.stack([tensors[f"layers.{site}.h_res"].astype(float) for site in range(60)])


def toy_site(tensors: dict[str, Array], prefix: str, random: numpy.random.RandomState, tokens: int) -> Array:
    """One site of the toy models: rows are target streams; mHC's columns are normalised first, its rows last."""
    alpha, base = tensors[f"{prefix}.alpha_res"], tensors[f"{prefix}.b_res"]
    constrained = f"{prefix}.phi_res" in tensors
    projection = tensors[f"{prefix}.{'phi_res' if constrained else 'theta_res'}"]
    matrix = base.reshape(1, STREAMS, STREAMS)
    if tokens and constrained:
        x = random.standard_normal((tokens, projection.shape[1]))
        x /= ((x**2).mean(-1, keepdims=True) + 1e-6) ** 0.5
        matrix = matrix + alpha * (x @ projection.T).reshape(-1, STREAMS, STREAMS)
    elif tokens:
        x = random.standard_normal((tokens, STREAMS, projection.shape[1]))
        x /= ((x**2).mean(-1, keepdims=True) + 1e-6) ** 0.5
        matrix = matrix + alpha * numpy.tanh(projection @ x.swapaxes(-1, -2))
    if constrained:
        matrix = numpy.exp(matrix - matrix.max(-2, keepdims=True))
        matrix = matrix / matrix.sum(-2, keepdims=True) + 1e-6
        for _ in range(ITERATIONS - 1):
            matrix = matrix / (matrix.sum(-1, keepdims=True) + 1e-6)
            matrix = matrix / (matrix.sum(-2, keepdims=True) + 1e-6)
        matrix = matrix / (matrix.sum(-1, keepdims=True) + 1e-6)
    return matrix


def deepseek_site(tensors: dict[str, Array], prefix: str, random: numpy.random.RandomState, tokens: int) -> Array:
    """One site of DeepSeek-V4: all streams as one vector; rows of the matrix are source streams."""
    base, fn = (tensors[f"{prefix}_{role}"][2 * STREAMS :] for role in ("base", "fn"))
    logits = base.reshape(1, -1)
    if tokens:
        x = random.standard_normal((tokens, fn.shape[1]))
        x /= ((x**2).mean(-1, keepdims=True) + 1e-6) ** 0.5
        logits = logits + tensors[f"{prefix}_scale"][2] * (x @ fn.T)
    matrix = numpy.exp(logits.reshape(-1, STREAMS, STREAMS))
    matrix = matrix / matrix.sum(-1, keepdims=True) + 1e-6
    matrix = matrix / (matrix.sum(-2, keepdims=True) + 1e-6)
    for _ in range(ITERATIONS - 1):
        matrix = matrix / (matrix.sum(-1, keepdims=True) + 1e-6)
        matrix = matrix / (matrix.sum(-2, keepdims=True) + 1e-6)
    return matrix.swapaxes(-1, -2)


def gain_per_token(matrices: Array, direction: str, definition: str) -> Array:
    """Gain of each matrix [..., n, n]: largest absolute line sum (`amax`), or line sum of absolute values (`norm`)."""
    if definition == "norm":
        matrices = abs(matrices)
    return abs(matrices.sum(LINES[direction])).max(-1)


def gains(maps: Array) -> Gains:
    """Token means over all spans, and the three curves that are their diagonal, first row and last column."""
    sites, tokens = maps.shape[:2]
    keys = [(direction, definition) for direction in LINES for definition in ("amax", "norm")]
    spans = {key: numpy.zeros((sites, sites)) for key in keys}
    errors = {key: numpy.zeros((sites, sites)) for key in keys}
    for first in range(sites):
        product = numpy.eye(STREAMS)
        for last in range(first, sites):
            product = maps[last] @ product  # x_new = H x: the later site stands on the left
            for key in keys:
                of_tokens = gain_per_token(product, *key)
                spans[key][first, last] = of_tokens.mean()
                errors[key][first, last] = of_tokens.std() / tokens**0.5
    curves = {}
    for key, table in spans.items():
        for kind, curve in zip(KINDS, (table.diagonal(), table[0], table[:, -1]), strict=True):
            curves[kind, *key] = curve
    return Gains(curves=curves, spans=spans, errors=errors)

"""Families with a residual bias of its own, by their formulas."""

from math import sqrt
from typing import Any

import numpy as np
from layouts.reference_model import (
    INPUTS,
    LAYERS,
    ROWS,
    STREAMS,
    Array,
    Draw,
    Model,
    places,
    rows_columns,
    source_rows,
    target_rows,
)


def motif(*, merged: bool) -> Model:
    draw, n = Draw(12), STREAMS
    config = {"mhc_enabled": True, "mhc_expansion_rate": n, "mhc_sinkhorn_iters": 2, "num_hidden_layers": LAYERS}
    model = Model(layout="motif-3", config=config, streams=n)
    for layer, kind in places():
        module = f"model.layers.{layer}.mhc_{kind}."
        merged_fn, weight = draw(ROWS, INPUTS), draw(INPUTS)
        bias, alpha = draw(n, n, spread=14.0), draw(1)
        model.tensors |= {module + "bias_res": bias, module + "alpha_res": alpha, module + "rms_norm.weight": weight}
        if merged:
            model.tensors[module + "proj_merged.weight"] = merged_fn
        else:
            for role, rows in (("pre", slice(n)), ("post", slice(n, 2 * n)), ("res", slice(2 * n, None))):
                model.tensors[f"{module}proj_{role}.weight"] = merged_fn[rows]

        def mix(z: Array, x: Array, bias: Array = bias, alpha: float = alpha[0]) -> Array:
            logits = (alpha * z.reshape(n, n) + bias).clip(-20, 20)
            return target_rows(rows_columns(np.exp(logits), 2, floor=1e-8), x)

        model.mixes.append(mix)
        model.projections.append((merged_fn * weight)[2 * n :].T)
        model.names.append(f"{layer}.{kind}")
    return model


def magi() -> Model:
    draw, n = Draw(13), STREAMS
    model = Model(layout="magi-2", streams=n)
    for layer in range(LAYERS):
        norm = draw(3 * INPUTS)  # three modalities
        model.tensors[f"block.layers.{layer}.mhc_norm.weight"] = norm
        for kind in ("attn", "mlp"):
            prefix = f"block.layers.{layer}.mhc_"
            phi, bias, alpha = draw(INPUTS, ROWS), draw(n, n), draw(1, spread=9.0)
            model.tensors |= {
                f"{prefix}phi_fused_{kind}": phi,
                f"{prefix}bias_res_{kind}": bias,
                f"{prefix}alpha_res_{kind}": alpha,
                f"{prefix}bias_pre_{kind}": draw(n),
            }

            def mix(z: Array, x: Array, bias: Array = bias, alpha: float = alpha[0]) -> Array:
                logits = alpha * z.reshape(n, n) + bias
                matrix = np.exp(logits - logits.max())
                for _ in range(2):
                    matrix = matrix / (matrix.sum(axis=0, keepdims=True) + 1e-12)
                    matrix = matrix / (matrix.sum(axis=1, keepdims=True) + 1e-12)
                return target_rows(matrix, x)

            model.mixes.append(mix)
            model.projections.append(phi[:, 2 * n :] * (norm[:INPUTS] + 1)[:, None] / sqrt(INPUTS))
            model.names.append(f"{layer}.{'attn' if kind == 'attn' else 'ffn'}")
    model.settings = {"sinkhorn_iters": 2}
    return model


def mhc_cu(*, dynamic: bool) -> Model:
    draw, n = Draw(14), STREAMS
    model = Model(layout="mhc-cu", streams=n, settings={"sinkhorn_iters": 2})
    for site in range(4):
        module = f"layers.{site}."
        bias, alpha, phi = draw(n, n), draw(1), draw(n * n, INPUTS)
        if dynamic:
            model.tensors |= {module + "b_res": bias, module + "alpha_res": alpha[0], module + "phi_res": phi}
            model.projections.append(phi.T)
        else:
            model.tensors |= {module + "H_res": bias, module + "H_pre": draw(n), module + "H_post": draw(n)}

        def mix(z: Array, x: Array, bias: Array = bias, alpha: float = alpha[0]) -> Array:
            logits = bias + (alpha * z.reshape(n, n) if dynamic else 0)
            return target_rows(rows_columns(np.exp(logits), 2), x)

        model.mixes.append(mix)
        model.names.append(f"layers.{site}")
    return model


def mhc_pytorch() -> Model:
    draw, n = Draw(15), STREAMS
    model = Model(layout="mhc-pytorch", streams=n, settings={"sinkhorn_iters": 2})
    for site in range(4):
        module = f"blocks.{site}."
        weight, bias, b_res, alpha = draw(n * n, INPUTS), draw(n * n), draw(n, n), draw(1)
        model.tensors |= {
            module + "phi_res.weight": weight,
            module + "phi_res.bias": bias,
            module + "b_res": b_res,
            module + "alpha_res": alpha,
        }

        def mix(z: Array, x: Array, bias: Array = bias, b_res: Array = b_res, alpha: float = alpha[0]) -> Array:
            logits = alpha * (z + bias).reshape(n, n) + b_res
            return target_rows(rows_columns(np.exp(logits), 2), x)

        model.mixes.append(mix)
        model.projections.append(weight.T)
        model.names.append(f"blocks.{site}")
    return model


def log_sinkhorn(logits: Array, iterations: int, first: int) -> Array:
    """Alternate normalisations of logarithms; `first` is the axis summed over first."""
    for _ in range(iterations):
        for axis in (first, 1 - first):
            peak = logits.max(axis=axis, keepdims=True)
            logits = logits - peak - np.log(np.exp(logits - peak).sum(axis=axis, keepdims=True))
    return np.exp(logits)


def newton_schulz_squared(logits: Array) -> Array:
    """The squares of what Newton-Schulz makes of a matrix."""
    steps = (
        (7.2086, -15.5131, 9.0178),
        (3.9623, -2.5813, 0.4542),
        (3.9466, -2.5765, 0.4544),
        (3.8991, -2.5671, 0.4566),
        (3.7186, -2.5308, 0.4653),
        (3.1390, -2.3073, 0.4733),
        (2.1715, -1.5246, 0.3885),
        (1.8648, -1.2224, 0.3577),
    )
    x = logits / (np.sqrt((logits**2).sum()) + 1e-7)
    for a, b, c in steps:
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x**2


def tokenbender(config: dict[str, Any], *, identity_mix: bool = False) -> Model:
    draw, n = Draw(16), STREAMS
    model = Model(layout="tokenbender", streams=n, config=config)
    for layer in range(LAYERS):
        for kind in ("attn", "mlp"):
            module = f"transformer.h.{layer}.hc_{kind}."
            logits, gate = draw(n, n), draw(1)[0]
            model.tensors |= {module + "H_res_logits": logits, module + "static_alpha": draw(n, n + 1)}
            if identity_mix:
                model.tensors[module + "H_res_alpha_logit"] = np.array(gate)

            def mix(z: Array, x: Array, logits: Array = logits, gate: float = gate) -> Array:
                if config.get("mhc_h_res_proj") == "orthostochastic":
                    matrix = newton_schulz_squared(logits)
                else:
                    matrix = log_sinkhorn(logits / config["sinkhorn_tau"], config["sinkhorn_iters"], 1)
                if identity_mix:
                    share = 1 / (1 + np.exp(-gate))
                    matrix = (1 - share) * np.eye(n) + share * matrix
                return source_rows(matrix, x)

            model.mixes.append(mix)
            model.names.append(f"{layer}.{'attn' if kind == 'attn' else 'ffn'}")
    return model

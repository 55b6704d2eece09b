"""Families with `static_alpha`: mhc-lite's repository and what grew from it, and ByteDance's hyper-connections."""

from itertools import permutations
from math import log2
from typing import Any

import numpy as np
from layouts.reference_model import INPUTS, STREAMS, WIDTH, Array, Draw, Model, places, source_rows
from layouts.separate_families import log_sinkhorn


def flat_module(layer: int, kind: str) -> str:
    return f"transformer.h.{layer}.hc_{'attn' if kind == 'attn' else 'mlp'}."


def mhc_lite_mhc(config: dict[str, Any] | None, *, views: int = 1, tbp: bool = False, delta: bool = False) -> Model:
    draw, n = Draw(17), STREAMS
    model = Model(layout="tbp-mhc" if tbp else "mhc-lite-mhc", streams=n, config=config)
    for layer, kind in places():
        module = flat_module(layer, kind)
        static, fn = draw(n, views + n), draw(INPUTS, n * (views + n))
        scale, gamma, delta_logit = draw(1), draw(INPUTS), draw(1)[0]
        model.tensors |= {
            module + "static_alpha": static,
            module + "dynamic_alpha_fn": fn,
            module + "norm.gamma": gamma,
            module + "residual_scale": scale,
            module + "static_beta": draw(n),
        }
        if delta:
            model.tensors[module + "delta_logit"] = np.array(delta_logit)

        def mix(z: Array, x: Array, static: Array = static, scale: float = scale[0], d: float = delta_logit) -> Array:
            logits = np.array([[scale * z[s * n + t] + static[s, views + t] for t in range(n)] for s in range(n)])
            if not tbp:
                return source_rows(log_sinkhorn(logits, 20, 0), x)
            matrix = transport(logits)
            share = 1 / (1 + np.exp(-d)) if delta else 0.0
            return source_rows((1 - share) * matrix + share / n, x)

        residual = [s * (views + n) + views + t for s in range(n) for t in range(n)]
        model.mixes.append(mix)
        model.projections.append((fn * (gamma + 1)[:, None])[:, residual])
        model.names.append(f"{layer}.{kind}")
    return model


def transport(logits: Array) -> Array:
    """A doubly stochastic matrix, entry by entry within what its row and column still allow."""
    n = len(logits)
    matrix = np.zeros((n, n))
    for i in range(n - 1):
        for j in range(n - 1):
            row_left = 1 - matrix[i].sum()
            column_left = 1 - matrix[:, j].sum()
            later_columns = sum(1 - matrix[:, k].sum() for k in range(j + 1, n))
            later_rows = n - 1 - i
            lower = max(0.0, row_left - later_columns, column_left - later_rows)
            upper = min(row_left, column_left)
            matrix[i, j] = lower + max(upper - lower, 1e-7) / (1 + np.exp(-logits[i, j]))
        matrix[i, n - 1] = 1 - matrix[i].sum()
    matrix[n - 1] = 1 - matrix.sum(axis=0)
    return matrix


def coefficient_model(layout: str, *, streams: int, views: int = 1) -> Model:
    """mHC-lite and KromHC."""
    draw, n, inputs = Draw(18), streams, streams * WIDTH
    orders = list(permutations(range(n)))
    count = len(orders) if layout == "mhc-lite" else 2 * int(log2(n))
    model = Model(layout=layout, streams=n)
    for layer, kind in places():
        module = flat_module(layer, kind)
        static, fn = draw(n * views + count), draw(inputs, n * views + count)
        scale, gamma = draw(1), draw(inputs)
        model.tensors |= {
            module + "static_alpha": static,
            module + "dynamic_alpha_fn": fn,
            module + "norm.gamma": gamma,
            module + "residual_scale": scale,
            module + "static_beta": draw(n),
        }

        def mix(z: Array, x: Array, static: Array = static[n * views :], scale: float = scale[0]) -> Array:
            raw = scale * z + static
            if layout == "mhc-lite":
                weights = np.exp(raw) / np.exp(raw).sum()
                matrix = np.zeros((n, n))
                for weight, order in zip(weights, orders, strict=True):
                    for row, column in enumerate(order):
                        matrix[row, column] += weight
                return source_rows(matrix, x)
            matrix = np.ones((1, 1))
            for pair in raw.reshape(-1, 2):
                p = np.exp(pair[0]) / np.exp(pair).sum()
                matrix = np.kron(matrix, np.array([[p, 1 - p], [1 - p, p]]))
            return source_rows(matrix, x)

        model.mixes.append(mix)
        model.projections.append((fn * (gamma + 1)[:, None])[:, n * views :])
        model.names.append(f"{layer}.{kind}")
    return model


def bytedance(*, dynamic: bool, tanh: bool = True) -> Model:
    draw, n, width = Draw(19), STREAMS, 11
    model = Model(
        layout="bytedance-hc" if dynamic else "bytedance-shc",
        streams=n,
        per_stream=True,
        settings={"tanh": tanh} if dynamic else {},
    )
    for layer, kind in places():
        module = f"layers.{layer}.{kind}."
        static, fn, scale = draw(n, n + 1), draw(width, n + 1), draw(1)
        weight, bias = draw(width), draw(width)
        model.tensors |= {module + "static_alpha": static, module + "static_beta": draw(n)}
        if dynamic:
            model.tensors |= {
                module + "dynamic_alpha_fn": fn,
                module + "dynamic_alpha_scale": scale,
                module + "layer_norm.weight": weight,
                module + "layer_norm.bias": bias,
                module + "dynamic_beta_fn": draw(width),
                module + "dynamic_beta_scale": draw(1),
            }
            model.projections.append((fn * weight[:, None])[:, 1:])
        offset = bias @ fn[:, 1:]

        def mix(z: Array, x: Array, static: Array = static[:, 1:], s: float = scale[0], o: Array = offset) -> Array:
            if not dynamic:
                return source_rows(static, x)
            # z = 0 stands for "no input-dependent part" (static inputs); any other is the projected normalised input.
            moved = z + o if np.any(z) else z
            return source_rows(s * (np.tanh(moved) if tanh else moved) + static, x)

        model.mixes.append(mix)
        model.names.append(f"{layer}.{kind}")
    return model

"""What each implementation computes, in float64 NumPy loops written from its formulas, and checkpoints to go with it.

Nothing here comes from the package under test. A `Model` holds the tensors of one small random checkpoint and, site by
site, a function from the projected input z (what W^T norm(x) is, in the order of the projection's columns) to H_res as
the implementation applies it: `apply(z, x)` returns the mixed streams, so that a transposed reading cannot hide.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import permutations
from math import log2, sqrt
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
LAYERS, STREAMS, WIDTH = 2, 3, 5
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


def v4_names(prefix: str) -> Callable[[int, str], dict[str, str]]:
    def names(layer: int, kind: str) -> dict[str, str]:
        return {role: f"{prefix}layers.{layer}.hc_{kind}_{role}" for role in ("fn", "base", "scale")}

    return names


def v4_sinkhorn(logits: Array) -> Array:
    return softmax_sinkhorn(logits, 2, 1e-6)


V4_CONFIG = {
    "num_hidden_layers": LAYERS,
    "hidden_size": WIDTH,
    "hc_mult": STREAMS,
    "hc_sinkhorn_iters": 2,
    "hc_eps": 1e-6,
    "rms_norm_eps": 1e-6,
}


def deepseek_v4() -> Model:
    config = V4_CONFIG | {"model_type": "deepseek_v4"}
    return fused_case("deepseek-v4", names=v4_names(""), sinkhorn=v4_sinkhorn, apply=source_rows, config=config, seed=1)


def deepseek_v41() -> Model:
    config = {"model_type": "deepseek_v41", "text_config": V4_CONFIG | {"rms_norm_eps": 1e-20}}
    return fused_case(
        "deepseek-v4.1",
        names=v4_names("language_model."),
        sinkhorn=v4_sinkhorn,
        apply=source_rows,
        config=config,
        seed=2,
    )


def nanowhale() -> Model:
    config = V4_CONFIG | {"model_type": "deepseek_v4"}
    model = fused_case(
        "nanowhale", names=v4_names("model."), sinkhorn=v4_sinkhorn, apply=target_rows, config=config, seed=3
    )
    model.tensors["model.hc_head_fn"] = Draw(4)(STREAMS, INPUTS)
    return model


def openpangu() -> Model:
    def names(layer: int, kind: str) -> dict[str, str]:
        module = f"model.layers.{layer}.{'attn' if kind == 'attn' else 'mlp'}_mhc_module."
        return {
            "fn": module + "phi.weight",
            "base": module + "branch_beta",
            "scale": module + "branch_alpha",
            "gamma": module + "norm_gamma",
        }

    config = {"model_type": "openpangu_v2", "num_hidden_layers": LAYERS, "mhc_recur_norm": 3, "mhc_num_stream": STREAMS}
    model = fused_case(
        "openpangu",
        names=names,
        sinkhorn=lambda logits: softmax_sinkhorn(logits, 3, 1e-6),
        apply=source_rows,
        gamma=True,
        config=config,
        seed=5,
    )
    model.tensors["model.merge_mhc_module.phi.weight"] = Draw(6)(STREAMS, INPUTS)
    return model


def megatron_names(spelling: str) -> Callable[[int, str], dict[str, str]]:
    kinds = {"attn": "self_attention_hyper_connection", "ffn": "mlp_hyper_connection"}

    def names(layer: int, kind: str) -> dict[str, str]:
        module = f"decoder.layers.{layer}.{kinds[kind] if spelling == 'megatron' else 'hc_' + kind}."
        alphas = {f"alpha_{role}": f"{module}alpha_{role}" for role in ("pre", "post", "res")}
        return {"fn": module + "mapping_proj.weight", "base": module + "bias"} | alphas

    return names


def exp_rows_columns(iterations: int, **guard: float) -> Callable[[Array], Array]:
    def sinkhorn(logits: Array) -> Array:
        return rows_columns(np.exp(logits - logits.max(axis=1, keepdims=True)), iterations, **guard)

    return sinkhorn


def megatron(config: dict[str, Any], *, dev: bool, settings: dict[str, Any] | None = None) -> Model:
    return fused_case(
        "megatron",
        names=megatron_names("megatron"),
        sinkhorn=v4_sinkhorn if dev else exp_rows_columns(2, floor=1e-6),
        apply=source_rows if dev else target_rows,
        config=config | {"num_layers": LAYERS, "mhc_sinkhorn_iterations": 2},
        settings=settings,
        fused_scale=False,
        seed=7,
    )


def megatron_bridge() -> Model:
    return fused_case(
        "megatron-bridge",
        names=megatron_names("bridge"),
        sinkhorn=v4_sinkhorn,
        apply=source_rows,
        config={"hc_sinkhorn_iters": 2},
        fused_scale=False,
        seed=8,
    )


def telechat() -> Model:
    def names(layer: int, kind: str) -> dict[str, str]:
        module = f"model.layers.{layer}.{kind}_hc."
        alphas = {f"alpha_{role}": f"{module}alpha_{role}" for role in ("pre", "post", "res")}
        return {"fn": module + "mapping_weight", "base": module + "bias"} | alphas

    return fused_case(
        "telechat",
        names=names,
        apply=target_rows,
        fused_scale=False,
        seed=9,
        sinkhorn=lambda logits: exp_rows_columns(2, added=1e-6)(logits.clip(-0.5, 0.5)),
        config={"mhc_sinkhorn_iterations": 2, "mhc_h_res_clamp_max": 0.5, "num_hidden_layers": LAYERS},
    )


def liger() -> Model:
    def names(layer: int, kind: str) -> dict[str, str]:
        module = f"layers.{layer}.{kind}_mhc."
        alphas = {f"alpha_{role}": f"{module}alpha_{role}" for role in ("pre", "post", "res")}
        return {"fn": module + "phi", "base": module + "b"} | alphas

    return fused_case(
        "liger",
        names=names,
        sinkhorn=v4_sinkhorn,
        apply=target_rows,
        input_major=True,
        fused_scale=False,
        settings={"sinkhorn_iters": 2},
        seed=10,
    )


def gguf() -> Model:
    def names(layer: int, kind: str) -> dict[str, str]:
        return {role: f"blk.{layer}.hc_{kind}_{role}.weight" for role in ("fn", "base", "scale")}

    config = {
        "general.architecture": "deepseek4",
        "num_hidden_layers": LAYERS,
        "hyper_connection.sinkhorn_iterations": 2,
        "hyper_connection.epsilon": 1e-6,
    }
    return fused_case("deepseek-v4-gguf", names=names, sinkhorn=v4_sinkhorn, apply=source_rows, config=config, seed=11)


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


CASES: dict[str, Callable[[], Model]] = {
    "deepseek_v4": deepseek_v4,
    "deepseek_v41": deepseek_v41,
    "nanowhale": nanowhale,
    "openpangu": openpangu,
    "motif": lambda: motif(merged=False),
    "motif_merged": lambda: motif(merged=True),
    "magi": magi,
    "megatron_main": lambda: megatron({"enable_hyper_connections": True}, dev=False),
    "megatron_dev": lambda: megatron({"enable_mhc_connections": True}, dev=True),
    "megatron_told": lambda: megatron({}, dev=True, settings={"orientation": "source-rows"}),
    "megatron_bridge": megatron_bridge,
    "telechat": telechat,
    "liger": liger,
    "gguf": gguf,
    "mhc_cu": lambda: mhc_cu(dynamic=True),
    "mhc_cu_static": lambda: mhc_cu(dynamic=False),
    "mhc_pytorch": mhc_pytorch,
    "tokenbender": lambda: tokenbender({"sinkhorn_tau": 0.7, "sinkhorn_iters": 2}),
    "tokenbender_identity_mix": lambda: tokenbender({"sinkhorn_tau": 0.7, "sinkhorn_iters": 2}, identity_mix=True),
    "tokenbender_orthostochastic": lambda: tokenbender({"mhc_h_res_proj": "orthostochastic"}),
    "mhc_lite_mhc": lambda: mhc_lite_mhc({"hyper_conn_type": "mhc"}),
    "mhc_lite_mhc_views": lambda: mhc_lite_mhc({"hyper_conn_type": "mhc"}, views=2),
    "tbp": lambda: mhc_lite_mhc({"hyper_conn_type": "tbp_mhc"}, tbp=True),
    "tbp_delta": lambda: mhc_lite_mhc(None, tbp=True, delta=True),
    "mhc_lite": lambda: coefficient_model("mhc-lite", streams=3),
    "mhc_lite_four": lambda: coefficient_model("mhc-lite", streams=4),
    "kromhc": lambda: coefficient_model("kromhc", streams=4),
    "kromhc_eight": lambda: coefficient_model("kromhc", streams=8),
    "bytedance": lambda: bytedance(dynamic=True),
    "bytedance_without_tanh": lambda: bytedance(dynamic=True, tanh=False),
    "bytedance_static": lambda: bytedance(dynamic=False),
}
"""Every layout that has no package to test against, and those that have one, since the formulas are cheap."""

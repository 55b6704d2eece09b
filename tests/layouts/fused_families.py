"""Families with one projection and one bias over pre, post and residual entries, by their formulas."""

from collections.abc import Callable
from typing import Any

import numpy as np
from layouts.reference_model import (
    INPUTS,
    LAYERS,
    STREAMS,
    WIDTH,
    Array,
    Draw,
    Model,
    fused_case,
    rows_columns,
    softmax_sinkhorn,
    source_rows,
    target_rows,
)


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

"""Every family's formulas in float64 NumPy by name of the case."""

from collections.abc import Callable

from layouts.alpha_families import bytedance, coefficient_model, mhc_lite_mhc
from layouts.fused_families import (
    deepseek_v4,
    deepseek_v41,
    gguf,
    liger,
    megatron,
    megatron_bridge,
    nanowhale,
    openpangu,
    telechat,
)
from layouts.reference_model import Model
from layouts.separate_families import magi, mhc_cu, mhc_pytorch, motif, tokenbender

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

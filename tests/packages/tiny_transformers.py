"""Small models of any family of `transformers`, and what their blocks do to a stream when every branch is silent."""

import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from mhcdiag.namedtensors import TensorInfo

WIDTH, LAYERS, VOCABULARY = 32, 4, 99
SIZES: dict[str, int] = {
    **dict.fromkeys(("hidden_size", "d_model", "n_embd", "dim", "embed_dim"), WIDTH),
    **dict.fromkeys(("intermediate_size", "ffn_dim", "n_inner", "d_ff", "encoder_ffn_dim", "decoder_ffn_dim"), 48),
    **dict.fromkeys(
        ("num_hidden_layers", "n_layer", "n_layers", "num_layers", "encoder_layers", "decoder_layers",
         "num_decoder_layers"), LAYERS,
    ),
    **dict.fromkeys(
        ("num_attention_heads", "n_head", "n_heads", "num_heads", "encoder_attention_heads",
         "decoder_attention_heads"), 4,
    ),
    **dict.fromkeys(("num_key_value_heads", "num_kv_heads", "linear_num_key_heads"), 2),
    **dict.fromkeys(("head_dim", "d_kv", "qk_rope_head_dim", "qk_nope_head_dim", "v_head_dim"), 8),
    **dict.fromkeys(("linear_key_head_dim", "linear_value_head_dim", "state_size", "mamba_d_state"), 8),
    **dict.fromkeys(("max_position_embeddings", "n_positions", "n_ctx"), 64),
    **dict.fromkeys(("moe_intermediate_size", "shared_expert_intermediate_size"), 24),
    **dict.fromkeys(("num_experts", "num_local_experts", "n_routed_experts", "linear_num_value_heads"), 4),
    **dict.fromkeys(("n_group", "topk_group", "first_k_dense_replace", "n_shared_experts", "bos_token_id"), 1),
    **dict.fromkeys(("q_lora_rank", "kv_lora_rank"), 16),
    "vocab_size": VOCABULARY, "num_experts_per_tok": 2, "image_size": 32, "patch_size": 8, "pad_token_id": 0,
    "eos_token_id": 2, "mamba_n_heads": 4, "mamba_d_head": 16, "mamba_expand": 2,
}  # fmt: skip
_BASE = {
    "vocab_size": VOCABULARY, "hidden_size": WIDTH, "intermediate_size": 48, "num_hidden_layers": LAYERS,
    "num_attention_heads": 4, "num_key_value_heads": 2, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
_LATENT = {
    "num_key_value_heads": 4, "q_lora_rank": 16, "kv_lora_rank": 16, "qk_nope_head_dim": 8, "qk_rope_head_dim": 8,
    "v_head_dim": 8, "head_dim": 8,
}  # fmt: skip
_EXPERTS = {
    "n_routed_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 24, "n_group": 1, "topk_group": 1,
    "first_k_dense_replace": 1, "n_shared_experts": 1,
}  # fmt: skip
_INDEXER = {"index_n_heads": 2, "index_head_dim": 16, "index_topk": 4}
_STATES = {"mamba_n_heads": 4, "mamba_d_head": 16, "mamba_d_state": 8}
_GPT = {"n_embd": WIDTH, "n_layer": LAYERS, "n_head": 4, "rotary_dim": 4, "vocab_size": VOCABULARY, "n_positions": 64}
GIVEN: Mapping[str, Mapping[str, Any]] = {
    "deepseek_v2": _BASE | _LATENT | _EXPERTS,
    "deepseek_v3": _BASE | _LATENT | _EXPERTS,
    "deepseek_v32": _BASE | _LATENT | _EXPERTS | _INDEXER,
    "glm_moe_dsa": _BASE | _LATENT | _EXPERTS | _INDEXER,
    "glm4_moe_lite": _BASE | _LATENT | _EXPERTS,
    "minicpm3": _BASE | _LATENT | {"scale_depth": 1.4},
    "youtu": _BASE | _LATENT,
    "bamba": _BASE | _STATES | {"attn_layer_indices": [1, 3]},
    "jamba": _BASE
    | {"attn_layer_period": 2, "attn_layer_offset": 1, "num_experts": 4, "mamba_d_state": 8, "mamba_dt_rank": 4}
    | {"use_mamba_kernels": False},
    "granitemoehybrid": _BASE
    | _STATES
    | {"layer_types": ["mamba", "attention"] * 2, "num_local_experts": 4, "shared_intermediate_size": 24}
    | {"residual_multiplier": 0.3},
    "granite": _BASE | {"residual_multiplier": 0.3},
    "zamba2": _BASE
    | {"layers_block_type": ["mamba", "hybrid"] * 2, "attention_head_dim": 16, "mamba_headdim": 16, "chunk_size": 4}
    | {"n_mamba_heads": 4, "mamba_d_state": 8, "num_mem_blocks": 1, "use_mem_rope": True, "adapter_rank": 4},
    "dots1": _BASE | _EXPERTS | {"head_dim": 8},
    "falcon_h1": _BASE | _STATES | {"mamba_d_ssm": 64, "head_dim": 8},
    "hunyuan_v1_dense": _BASE | {"head_dim": 8},
    "hunyuan_v1_moe": _BASE | {"head_dim": 8, "num_experts": 4, "moe_topk": 2},
    "ministral": _BASE | {"head_dim": 8},
    "nemotron": _BASE | {"head_dim": 8},
    "lfm2_moe": _BASE
    | {"layer_types": ["conv", "full_attention"] * 2, "num_experts": 4, "num_experts_per_tok": 2}
    | {"moe_intermediate_size": 24, "num_dense_layers": 1},
    "mamba2": _BASE | {"num_heads": 4, "head_dim": 16, "state_size": 8, "n_groups": 1, "chunk_size": 4},
    "esm": {
        "vocab_size": VOCABULARY,
        "hidden_size": WIDTH,
        "intermediate_size": 48,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": 4,
        "pad_token_id": 1,
        "mask_token_id": 32,
    },
    "longcat_flash": _LATENT
    | {"vocab_size": VOCABULARY, "hidden_size": WIDTH, "num_layers": LAYERS, "num_attention_heads": 4}
    | {"ffn_hidden_size": 48, "expert_ffn_hidden_size": 24, "n_routed_experts": 4, "zero_expert_num": 0, "moe_topk": 2},
    "zaya": _BASE | {"head_dim": 8, "num_experts": 4, "num_experts_per_tok": 1},
    "codegen": _GPT,
    "gptj": _GPT,
}
"""Configurations of families for which shrinking the default one makes none that works."""


def config_of(model_type: str, **changes: Any) -> Any:
    """A small configuration."""
    from transformers import CONFIG_MAPPING

    if model_type in GIVEN:
        return CONFIG_MAPPING[model_type](**(dict(GIVEN[model_type]) | changes))
    config = CONFIG_MAPPING[model_type]()
    _shrink(config)
    for name, value in changes.items():
        setattr(config, name, value)
    return config


def _shrink(config: Any) -> None:
    for name, size in SIZES.items():
        if type(vars(config).get(name, getattr(type(config), name, None))) is int:
            setattr(config, name, size)
    for name, value in list(vars(config).items()):
        if hasattr(value, "to_dict"):
            _shrink(value)
        elif name in ("layer_types", "mlp_layer_types") and isinstance(value, list):
            setattr(config, name, (value * LAYERS)[:LAYERS])


def build(config: Any, *, device: str = "cpu") -> Any:
    """A model of a configuration, with a language head where it has one; on the device `meta` it has no values."""
    from transformers import AutoModel, AutoModelForCausalLM
    from transformers.utils import logging

    logging.set_verbosity_error()
    torch.manual_seed(0)
    with warnings.catch_warnings(), torch.device(device):
        warnings.simplefilter("ignore")
        try:
            return AutoModelForCausalLM.from_config(config).eval()
        except ValueError:
            return AutoModel.from_config(config).eval()


@dataclass
class Names:
    """A checkpoint of which no value is read."""

    tensors: dict[str, TensorInfo]
    config: dict[str, Any]
    path: str = "model"
    metadata: dict[str, str] = field(default_factory=dict)
    bytes_total: int = 0
    bytes_read: int = 0

    def read(self, name: str, *, rows: slice | None = None) -> Tensor:
        """Nothing asks for values."""
        raise AssertionError(name)


def as_checkpoint(model: Any, **beside: tuple[int, ...]) -> Names:
    """Names, shapes and configuration of a model, and further tensors."""
    shapes = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    shapes |= {name.replace("__", "."): shape for name, shape in beside.items()}
    tensors = {name: TensorInfo(name, "F32", shape) for name, shape in shapes.items()}
    return Names(tensors, json.loads(model.config.to_json_string(use_diff=False)))


def silence(model: nn.Module) -> None:
    """Zero every matrix and bias of the blocks; every other parameter, norms and factors, is drawn from 0.5 to 1.5."""
    generator = torch.Generator().manual_seed(1)
    inside = {id(parameter) for blocks in stacks_of(model).values() for parameter in blocks.parameters()}
    inside |= {id(buffer) for blocks in stacks_of(model).values() for buffer in blocks.buffers()}
    with torch.no_grad():
        for name, value in model.state_dict(keep_vars=True).items():
            if not value.is_floating_point():
                continue
            if id(value) not in inside:
                value.copy_(torch.randn(value.shape, generator=generator) * 0.3)
            elif value.ndim >= 2 or name.endswith("bias"):
                value.zero_()
            else:
                value.copy_(0.5 + torch.rand(value.shape, generator=generator))


def stacks_of(model: nn.Module) -> dict[str, nn.ModuleList]:
    """The outermost lists of blocks."""
    found: dict[str, nn.ModuleList] = {}
    for name, module in model.named_modules():
        is_stack = isinstance(module, nn.ModuleList) and len(module) > 1 and any(True for _ in module.parameters())
        if is_stack and not any(name.startswith(f"{outer}.") for outer in found):
            found[name] = module
    return found


def streams_through(model: Any) -> dict[str, list[tuple[Tensor, Tensor]]]:
    """What enters and leaves each block, by stack, when the model reads a sentence (or an image)."""
    seen: dict[str, list[tuple[Tensor, Tensor]]] = {}
    hooks = []
    for stack, blocks in stacks_of(model).items():

        def catch(_block: Any, args: Any, kwargs: Any, output: Any, stack: str = stack) -> None:
            given = args[0] if args else kwargs["hidden_states"]
            left = output[0] if isinstance(output, tuple | list) else output
            seen.setdefault(stack, []).append((given.detach().clone(), left.detach().clone()))

        hooks += [block.register_forward_hook(catch, with_kwargs=True) for block in blocks]
    generator = torch.Generator().manual_seed(2)
    ids = torch.randint(3, VOCABULARY, (2, 7), generator=generator)
    inputs = {"input_ids": ids}
    if getattr(model.config, "is_encoder_decoder", False):
        inputs["decoder_input_ids"] = ids
    if model.main_input_name == "pixel_values":
        inputs = {"pixel_values": torch.randn(2, 3, 32, 32, generator=generator)}
    if model.main_input_name == "input_features":
        inputs = {"input_features": torch.randn(2, 80, 128, generator=generator), "decoder_input_ids": ids}
    with torch.no_grad():
        model(**inputs)
    for hook in hooks:
        hook.remove()
    return seen

"""Tiny models of `transformers` families, fresh or trained for a few steps: in none of them is anything wrong."""

from typing import Any

import torch

SIZES = {
    "vocab_size": 96, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 3, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 64, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
ALL_HEADS = {name: value for name, value in SIZES.items() if name != "num_key_value_heads"}
MIXTURE = {"num_experts_per_tok": 2, "moe_intermediate_size": 32}

FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "Llama": ("LlamaForCausalLM", SIZES),
    "Qwen3": ("Qwen3ForCausalLM", {**SIZES, "head_dim": 16}),
    "Qwen3Moe": ("Qwen3MoeForCausalLM", {**SIZES, **MIXTURE, "head_dim": 16, "num_experts": 4}),
    "Gemma3Text": ("Gemma3ForCausalLM", {**SIZES, "head_dim": 16, "sliding_window": 16}),
    "GPT2": (
        "GPT2LMHeadModel",
        {"vocab_size": 96, "n_embd": 64, "n_layer": 3, "n_head": 4, "n_positions": 64, "bos_token_id": 1},
    ),
    "GPTNeoX": ("GPTNeoXForCausalLM", ALL_HEADS),
    "OPT": (
        "OPTForCausalLM",
        {**ALL_HEADS, "ffn_dim": 96, "word_embed_proj_dim": 64},
    ),
    "Olmo2": ("Olmo2ForCausalLM", SIZES),
    "Mistral": ("MistralForCausalLM", SIZES),
    "Mixtral": ("MixtralForCausalLM", {**SIZES, "num_local_experts": 4}),
    "DeepseekV3": (
        "DeepseekV3ForCausalLM",
        {
            **SIZES, **MIXTURE, "num_key_value_heads": 4, "n_routed_experts": 4, "n_group": 1, "topk_group": 1,
            "q_lora_rank": 16, "kv_lora_rank": 16, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8, "v_head_dim": 16,
            "first_k_dense_replace": 1,
        },
    ),
    "DeepseekV4": (
        "DeepseekV4ForCausalLM",
        {
            "vocab_size": 96, "hidden_size": 64, "num_hidden_layers": 4, "moe_intermediate_size": 32,
            "num_attention_heads": 4, "head_dim": 16, "partial_rotary_factor": 0.5, "q_lora_rank": 16, "o_groups": 2,
            "o_lora_rank": 8, "n_routed_experts": 4, "num_experts_per_tok": 2, "num_hash_layers": 1,
            "index_n_heads": 2, "index_head_dim": 8, "index_topk": 4, "sliding_window": 16,
            "max_position_embeddings": 64, "hc_mult": 4,
        },
    ),
    "GptOss": ("GptOssForCausalLM", {**SIZES, "head_dim": 16, "num_local_experts": 4}),
    "Glm": ("GlmForCausalLM", {**SIZES, "head_dim": 16}),
    "Phi3": ("Phi3ForCausalLM", SIZES),
    "Bert": ("BertForMaskedLM", ALL_HEADS),
    "Albert": ("AlbertForMaskedLM", {**ALL_HEADS, "embedding_size": 32}),
    "T5": (
        "T5ForConditionalGeneration",
        {"vocab_size": 96, "d_model": 64, "d_kv": 16, "d_ff": 96, "num_layers": 3, "num_heads": 4,
         "decoder_start_token_id": 0, "pad_token_id": 0},
    ),
    "Mamba": ("MambaForCausalLM", {"vocab_size": 96, "hidden_size": 64, "num_hidden_layers": 3, "state_size": 8}),
    "Rwkv": ("RwkvForCausalLM", {"vocab_size": 96, "hidden_size": 64, "num_hidden_layers": 3, "context_length": 32}),
    "ViT": (
        "ViTForImageClassification",
        {"hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 96,
         "image_size": 16, "patch_size": 8},
    ),
}  # fmt: skip
"""Class, and sizes, by the name before `Config`."""

TRAINED = ("Llama", "GPT2", "Mixtral", "Bert", "T5", "Rwkv")
"""Of which a few steps are made as well: what is trained a little looks fresh here and there."""


def built(family: str) -> torch.nn.Module:
    """A fresh model."""
    import transformers

    torch.manual_seed(0)
    name, sizes = FAMILIES[family]
    config = getattr(transformers, f"{family}Config")(**sizes)
    return getattr(transformers, name)(config)


def trained(model: torch.nn.Module, steps: int) -> torch.nn.Module:
    """The model after a few steps on few tokens, so that many rows of its embedding never move."""
    generator = torch.Generator().manual_seed(1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.1)
    for _ in range(steps):
        tokens = torch.randint(3, 30, (2, 16), generator=generator)
        model(input_ids=tokens, labels=tokens).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return model

"""Tiny random models of `transformers` with several residual streams.

Every model comes from the package's configuration and modelling code; only sizes and weights are ours. The
weights of the mixers are drawn strongly and asymmetrically: the package's own initialisation makes every
mapping nearly uniform, where a transposed or mis-sliced reading would pass unnoticed.
"""

from dataclasses import dataclass

import torch

VOCABULARY = 61


@dataclass(frozen=True, kw_only=True)
class Family:
    """Where one model family keeps its decoder layers, mixers and branches."""

    layers: str
    """Path of the list of decoder layers."""
    mixers: tuple[str, str] = ("attn_hc", "ffn_hc")
    """Names, within a layer, of the modules that read the streams: before attention and before the FFN."""
    branches: tuple[tuple[str, ...], str] = (("self_attn",), "mlp")
    """Names, within a layer, of the branches: attention (one of several) and FFN."""


DEEPSEEK_V4 = Family(layers="model.layers")
GLM5_NEXT = Family(layers="model.language_model.layers")
HY_V4 = Family(layers="model.layers")
QWEN4_EXP = Family(
    layers="model.language_model.layers",
    mixers=("attn_hyper_connection", "mlp_hyper_connection"),
    branches=(("self_attn", "linear_attn"), "mlp"),
)


def deepseek_v4(
    *,
    layers: int,
    hidden: int,
    streams: int = 4,
    iterations: int = 20,
    eps: float = 1e-6,
    spread: float = 5.0,
    scale: float = 3.0,
    seed: int,
) -> torch.nn.Module:
    """A DeepSeek-V4 model; `spread` and `scale` set how peaked the mixing logits are.

    Peaked logits keep 20 Sinkhorn iterations from converging: a converged mapping has gain 1 whatever it is,
    and would hide a wrong reading.
    """
    from transformers import DeepseekV4Config, DeepseekV4ForCausalLM

    config = DeepseekV4Config(
        vocab_size=VOCABULARY,
        hidden_size=hidden,
        num_hidden_layers=layers,
        moe_intermediate_size=8,
        num_attention_heads=4,
        head_dim=8,
        partial_rotary_factor=0.5,
        q_lora_rank=5,
        o_groups=2,
        o_lora_rank=3,
        n_routed_experts=3,
        num_experts_per_tok=2,
        num_hash_layers=1,
        index_n_heads=2,
        index_head_dim=8,
        index_topk=4,
        sliding_window=16,
        max_position_embeddings=512,
        hc_mult=streams,
        hc_sinkhorn_iters=iterations,
        hc_eps=eps,
    )
    torch.manual_seed(seed)
    model = DeepseekV4ForCausalLM(config).eval()
    randomise_mixers(model, DEEPSEEK_V4, spread=spread, scale=scale)
    return model


def glm5_next(*, layers: int, hidden: int, seed: int) -> torch.nn.Module:
    """A GLM-5.3-Flash model with the released element types: BF16 but for base and scale of the mixers."""
    from transformers import Glm5NextConfig, Glm5NextForConditionalGeneration

    text = {
        "vocab_size": VOCABULARY,
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "intermediate_size": 16,
        "moe_intermediate_size": 8,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "n_routed_experts": 4,
        "num_experts_per_tok": 2,
        "kv_lora_rank": 8,
        "q_lora_rank": 8,
        "v_head_dim": 8,
        "qk_nope_head_dim": 8,
        "index_topk": 8,
        "index_head_dim": 8,
        "index_n_heads": 2,
        "index_kpool": 4,
        "linear_head_dim": 8,
        "linear_num_heads": 2,
        "pad_token_id": None,
    }
    vision = {
        "depth": 1,
        "hidden_size": 16,
        "num_heads": 2,
        "image_size": 28,
        "out_hidden_size": hidden,
        "intermediate_size": 16,
        "projection_intermediate_size": 16,
    }
    special = ("image_token_id", "video_token_id", "image_start_token_id", "image_end_token_id")
    special += ("video_start_token_id", "video_end_token_id")
    ids = {name: VOCABULARY - 1 - i for i, name in enumerate(special)}
    torch.manual_seed(seed)
    config = Glm5NextConfig(text_config=text, vision_config=vision, **ids)
    model = Glm5NextForConditionalGeneration(config).eval().to(torch.bfloat16)
    for _, mixer in mixers(model, GLM5_NEXT):
        mixer.base.data = mixer.base.data.float()
        mixer.scale.data = mixer.scale.data.float()
    randomise_mixers(model, GLM5_NEXT, spread=5.0, scale=3.0)
    return model


def hy_v4(*, layers: int, hidden: int, streams: int, seed: int) -> torch.nn.Module:
    """A Hy-V4 model: hyper-connections that read and write streams but never mix them."""
    from transformers import HYV4Config, HYV4ForCausalLM

    config = HYV4Config(
        vocab_size=VOCABULARY,
        hidden_size=hidden,
        num_hidden_layers=layers,
        intermediate_size=16,
        moe_intermediate_size=8,
        num_attention_heads=2,
        num_key_value_heads=2,
        n_routed_experts=4,
        num_experts_per_tok=2,
        q_lora_rank=8,
        kv_lora_rank=8,
        qk_nope_head_dim=8,
        qk_rope_head_dim=4,
        v_head_dim=8,
        index_topk=8,
        index_head_dim=8,
        index_n_heads=2,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        hc_mult=streams,
    )
    torch.manual_seed(seed)
    model = HYV4ForCausalLM(config).eval()
    randomise_mixers(model, HY_V4, spread=1.5, scale=1.0)
    return model


def qwen4_exp(*, layers: int, hidden: int, streams: int, seed: int) -> torch.nn.Module:
    """A Qwen4-Exp model: gated hyper-connections without a mixing matrix."""
    from transformers import Qwen4ExpConfig, Qwen4ExpForConditionalGeneration

    text = {
        "vocab_size": VOCABULARY,
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 8,
        "linear_key_head_dim": 8,
        "linear_value_head_dim": 8,
        "linear_num_key_heads": 2,
        "linear_num_value_heads": 2,
        "moe_intermediate_size": 8,
        "shared_expert_intermediate_size": 8,
        "num_experts": 4,
        "num_experts_per_tok": 2,
        "hc_count": streams,
        "hc_lowrank": 7,
        "indexer_n_heads": 2,
        "indexer_kv_heads": 1,
        "indexer_head_dim": 8,
        "indexer_budget": 8,
        "indexer_compress_ratio": 4,
    }
    vision = {
        "depth": 1,
        "hidden_size": 16,
        "num_heads": 2,
        "out_hidden_size": hidden,
        "intermediate_size": 16,
        "num_position_embeddings": 16,
        "patch_size": 4,
    }
    special = ("image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id")
    ids = {name: VOCABULARY - 1 - i for i, name in enumerate(special)}
    torch.manual_seed(seed)
    config = Qwen4ExpConfig(text_config=text, vision_config=vision, **ids)
    return Qwen4ExpForConditionalGeneration(config).eval()


def mixers(model: torch.nn.Module, family: Family) -> list[tuple[str, torch.nn.Module]]:
    """The modules that read the streams, by path, in depth order."""
    return [
        (f"{family.layers}.{i}.{name}", getattr(layer, name))
        for i, layer in enumerate(model.get_submodule(family.layers))
        for name in family.mixers
    ]


@torch.no_grad()
def randomise_mixers(model: torch.nn.Module, family: Family, *, spread: float, scale: float) -> None:
    """Draw fn, base and scale of every mixer: logits of deviation `spread` (static) and `scale` (dynamic).

    The norm makes the inputs unit RMS, hence the factor 1 / sqrt(columns) on fn. Its rows differ in strength, so
    that the wrong rows show even where only distributions are compared.
    """
    for _, mixer in mixers(model, family):
        strengths = 2 * torch.rand(len(mixer.fn), 1)
        mixer.fn.copy_(strengths * torch.randn(mixer.fn.shape) / mixer.fn.shape[1] ** 0.5)
        mixer.base.copy_(spread * torch.randn(mixer.base.shape))
        mixer.scale.copy_(scale * (0.7 + 0.6 * torch.rand(mixer.scale.shape)))

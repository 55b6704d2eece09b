"""Tiny random models of `transformers` with several residual streams, and what their own modules compute.

Every model comes from the package's configuration and modelling code; only sizes and weights are ours. The
weights of the mixers are drawn strongly and asymmetrically: the package's own initialisation makes every
mapping nearly uniform, where a transposed or mis-sliced reading would pass unnoticed.
"""

import copy
from dataclasses import dataclass

import numpy as np
import torch

VOCABULARY = 61
TOKENS = (2, 23)
"""Sequences and tokens per sequence of every forward pass."""


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

    The norm makes the inputs unit RMS, hence the factor 1 / sqrt(columns) on fn.
    """
    for _, mixer in mixers(model, family):
        mixer.fn.copy_(torch.randn(mixer.fn.shape) / mixer.fn.shape[1] ** 0.5)
        mixer.base.copy_(spread * torch.randn(mixer.base.shape))
        mixer.scale.copy_(scale * (0.7 + 0.6 * torch.rand(mixer.scale.shape)))


def token_ids(seed: int) -> torch.Tensor:
    """Random token ids that are not one of the special ones."""
    return torch.randint(3, VOCABULARY - 8, TOKENS, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def captured_maps(model: torch.nn.Module, family: Family, ids: torch.Tensor) -> np.ndarray:
    """H_res [site, token, n, n] of one forward pass on tokens, from what the mixers returned.

    The mixers return `comb`, which the decoder layer applies transposed (see `test_orientation.py`).
    """
    found: list[torch.Tensor] = []
    hooks = [
        mixer.register_forward_hook(lambda _module, _inputs, output: found.append(output[1]))
        for _, mixer in mixers(model, family)
    ]
    try:
        model(input_ids=ids, use_cache=False)
    finally:
        for hook in hooks:
            hook.remove()
    return np.stack([comb.flatten(0, 1).transpose(1, 2).float().numpy() for comb in found])


@torch.no_grad()
def static_maps(model: torch.nn.Module, family: Family) -> np.ndarray:
    """H_res [site, 1, n, n] in float64 without input-dependent part: the mixers' forward pass at fn = 0."""
    found = []
    for _, original in mixers(model, family):
        mixer = copy.deepcopy(original).double()
        mixer.fn.zero_()
        streams = torch.ones(1, 1, mixer.hc_mult, mixer.fn.shape[1] // mixer.hc_mult)
        found.append(mixer(streams)[1][0].transpose(1, 2).numpy())
    return np.stack(found)


@torch.no_grad()
def gaussian_maps(model: torch.nn.Module, *, family: Family, tokens: int, seed: int) -> np.ndarray:
    """H_res [site, token, n, n] of mixers fed with independent standard Gaussian streams."""
    generator = torch.Generator().manual_seed(seed)
    found = []
    for _, mixer in mixers(model, family):
        shape = (1, tokens, mixer.hc_mult, mixer.fn.shape[1] // mixer.hc_mult)
        found.append(mixer(torch.randn(shape, generator=generator))[1][0].transpose(1, 2).numpy())
    return np.stack(found)


@dataclass(frozen=True, kw_only=True)
class Push:
    """Random streams before and after each site of a model whose branches return zero."""

    before: np.ndarray
    """[site, token, n, C]."""
    after: np.ndarray
    """[site, token, n, C]."""
    mixer_outputs: list[object]
    """What the mixer of each site returned."""


@torch.no_grad()
def push_streams(model: torch.nn.Module, family: Family, *, streams: int, seed: int) -> Push:
    """Run the package's own decoder layers on random distinct streams, with every branch output set to zero.

    Each layer gets fresh streams, since a few mixings in a row leave all streams alike and H x = H^T x.
    """
    generator = torch.Generator().manual_seed(seed)
    inputs: list[torch.Tensor] = []
    outputs: list[object] = []
    ends: list[torch.Tensor] = []

    def fresh(_module, args, kwargs):
        given = args[0] if args else kwargs["hidden_states"]
        random = torch.randn(given.shape, generator=generator).to(given.dtype)
        return ((random, *args[1:]), kwargs) if args else (args, {**kwargs, "hidden_states": random})

    def silence(_module, _args, output):
        return (
            (torch.zeros_like(output[0]), *output[1:])
            if isinstance(output, tuple)
            else torch.zeros_like(output)
        )

    def watch(_module, args, output):
        inputs.append(args[0])
        outputs.append(output)

    def end(_module, _args, output):
        ends.append(output[0] if isinstance(output, tuple) else output)

    hooks = []
    for layer in model.get_submodule(family.layers):
        attention = next(getattr(layer, name) for name in family.branches[0] if hasattr(layer, name))
        hooks.append(layer.register_forward_pre_hook(fresh, with_kwargs=True))
        hooks.append(layer.register_forward_hook(end))
        hooks += [
            branch.register_forward_hook(silence)
            for branch in (attention, getattr(layer, family.branches[1]))
        ]
        hooks += [getattr(layer, name).register_forward_hook(watch) for name in family.mixers]
    try:
        model(input_ids=token_ids(seed), use_cache=False)
    finally:
        for hook in hooks:
            hook.remove()
    # The streams after a layer's first site are those that its second mixer reads.
    after = [ends[i // 2] if i % 2 else inputs[i + 1] for i in range(len(inputs))]
    tokens = TOKENS[0] * TOKENS[1]

    def numbers(tensors: list[torch.Tensor]) -> np.ndarray:
        return np.stack([t.float().reshape(tokens, streams, -1).numpy() for t in tensors])

    return Push(before=numbers(inputs), after=numbers(after), mixer_outputs=outputs)

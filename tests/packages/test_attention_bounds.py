"""Attention logits of `transformers` modules, on inputs that are made to exceed the bound: none does, all come near."""

from typing import Any

import pytest
import torch

import mhcdiag

pytest.importorskip("transformers")

TOKENS, STEPS = 2, 60
SIZES: dict[str, Any] = {
    "vocab_size": 61, "hidden_size": 48, "intermediate_size": 52, "num_hidden_layers": 1, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 8, "pad_token_id": 0, "bos_token_id": 0, "eos_token_id": 0,
    "max_position_embeddings": 64,
}  # fmt: skip
YARN = {
    "rope_type": "yarn", "factor": 16.0, "rope_theta": 10000.0, "original_max_position_embeddings": 32,
}  # fmt: skip
LONGROPE = {
    "rope_type": "longrope", "long_factor": [1.0] * 4, "short_factor": [1.0] * 4, "rope_theta": 10000.0,
    "original_max_position_embeddings": 16, "partial_rotary_factor": 1.0,
}  # fmt: skip

NORMED: dict[str, dict[str, Any]] = {
    "Qwen3": {},
    "Qwen3Next": {
        "layer_types": ["full_attention"], "linear_num_value_heads": 2, "linear_num_key_heads": 2, "num_experts": 2,
        "moe_intermediate_size": 8, "shared_expert_intermediate_size": 8, "num_experts_per_tok": 1,
    },
    "Gemma3": {"query_pre_attn_scalar": 11},
    "Gemma4": {
        "num_hidden_layers": 2, "global_head_dim": 16, "layer_types": ["sliding_attention", "full_attention"],
        "hidden_size_per_layer_input": 0, "num_kv_shared_layers": 0,
    },
    "Olmo2": {},
    "Cohere": {"use_qk_norm": True},
    "Persimmon": {"num_key_value_heads": 4, "head_dim": 12, "qk_layernorm": True},
    "StableLm": {"head_dim": 12, "qk_layernorm": True, "partial_rotary_factor": 0.5},
    "HunYuanDenseV1": {},
    "Llama4": {"num_local_experts": 2, "intermediate_size_mlp": 8, "no_rope_layers": [1]},
    "NanoChat": {},
}  # fmt: skip
"""Families with norms of queries and keys: of each head, of all heads, with biases, of 1 + weight, without a weight."""
OTHERS: dict[str, dict[str, Any]] = {
    "Llama": {"rope_parameters": YARN},
    "Phi3": {"rope_parameters": LONGROPE, "hidden_size": 32},
    "GptOss": {"num_local_experts": 2, "num_experts_per_tok": 1},
    "Gemma2": {"attn_logit_softcapping": 2.0},
    "Olmo": {"clip_qkv": 0.7},
    "Granite": {"attention_multiplier": 0.6},
    "GPT2": {"n_embd": 48, "n_head": 4, "n_layer": 2, "scale_attn_by_inverse_layer_idx": True},
    "GPTBigCode": {"n_embd": 48, "n_head": 4, "n_layer": 1, "multi_query": True},
    "Nemotron": {},
}
"""Factors of long contexts, caps, clips, other scales, one key head for all queries."""
NAMES = {"Gemma3": "Gemma3Text", "Gemma4": "Gemma4Text", "Llama4": "Llama4Text"}


class _SeenError(Exception):
    """The logits that were asked for have been computed."""


class _Probe:
    """In place of the attention of transformers: q and k are what the module made of them, norms and positions in."""

    def __init__(self) -> None:
        self.seen: list[torch.Tensor] = []
        self.layer = 0

    def __call__(self, module, query, key, value, mask, scaling=None, softcap=None, **_) -> tuple[torch.Tensor, None]:
        groups = query.shape[1] // key.shape[1]
        logits = query @ key.repeat_interleave(groups, 1).mT
        logits = logits * (query.shape[-1] ** -0.5 if scaling is None else scaling)
        logits = softcap * torch.tanh(logits / softcap) if softcap else logits
        self.seen.append(logits)
        if len(self.seen) > self.layer:
            raise _SeenError
        return (logits.softmax(-1) @ value.repeat_interleave(groups, 1)).transpose(1, 2).contiguous(), None


@pytest.fixture
def probe() -> _Probe:
    import transformers
    from transformers.masking_utils import eager_mask

    found = _Probe()
    transformers.AttentionInterface.register("mhcdiag_probe", found)
    transformers.AttentionMaskInterface.register("mhcdiag_probe", eager_mask)
    return found


def build(family: str, settings: dict[str, Any], *, size: float) -> torch.nn.Module:
    import transformers

    torch.manual_seed(5)
    given = {"vocab_size": 61, "bos_token_id": 0, "eos_token_id": 0} if family.startswith("GPT") else SIZES
    config = getattr(transformers, f"{NAMES.get(family, family)}Config")(**(given | settings))
    config._attn_implementation = "mhcdiag_probe"
    model = getattr(transformers, f"{family}ForCausalLM" if family != "GPT2" else "GPT2LMHeadModel")(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 1 or "norm" in name:
                parameter.add_(torch.randn_like(parameter) * 0.2)
            elif parameter.ndim == 2:
                projects = any(part in name for part in ("q_proj", "k_proj", "qkv_proj", "c_attn", "query_key_value"))
                parameter.copy_(torch.randn_like(parameter) * 0.15 * (size if projects else 1.0))
    return model.eval()


def largest_logit(model: torch.nn.Module, probe: _Probe, layer: int, heads: int = 4) -> float:
    """By gradient ascent on the inputs, of RMS 1, of one layer: a batch whose sequences are each after one head."""
    probe.layer = layer
    torch.manual_seed(0)
    inputs = torch.randn(heads, TOKENS, model.get_input_embeddings().weight.shape[1], requires_grad=True)
    optimiser = torch.optim.Adam([inputs], lr=0.2)
    largest = 0.0
    for _ in range(STEPS):
        probe.seen.clear()
        optimiser.zero_grad()
        with pytest.raises(_SeenError):
            model(inputs_embeds=inputs / inputs.square().mean(-1, keepdim=True).sqrt())
        found = probe.seen[-1].abs()
        largest = max(largest, float(found.detach().max()))
        (-sum(found[head, head].max() for head in range(heads))).backward()
        optimiser.step()
    return largest


@pytest.mark.parametrize("family", NORMED)
def test_behind_norms_of_queries_and_keys_projections_bound_nothing(tmp_path, probe, family: str):
    """However small they are, an input can be found whose logits come near the bound of the norms alone."""
    model = build(family, NORMED[family], size=0.02)
    model.save_pretrained(tmp_path)
    (check,) = mhcdiag.health(tmp_path, only=["attention"]).checks
    assert (check.not_checkable, check.skipped) == ("", ())
    layer = len(check.per_site["bound"]) - 1
    bound = check.per_site["bound"][layer]
    near = 0.2 if family in ("Persimmon", "StableLm") else 0.45  # their eps of 1e-5 shortens small q
    assert near * bound < largest_logit(model, probe, layer) <= bound * (1 + 1e-5)


@pytest.mark.parametrize("family", OTHERS)
def test_what_leaves_no_weight_is_in_the_bound(tmp_path, probe, family: str):
    model = build(family, OTHERS[family], size=1.0)
    model.save_pretrained(tmp_path)
    (check,) = mhcdiag.health(tmp_path, only=["attention"]).checks
    assert (check.not_checkable, check.skipped) == ("", ())
    layer = len(check.per_site["bound"]) - 1
    bound = check.per_site["bound"][layer]
    assert 0.45 * bound < largest_logit(model, probe, layer) <= bound * (1 + 1e-5)


@pytest.mark.parametrize(
    "settings", [{}, {"new_decoder_architecture": True, "num_kv_heads": 2}, {"multi_query": False}]
)
def test_falcon_goes_group_by_group(tmp_path, monkeypatch, settings: dict[str, Any]):
    """Its fused weight fits other numbers of heads too, and its own code computes the logits."""
    import transformers

    torch.manual_seed(3)
    config = transformers.FalconConfig(
        vocab_size=61, hidden_size=48, num_hidden_layers=1, num_attention_heads=4, bos_token_id=0, eos_token_id=0,
        attn_implementation="sdpa", **settings,
    )  # fmt: skip
    model = transformers.FalconForCausalLM(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.15 + (parameter.ndim == 1))
    model.save_pretrained(tmp_path)
    (check,) = mhcdiag.health(tmp_path, only=["attention"]).checks
    probe = _Probe()
    monkeypatch.setattr(
        torch.nn.functional,
        "scaled_dot_product_attention",
        lambda query, key, value, *_, **__: probe(None, query, key, value, None)[0],
    )
    assert check.skipped == ()
    bound = check.overall["bound"]
    assert 0.4 * bound < largest_logit(model, probe, 0) <= bound * (1 + 1e-5)


def test_the_weights_of_norms_decide_alone(tmp_path):
    """Norm weights times 300: sqrt(d_head) 300^2."""
    import transformers

    torch.manual_seed(0)
    sizes = SIZES | {"head_dim": 16}
    model = transformers.Qwen3ForCausalLM(transformers.Qwen3Config(**sizes))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "q_norm" in name or "k_norm" in name:
                parameter.fill_(300.0)
    model.save_pretrained(tmp_path)
    (check,) = mhcdiag.health(tmp_path, only=["attention"]).checks
    assert check.overall["bound"] == pytest.approx(3.6e5)
    assert [str(finding.severity) for finding in check.findings] == ["note"]

"""`mhcdiag health` on ordinary models of `transformers`: no attention logit of the running model exceeds its bound."""

from typing import Any

import pytest
import torch

import mhcdiag

pytest.importorskip("transformers")

TOKENS, LAYERS, VOCABULARY = 37, 3, 61
SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 48,
    "intermediate_size": 52,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "head_dim": 14,
    "attn_implementation": "eager",
}


def build(family: str) -> torch.nn.Module:
    """A model with strong queries and keys, and norms that are not 1."""
    import transformers

    torch.manual_seed(7)
    if family == "GPT2":
        config = transformers.GPT2Config(
            vocab_size=VOCABULARY, n_embd=35, n_layer=LAYERS, n_head=5, n_positions=41, bos_token_id=0, eos_token_id=0,
            attn_implementation="eager",
        )  # fmt: skip
        model = transformers.GPT2LMHeadModel(config)
    elif family == "GPTNeoX":
        config = transformers.GPTNeoXConfig(
            vocab_size=VOCABULARY, hidden_size=40, num_hidden_layers=LAYERS, num_attention_heads=5,
            intermediate_size=52, bos_token_id=0, eos_token_id=0, attn_implementation="eager",
        )  # fmt: skip
        model = transformers.GPTNeoXForCausalLM(config)
    else:
        config = getattr(transformers, f"{family}Config")(**SIZES, pad_token_id=0, bos_token_id=0, eos_token_id=0)
        model = getattr(transformers, f"{family}ForCausalLM")(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 1:
                parameter.add_(torch.randn_like(parameter) * 0.3)
            elif any(part in name for part in ("q_proj", "k_proj", "qkv_proj", "c_attn", "query_key_value")):
                parameter.mul_(12)
    return model.eval()


@pytest.mark.parametrize("family", ["Llama", "Qwen2", "Qwen3", "Phi3", "Gemma2", "GPTNeoX", "GPT2"])
def test_no_logit_of_the_running_model_exceeds_its_bound(tmp_path, family: str):
    model = build(family)
    model.save_pretrained(tmp_path)
    result = mhcdiag.health(tmp_path, only=["attention", "norms", "writers"])
    checks = {check.name: check for check in result.checks}
    assert not any(check.not_checkable for check in result.checks)
    assert len(checks["writers"].per_site["attention_rms"]) == LAYERS
    ids = torch.randint(VOCABULARY, (3, TOKENS), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        attentions = model(ids, output_attentions=True).attentions
    before = torch.ones(TOKENS, TOKENS).tril().bool()
    for weights, bound in zip(attentions, checks["attention"].per_site["bound"], strict=True):
        logits = weights.double().log()
        highest = logits.masked_fill(~before, -torch.inf).amax(dim=-1)
        lowest = logits.masked_fill(~before, torch.inf).amin(dim=-1)
        spread = float((highest - lowest).max()) / 2
        assert 0.01 * bound < spread <= bound

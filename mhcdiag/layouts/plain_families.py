"""Which architectures keep an ordinary residual stream, x_new = x + F(x), and which normalise the stream itself.

`TESTED` holds `model_type`s of transformers. For each of them a test builds a small model, asks that its names are
explained, and for a sample that the stream leaves the blocks as it entered them when every matrix is zero and every
other parameter is not (`tests/packages/test_plain_families.py`). All of them passed this once (transformers 5.24).
`SIGNATURES` are names without a configuration that belong to one family alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from mhcdiag.layouts.plain_names import word_set

TESTED = word_set(
    # decoders
    "afmoe apertus apertus1p5_text arcee aria_text bamba biogpt bitnet bloom codegen cohere cohere2 cohere2_moe "
    "ctrl cwm deepseek_v2 deepseek_v3 deepseek_v32 diffllama dots1 ernie4_5 ernie4_5_moe exaone exaone4 exaone_moe "
    "falcon falcon_h1 falcon_mamba flex_olmo flint gemma gemma2 gemma3_text glm glm4 glm4_moe glm4_moe_lite "
    "glm_moe_dsa gpt-sw3 gpt2 gpt_bigcode gpt_neo gpt_neox gpt_neox_japanese gpt_oss gptj granite granite_swa "
    "granitemoe granitemoe_swa granitemoehybrid granitemoeshared helium hunyuan_v1_dense hunyuan_v1_moe hy_v3 "
    "hyperclovax inkling_text internlm3 iquestcoder jais2 jamba jetmoe kolibri1 laguna lara_mini lfm2 lfm2_moe lfm3 "
    "llama llama4_text mamba mamba2 mellum mimo_v2_flash minicpm3 minimax_m2 minimax_m3_vl_text ministral "
    "ministral3 mistral mixtral modernbert-decoder moshi mpt nanochat nemotron nemotron_h olmo olmo2 olmo3 "
    "olmo_hybrid olmoe opt persimmon phi phi3 phimoe qwen2 qwen2_moe qwen3 qwen3_5_moe_text qwen3_5_text qwen3_moe "
    "qwen3_next qwen3_vl_text qwen3_vl_moe_text recurrent_gemma sarvam_moe seed_oss smollm3 solar_open stablelm "
    "starcoder2 vaultgemma xglm youtu zamba2 mhcdiag-toy longcat_flash "
    # encoders, and encoders with decoders
    "esm nllb-moe bigbird_pegasus blenderbot eurobert longt5 m2m_100 mbart megatron-bert modernbert mt5 pegasus "
    "pegasus_x roberta-prelayernorm switch_transformers t5 umt5 whisper xlm-roberta-xl "
    # images
    "beit clip_text_model clip_vision_model data2vec-vision deit dinov2 dinov2_with_registers dinov3_vit ijepa "
    "siglip_vision_model vit vit_mae vit_msn clip siglip siglip2_vision_model videomae vivit "
    # language models with towers, of which the language model is looked at
    "aria aya_vision cohere2_vision fuyu gemma3 got_ocr2 idefics2 idefics3 internvl llama4 glm4v glm4v_moe glm_ocr "
    "qwen2_vl qwen2_5_vl llava llava_next mllama_text_model llava_next_video llava_onevision mistral3 mllama ovis2 "
    "paligemma qwen2_audio qwen3_5 qwen3_5_moe qwen3_vl qwen3_vl_moe smolvlm video_llava vipllava voxtral"
)

EXTRAS: Mapping[str, tuple[str, ...]] = {
    "beit": ("lambda_1", "lambda_2"),
    "data2vec-vision": ("lambda_1", "lambda_2"),
    "dinov2": ("layer_scale1.lambda1", "layer_scale2.lambda1"),
    "dinov2_with_registers": ("layer_scale1.lambda1", "layer_scale2.lambda1"),
    "dinov3_vit": ("layer_scale1.lambda1", "layer_scale2.lambda1"),
    "mllama": ("cross_attn_attn_gate", "cross_attn_mlp_gate"),
    "mllama_text_model": ("cross_attn_attn_gate", "cross_attn_mlp_gate"),
    "mhcdiag-toy": ("attn.qkv", "attn.out", "ffn.up", "ffn.down", "embedding", "position", "head"),
    "timm": ("ls1.gamma", "ls2.gamma", "gamma_1", "gamma_2"),
    "open_clip": ("ls_1.gamma", "ls_2.gamma"),
}
"""Parameters at the block itself that scale a branch and not the stream, by family."""

IMAGES = word_set(
    "siglip2_vision_model videomae vivit beit clip clip_text_model clip_vision_model data2vec-vision deit dinov2 "
    "dinov2_with_registers dinov3_vit ijepa siglip siglip_vision_model vit vit_mae vit_msn timm open_clip"
)
"""Families whose image part is the model itself, not a tower beside one."""

GGUF: Mapping[str, str] = {
    "llama": "llama", "llama4": "llama4_text", "qwen2": "qwen2", "qwen2moe": "qwen2_moe", "qwen3": "qwen3",
    "qwen3moe": "qwen3_moe", "qwen3next": "qwen3_next", "gemma": "gemma", "gemma2": "gemma2", "gemma3": "gemma3_text",
    "phi2": "phi", "phi3": "phi3", "phimoe": "phimoe", "gpt2": "gpt2", "gptneox": "gpt_neox", "gptj": "gptj",
    "falcon": "falcon", "falcon-h1": "falcon_h1", "starcoder": "gpt_bigcode", "starcoder2": "starcoder2",
    "olmo": "olmo", "olmo2": "olmo2", "olmoe": "olmoe", "deepseek2": "deepseek_v2", "command-r": "cohere",
    "cohere2": "cohere2", "chatglm": "glm", "glm4": "glm4", "glm4moe": "glm4_moe", "granite": "granite",
    "granitemoe": "granitemoe", "granitehybrid": "granitemoehybrid", "mamba": "mamba", "mamba2": "mamba2",
    "jamba": "jamba", "nemotron": "nemotron", "nemotron_h": "nemotron_h", "exaone": "exaone", "exaone4": "exaone4",
    "stablelm": "stablelm", "minicpm3": "minicpm3", "gpt-oss": "gpt_oss", "smollm3": "smollm3", "ernie4_5": "ernie4_5",
    "ernie4_5-moe": "ernie4_5_moe", "seed_oss": "seed_oss", "bitnet": "bitnet", "arcee": "arcee", "dots1": "dots1",
    "hunyuan-moe": "hunyuan_v1_moe", "hunyuan-dense": "hunyuan_v1_dense", "lfm2": "lfm2", "mistral3": "ministral3",
    "t5": "t5", "starcoder-2": "starcoder2", "apertus": "apertus", "internlm3": "internlm3", "afmoe": "afmoe",
}  # fmt: skip
"""`general.architecture` of llama.cpp, and the family whose graph it builds."""

POST_NORM = word_set(
    "albert bart bert bert-generation big_bird blenderbot-small camembert canine convbert data2vec-text deberta "
    "deberta-v2 distilbert dory dpr electra ernie flaubert fnet fsmt git gte ibert jina_embeddings_v3 layoutlm "
    "layoutlmv2 layoutlmv3 led longformer luke marian markuplm minimax mobilebert mpnet mra mvp nomic_bert "
    "nystromformer openai-gpt plbart prophetnet rembert roberta roc_bert roformer splinter squeezebert tapas trocr "
    "visual_bert xlm xlm-roberta xlnet xmod yoso nomic-bert nomic-bert-moe jina-bert-v2"
)
"""`model_type`s (and architectures of llama.cpp) whose blocks normalise the stream itself."""

POST_NORM_FLAGS: Mapping[str, bool] = {
    # BLOOM, ChatGLM, Megatron: the residual is taken behind the norm.
    "apply_residual_connection_post_layernorm": True,
    "apply_residual_connection_post_layer_norm": True,
    # OPT-350m
    "do_layer_norm_before": False,
    "deepnorm": True,
    "use_deepnorm": True,
    "deep_norm": True,
}
"""Configuration keys that move the norm onto the stream, and the value that does."""
POST_NORM_IGNORED = frozenset({"falcon"})
"""Families that have such a key and do not read it."""

POST_NORM_PARTS = frozenset({"attention.output.LayerNorm", "output.LayerNorm"})
"""What BERT and its descendants hold in a block, whatever the configuration says."""

BENIGN_KEYS = word_set(
    "resid_pdrop resid_dropout resid_dropout_prob residual_dropout residual_dropout_prob attention_residual_dropout "
    "residual_multiplier residual_in_fp32 fp32_residual_connection use_parallel_residual parallel_residual "
    "gpt_j_residual apply_residual_connection_post_layernorm apply_residual_connection_post_layer_norm "
    "add_skip_connection attn_resid_pdrop resid_pdropout num_residual_layers num_residual_streams residual_gate_eps "
    "use_residual_scaling moe_use_residual use_mlp_residual pad_residual residual_layernorm moe_residual "
    "recompute_residual residual_embd_pdrop mhc_num_residual_streams"
)
"""Configuration keys that speak of the residual and leave the stream alone; Granite's multiplier is on the branch."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Signature:
    """Names that belong to one family alone."""

    family: str
    """For messages."""
    required: frozenset[str]
    """Module paths below the block, all of which must be there."""
    optional: frozenset[str] = frozenset()
    """Further ones that may be there."""
    extras: tuple[str, ...] = ()
    """As in `EXTRAS`."""


_NORMS_OF_HEADS = "self_attn.q_norm self_attn.k_norm self_attn.rotary_emb"
_LLAMA_ATTENTION = "self_attn.q_proj self_attn.k_proj self_attn.v_proj self_attn.o_proj"
_LLAMA_NORMS = "input_layernorm post_attention_layernorm"
_LLAMA_MLP = "mlp.gate_proj mlp.up_proj mlp.down_proj"
SIGNATURES = (
    Signature(
        family="Llama",
        required=word_set(f"{_LLAMA_ATTENTION} {_LLAMA_NORMS} {_LLAMA_MLP}"),
        optional=word_set(f"{_NORMS_OF_HEADS} pre_feedforward_layernorm post_feedforward_layernorm"),
    ),
    Signature(
        family="Mixtral",
        required=word_set(
            f"{_LLAMA_ATTENTION} {_LLAMA_NORMS} block_sparse_moe.gate block_sparse_moe.experts.w1 "
            "block_sparse_moe.experts.w2 block_sparse_moe.experts.w3"
        ),
        optional=word_set(_NORMS_OF_HEADS),
    ),
    Signature(
        family="OLMo 2",
        required=word_set(f"{_LLAMA_ATTENTION} {_LLAMA_MLP} post_attention_layernorm post_feedforward_layernorm"),
        optional=word_set(_NORMS_OF_HEADS),
    ),
    Signature(
        family="Phi-3",
        required=word_set(f"{_LLAMA_NORMS} self_attn.qkv_proj self_attn.o_proj mlp.gate_up_proj mlp.down_proj"),
        optional=word_set("self_attn.rotary_emb"),
    ),
    Signature(
        family="Baichuan",
        required=word_set(f"{_LLAMA_NORMS} self_attn.W_pack self_attn.o_proj {_LLAMA_MLP}"),
        optional=word_set("self_attn.rotary_emb"),
    ),
    Signature(
        family="Llama in Meta's names",
        required=word_set(
            "attention.wq attention.wk attention.wv attention.wo feed_forward.w1 feed_forward.w2 feed_forward.w3 "
            "attention_norm ffn_norm"
        ),
        optional=word_set("attention.q_norm attention.k_norm attention.inner_attention.rope rope"),
    ),
    Signature(
        family="InternLM2",
        required=word_set(
            "attention.wqkv attention.wo feed_forward.w1 feed_forward.w2 feed_forward.w3 attention_norm ffn_norm"
        ),
    ),
    Signature(
        family="GPT-2 (nanoGPT)",
        required=word_set("ln_1 attn.c_attn attn.c_proj ln_2 mlp.c_fc mlp.c_proj"),
        optional=word_set("attn attn.masked_bias"),
    ),
    Signature(
        family="Qwen",
        required=word_set("ln_1 attn.c_attn attn.c_proj ln_2 mlp.w1 mlp.w2 mlp.c_proj"),
    ),
    Signature(
        family="nanochat without factors on the stream",
        required=word_set("attn.c_q attn.c_k attn.c_v attn.c_proj mlp.c_fc mlp.c_proj"),
        optional=word_set("attn.ve_gate"),
    ),
    Signature(
        family="GPT-NeoX",
        required=word_set(
            f"{_LLAMA_NORMS} attention.query_key_value attention.dense mlp.dense_h_to_4h mlp.dense_4h_to_h"
        ),
        optional=word_set("attention attention.masked_bias attention.rotary_emb attention.rotary_emb.inv_freq"),
    ),
    Signature(
        family="litgpt",
        required=word_set("norm_1 attn.attn attn.proj mlp.proj"),
        optional=word_set("norm_2 mlp.fc mlp.fc_1 mlp.fc_2 attn.norm_q attn.norm_k post_attention_norm post_mlp_norm"),
    ),
    Signature(
        family="litgpt",
        required=word_set("norm_1 attn.qkv attn.proj mlp.proj"),
        optional=word_set("norm_2 mlp.fc mlp.fc_1 mlp.fc_2 attn.norm_q attn.norm_k post_attention_norm post_mlp_norm"),
    ),
    Signature(
        family="Megatron-LM",
        required=word_set("self_attention.linear_proj mlp.linear_fc2"),
        optional=word_set(
            "input_layernorm pre_mlp_layernorm self_attention.linear_qkv mlp.linear_fc1 self_attention.q_layernorm "
            "self_attention.k_layernorm self_attention.core_attention self_attention.linear_qkv.layer_norm_weight "
            "self_attention.linear_qkv.layer_norm_bias mlp.linear_fc1.layer_norm_weight mlp.linear_fc1.layer_norm_bias"
        ),
    ),
    Signature(
        family="Megatron-LM before its core",
        required=word_set(
            f"{_LLAMA_NORMS} self_attention.query_key_value self_attention.dense mlp.dense_h_to_4h mlp.dense_4h_to_h"
        ),
    ),
    Signature(
        family="a vision transformer of timm",
        required=word_set("norm1 attn.qkv attn.proj norm2 mlp.fc1 mlp.fc2"),
        optional=word_set("attn.q_norm attn.k_norm ls1.gamma ls2.gamma gamma_1 gamma_2 ls1 ls2"),
        extras=EXTRAS["timm"],
    ),
    Signature(
        family="CLIP (OpenAI, open_clip)",
        required=word_set("ln_1 attn attn.out_proj ln_2 mlp.c_fc mlp.c_proj"),
        optional=word_set("attn.in_proj_weight attn.in_proj_bias ls_1.gamma ls_2.gamma ls_1 ls_2"),
        extras=EXTRAS["open_clip"],
    ),
    Signature(
        family="T5",
        required=word_set("layer.SelfAttention.q layer.SelfAttention.k layer.SelfAttention.v layer.SelfAttention.o"),
        optional=word_set(
            "layer.SelfAttention.relative_attention_bias layer.layer_norm layer.EncDecAttention.q "
            "layer.EncDecAttention.k layer.EncDecAttention.v layer.EncDecAttention.o layer.DenseReluDense.wi "
            "layer.DenseReluDense.wi_0 layer.DenseReluDense.wi_1 layer.DenseReluDense.wo "
            "layer.EncDecAttention.relative_attention_bias"
        ),
    ),
    Signature(
        family="x-transformers",
        required=word_set("to_q to_k to_v to_out ff"),
        optional=word_set("gamma g weight bias to_v_gate"),
    ),
    Signature(
        family="Mamba",
        required=word_set("norm mixer.in_proj mixer.conv1d mixer.out_proj"),
        optional=word_set("mixer.A_log mixer.D mixer.dt_bias mixer.x_proj mixer.dt_proj mixer.norm"),
    ),
)

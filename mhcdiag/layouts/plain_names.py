"""Which tensors of an ordinary model are explained by their names: parts of branches, norms, embeddings and heads.

A name is taken apart at its dots, and every word must be known. Below a block the first word must be a branch (which
reads the stream and is added to it) or a norm in front of or within one; a parameter at the block itself may
touch the stream and is never explained here. The words are those of the families in `plain_families.py`; a test builds
each of them and asks for every one of its tensors.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from mhcdiag.namedtensors import NamedTensors, TensorInfo, natural_key


def word_set(text: str) -> frozenset[str]:
    """The words of a text."""
    return frozenset(text.split())


WRAPPERS = re.compile(
    r"(?:^|(?<=\.))(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module|_forward_module|module|base_model|"
    r"base_layer|modules_to_save\.\w+|original_module)\."
)
"""What torch.compile, FSDP, DDP, activation checkpointing and adapters put in between."""

_WRAPPED = ("_orig_mod", "_wrapped_module", "_forward_module", "module", "base_", "original_module")
STACKS = word_set("layers layer h blocks block blk resblocks")
"""What the list of blocks is called."""

ROOTS = word_set(
    "model transformer encoder decoder backbone trunk language_model text_model vision_model gpt_neox bert roberta "
    "roberta_prelayernorm biogpt rwkv llm net neox gpt text_encoder text_decoder speech_encoder vit deit beit "
    "data2vec_vision dinov2 dinov3_vit esm gpt_neox_japanese attn_layers net"
)
"""What may stand before the list of blocks, or before embeddings."""

TOWERS = word_set(
    "vision_tower vision_model vision_encoder vision_embed_tokens visual vision image_tower image_model audio_tower "
    "audio_model audio_encoder audio_adapter speech_encoder embed_vision embed_audio vision_embedder "
    "embed_tokens_extend multi_modal_projector mm_projector multimodal_projector vision_projection vision_proj "
    "vision_adapter connector merger patch_merger aligner qformer perceiver_resampler resampler modality_projection "
    "text_hidden_fcs image_newline view_separator mm_vision_tower sam_model high_res_vision_model "
    "high_res_vision_neck high_res_vision_proj high_res_vision_alpha vision_tokenizer vqmodel image_projector "
    "vision_head generation_embeddings generation_aligner generation_head video_tower projector "
    "visual_embeddings_table mlp1"
)
"""Parts beside a language model that are stacks of their own, or lead to one: not looked at, and said to be so."""

NEXT_TOKENS = word_set("mtp mtp_layers mtp_block nextn model_mtp draft_head medusa_head")
"""Multi-token prediction: blocks beside the trunk."""

OUTSIDE = word_set(
    "embed_tokens embed_positions embed_in embed_out wte wpe word_embeddings word_embeddings_layernorm "
    "position_embeddings token_type_embeddings tok_embeddings token_embd token_embedding position_embedding "
    "embeddings embedding output output_projection lm_head proj_out project_in project_out rotary_emb rope_freqs "
    "rope pos_embed pos_emb patch_embed patch_embeddings patch_embedding pre_layrnorm head fc_norm pooler "
    "classifier score shared w input_embedding segment_embedding position_bias embed_norm value_embeds smear_gate "
    "text_projection visual_projection conv1 conv2 cls patch_conv projection patch_embedder embed_global "
    "predictions transform emb token_emb to_logits per_layer_model_projection embed_tokens_per_layer output_layer "
    "embed relative_attention_bias dense proj decoder layernorm_embedding final_logits qa_outputs qa_classifier ple "
    "embedding_projection contact_head regression relative_position_bias shared_position_bias per_layer_token_embd "
    "per_layer_model_proj"
)
"""Embeddings, heads and position tables."""

BRANCHES = word_set(
    "self_attn self_attention self_att attention attn attn1 attn2 multi_head_attention cross_attn cross_attention "
    "encoder_attn inter_attention SelfAttention EncDecAttention LocalSelfAttention TransientGlobalSelfAttention "
    "linear_attn mamba mamba2 mamba_decoder ssm mixer temporal_block conv short_conv shortconv recurrent time_mixer "
    "mlp ffn ffn1 ffn2 ff feed_forward feedforward feed_forward1 feed_forward2 DenseReluDense mlp_block moe "
    "block_sparse_moe moe_mlp ffn_layer experts shared_expert shared_experts shared_mlp router shared_transformer "
    "intermediate output fc fc1 fc2 fc3 fc_in fc_out linear1 linear2 attn_sconv mlp_sconv mlps self_attns linear "
    "dense_h_to_4h dense_4h_to_h "
    # Gemma 3n and Gemma 4: a gated projection of per-layer embeddings, added to the stream.
    "per_layer_input_gate per_layer_projection ple_block relative_position_bias "
    # x-transformers keeps what reads the stream at the second place of a sub-layer: `layers.3.1.to_q.weight`.
    "to_q to_k to_v to_out to_v_gate"
)
"""Modules of a block that read the stream, by the name of which what they compute is added to it."""

PARTS = BRANCHES | word_set(
    "q_proj k_proj v_proj o_proj out_proj qkv_proj kv_proj g_proj r_proj f_proj gate_proj up_proj down_proj "
    "gate_up_proj in_proj x_proj dt_proj a_proj b_proj query_key_value query key value dense qkv proj Wqkv Wq Wk Wv "
    "Wo Wi wq wk wv wo wi wi_0 wi_1 w1 w2 w3 w_in w_out w_0 w_1 w q k v o to_q to_k to_v to_out to_qkv c_attn c_q "
    "c_k c_v c_proj c_fc c_fc_0 c_fc_1 c_gate attn_proj qkv_bias fc_1 fc_2 lin1 lin2 kv "
    # latent attention, indexers, sinks, sliding memory
    "q_a_proj q_b_proj kv_a_proj kv_a_proj_with_mqa kv_b_proj kv_b_proj_k k_b_proj v_b_proj wq_a wq_b wkv wkv_a "
    "wkv_b wo_a wo_b o_a_proj o_b_proj q_gate_proj gate_linear indexer compressor scorer weights_proj kv_norm sinks "
    "attn_sink attention_sink_bias softmax_offset wgate ape sink lambda_q lambda_q1 lambda_q2 lambda_k lambda_k1 "
    "lambda_k2 ve_gate attn_gate rotary_emb relative_attention_bias rel_logits_proj rel_pos_h rel_pos_w "
    "relative_position_bias_table relative_position_index position_bias rel_pos_embed inv_freq masked_bias "
    # mixtures of experts
    "gate gates gate_inp w_gate wg gate_weight expert expert_bias e_score_correction_bias moe_statics tid2eid "
    "input_linear output_linear layer shared_expert_gate classifier global_scale router_bias experts_bias "
    "local_experts linear_fc1 linear_fc2 pre_expert_proj post_expert_proj balancing_biases router_mlp "
    "router_states_scale "
    # state spaces, convolutions, recurrences
    "A A_log D dt_bias conv1d conv_1d q_conv1d k_conv1d v_conv1d k_sconv q_sconv v_sconv in_proj_qkvz in_proj_ba "
    "in_proj_qkv in_proj_z in_proj_a in_proj_b b_proj_weight linear_x linear_y linear_out rg_lru recurrent_param "
    "input_gate_weight input_gate_bias recurrent_gate_weight recurrent_gate_bias gate_up_proj_adapter_list "
    "linear_q_adapter_list linear_k_adapter_list linear_v_adapter_list W_down W_up act_fn alpha_p alpha_n self "
    "attention_out project_q project_k project_v core_attention rotary_pos_emb projection_layer f_a_proj f_b_proj "
    "g_a_proj g_b_proj linear_qkv linear_proj linear_q_proj linear_q_down_proj linear_q_up_proj linear_kv_down_proj "
    "linear_kv_up_proj W_pack wqkv inner_attention norms gate_bias v_proj_current v_proj_delayed conv_qk_depthwise "
    "conv_qk_grouped temp"
)
"""Words below a branch."""

BARE = word_set(
    "cls_token dist_token distillation_token mask_token reg_token register_tokens pos_embed pos_embedding "
    "position_embedding position_embeddings relative_attention_bias positional_embedding class_embedding "
    "logit_scale logit_bias final_logits_bias smear_lambda freqs_cis image_newline text_projection "
    "visual_projection proj class_pos_emb temperature probe relative_position_bias_table input_hidden_states_scale "
    "input_hidden_states_bias stream_emb inv_freq freqs"
)
"""Those of them that are parameters themselves, without a weight below."""

LEAVES = word_set("weight bias scale gamma beta eps weights kernel")
LEAVES_OF_BRANCHES = word_set(
    "in_proj_weight in_proj_bias gate_up_proj_bias down_proj_bias dense_bias q_bias k_bias v_bias bias_k bias_v "
    "out_proj_bias layer_norm_weight layer_norm_bias"
)
GGUF_BRANCHES = word_set(
    "attn_q attn_k attn_v attn_qkv attn_output attn_out attn_q_a attn_q_b attn_kv_a_mqa attn_kv_b attn_k_b attn_v_b "
    "attn_sinks attn_gate cross_attn_q cross_attn_k cross_attn_v cross_attn_o ffn_gate ffn_up ffn_down ffn_act "
    "ffn_gate_inp ffn_gate_inp_shexp ffn_gate_exps ffn_up_exps ffn_down_exps ffn_gate_up_exps ffn_gate_shexp "
    "ffn_up_shexp ffn_down_shexp exp_probs_b ssm_in ssm_conv1d ssm_x ssm_dt ssm_a ssm_d ssm_out ssm_beta_alpha "
    "shortconv shortconv_in shortconv_conv shortconv_out attn_rel_b inp_gate proj"
)
"""Branches in llama.cpp's flat names, `blk.N.attn_q.weight`."""
GGUF_BARE = frozenset({"ssm_a", "ssm_d"})

NORM = re.compile(
    r"^(?:\w+_)?(?:layer_?norm|rms_?norm|norm|ln)(?:_?\d+|_(?:f|q|k|v|before|after|attn|att|attention|mlp|ffn|ff|final|out|"
    r"embedding|embed|cross|cross_attn|hidden|pre|post))?$",
    re.IGNORECASE,
)
"""input_layernorm, ln_1, norm1, post_attention_norm, layernorm_before, LayerNorm, ..."""

QUANTISED = re.compile(
    r"\.(?:weight_scale|weight_scale_inv|weight_scale_2|weight_zero_point|weight_packed|weight_shape|weight_g_idx|"
    r"input_scale|input_zero_point|output_scale|k_scale|v_scale|q_scale|qweight|qzeros|g_idx|scales|zeros|biases|"
    r"qscales|SCB|weight_format|weight\.absmax|weight\.quant_map|weight\.nested_absmax|weight\.nested_quant_map|"
    r"weight\.quant_state\.\w+|quant_state\.\w+|absmax|_scale|scale_inv|_data|_extra_state|tensor_scale|"
    r"(?:up|gate|down)_proj_(?:scales|blocks|scale_inv))$"
)
"""What stands beside a quantised weight: GPTQ, AWQ, bitsandbytes, compressed-tensors, FP8, MXFP4, MLX."""
ADAPTER = re.compile(
    r"\.lora_(?:A|B|embedding_A|embedding_B|magnitude_vector)(?:\.(?!weight|bias)\w+)?(?=\.|$)|\.ia3_l\.\w+$"
)
"""Low-rank adapters of a branch's matrices."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a tensor stands."""

    stack: str
    """Path of its list of blocks, e.g. "model.layers"; empty outside of blocks."""
    index: int
    """Number of its block; -1 outside."""
    words: tuple[str, ...]
    """What follows, without numbers; the whole name outside of blocks."""
    rest: str = ""
    """What follows the number of the block, numbers included."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Explained:
    """The tensors of a checkpoint, sorted."""

    stacks: Mapping[str, Mapping[int, str]]
    """Per list of blocks, the first tensor of each block."""
    parts: Mapping[str, frozenset[str]]
    """Per list of blocks, what its blocks hold: module paths below the block, e.g. "self_attn.q_proj"."""
    towers: tuple[str, ...] = ()
    """Tensors of parts that are not looked at."""
    unexplained: tuple[TensorInfo, ...] = field(default=())
    """Those that no word explains."""


def place_of(name: str) -> Place:
    """Take a name apart at the first number that follows what a list of blocks is called."""
    bare = WRAPPERS.sub("", name) if any(word in name for word in _WRAPPED) else name
    parts = bare.split(".")
    for at in range(1, len(parts) - 1):
        if parts[at].isdigit() and parts[at - 1] in STACKS:
            rest = parts[at + 1 :]
            words = tuple(word for word in rest if not word.isdigit())
            return Place(".".join(parts[:at]), int(parts[at]), words, ".".join(rest))
    return Place("", -1, _words(bare))


def _words(path: str) -> tuple[str, ...]:
    return tuple(word for word in path.split(".") if not word.isdigit())


SMALLEST = 16
"""A matrix of a branch has a side as long as the stream, a head, an expert or the number of experts."""
WIDTH_KEYS = ("hidden_size", "n_embd", "d_model", "dim")


def explain(checkpoint: NamedTensors, *, extras: Iterable[str] = (), towers: bool = True) -> Explained:
    """Sort the tensors of a checkpoint into those that words explain and others.

    Parameters
    ----------
    extras
        Further paths below a block that one family has and that its own test explains, e.g. "layer_scale1.lambda1".
    towers
        Whether parts beside a language model are left out; a model of images alone is one itself.
    """
    config = checkpoint.config or {}
    # Wider than any matrix that could mix streams: a [4, 5] under `self_attn` is then no projection.
    is_wide = any(isinstance(config.get(key), int) and config[key] >= 4 * SMALLEST for key in WIDTH_KEYS)
    return _sorted(tuple(checkpoint.tensors.values()), frozenset(extras), is_wide=is_wide, towers=towers)


@lru_cache(maxsize=4)
def _sorted(infos: tuple[TensorInfo, ...], extras: frozenset[str], *, is_wide: bool, towers: bool) -> Explained:
    """Several layouts ask this of the same checkpoint, which may have a hundred thousand tensors."""
    stacks: dict[str, dict[int, str]] = {}
    parts: dict[str, set[str]] = {}
    left_out, unexplained = [], []
    verdicts: dict[tuple[str, tuple[str, ...], str, int, bool], bool] = {}
    for info in infos:
        place = place_of(info.name)
        path = place.stack.split(".") if place.stack else list(place.words)
        if (towers and not TOWERS.isdisjoint(path)) or not NEXT_TOKENS.isdisjoint(path):
            left_out.append(info.name)
            continue
        is_small = is_wide and len(info.shape) > 1 and max(info.shape) <= SMALLEST
        key = (place.stack, place.words, place.rest[:3], len(info.shape), is_small)
        if key not in verdicts:
            verdicts[key] = _is_explained(place, info, extras) and not (is_small and _is_own(place))
            if place.stack:
                parts.setdefault(place.stack, set()).add(_module(place.words))
        if not verdicts[key]:
            unexplained.append(info)
        if place.stack:
            stacks.setdefault(place.stack, {}).setdefault(place.index, info.name)
    return Explained(
        stacks=stacks,
        parts={stack: frozenset(found) for stack, found in parts.items()},
        towers=tuple(left_out),
        unexplained=tuple(unexplained),
    )


def _is_own(place: Place) -> bool:
    """Whether this is a parameter of a block itself, not the scale of a quantised one or a part of an adapter."""
    path = ".".join(place.words)
    return bool(place.stack) and not QUANTISED.search(path) and not ADAPTER.search(path)


def _module(words: tuple[str, ...]) -> str:
    """The path without its last word where this is a leaf."""
    path = ADAPTER.sub("", QUANTISED.sub(".weight", ".".join(words)))
    head, _, leaf = path.rpartition(".")
    return head if leaf in LEAVES and head else path


def _is_explained(place: Place, info: TensorInfo, extras: frozenset[str]) -> bool:
    path = ".".join(place.words)
    if not place.stack:
        return path in extras or _is_outside(path)
    return _is_root(place.stack) and (path in extras or _is_of_a_block(place, path, len(info.shape)))


def _is_of_a_block(place: Place, given: str, rank: int) -> bool:
    path = ADAPTER.sub(".weight", QUANTISED.sub(".weight", given)).replace(".weight.weight", ".weight")
    words = path.split(".")
    if _X_TRANSFORMERS_NORM.match(place.rest):
        return True
    if len(words) == 2 and NORM.match(words[0]) and words[1] in LEAVES:
        return rank <= 1  # a matrix under the name of a norm is none
    first, *others = words
    # T5 numbers the sub-layers of a block: `layer.0.SelfAttention.q.weight`.
    if first == "layer" and others:
        return _is_of_a_block(place, ".".join(others), rank)
    if place.stack.endswith("blk") and first in GGUF_BRANCHES:
        return others in (["weight"], ["bias"], ["scale"]) or path in GGUF_BARE
    if others == ["weight"] and rank < 2 and path == given:
        return False  # a vector that is no norm and stands right at the block
    return first in BRANCHES and bool(others) and all(_is_part(word) for word in others)


_X_TRANSFORMERS_NORM = re.compile(r"^0\.[01]\.(?:gamma|g|weight|bias)$")
"""Norms before a sub-layer and behind its branch; the third one, 0.2, would be on the stream."""
_COUNTED = re.compile(r"_?\d+$")


def _is_part(word: str) -> bool:
    # Switch Transformers say expert_3, Megatron-LM weight3.
    return any(
        each in PARTS or each in LEAVES or each in LEAVES_OF_BRANCHES or NORM.match(each) is not None
        for each in (word, _COUNTED.sub("", word))
    )


def _is_outside(path: str) -> bool:
    words = _words(ADAPTER.sub(".weight", QUANTISED.sub(".weight", f".{path}")).strip("."))
    if not words or not (words[-1] in LEAVES or words[-1] in LEAVES_OF_BRANCHES or words[-1] in BARE):
        return False
    known = [word in OUTSIDE or word in BARE or NORM.match(word) is not None for word in words]
    # SigLIP's head is an attention of its own.
    further = PARTS if "head" in words else frozenset[str]()
    others = all(
        is_known or word in ROOTS or word in LEAVES or word in LEAVES_OF_BRANCHES or word in further
        for word, is_known in zip(words, known, strict=True)
    )
    return any(known) and others


def _is_root(stack: str) -> bool:
    *path, _ = stack.split(".")
    return all(word in ROOTS or word.isdigit() for word in path)


_BLOCK = re.compile(r"^(?P<path>(?:.*?\.)?\w+\.\d+)\.")


def blocks_of(explained: Explained) -> list[tuple[str, str]]:
    """Module path and first tensor of each block, in natural order."""
    names = (name for of_stack in explained.stacks.values() for name in of_stack.values())
    return numbered_blocks(names)


def numbered_blocks(names: Iterable[str]) -> list[tuple[str, str]]:
    """Path up to the first number, and first name, of each numbered module, in natural order."""
    found: dict[str, str] = {}
    for name in names:
        if (match := _BLOCK.match(name)) is not None:
            found.setdefault(match["path"], name)
    return [(path, found[path]) for path in sorted(found, key=natural_key)]


def grouped(infos: Iterable[TensorInfo]) -> Iterator[tuple[str, int]]:
    """Names with shapes for messages, those that differ in their numbers together: `layers.N.s [1]`, and how many."""
    found: dict[str, list[TensorInfo]] = {}
    for info in infos:
        found.setdefault(re.sub(r"\d+", "N", info.name) + str(list(info.shape)), []).append(info)
    for several in found.values():
        first = several[0]
        name = first.name if len(several) == 1 else re.sub(r"(?<=\.)\d+(?=\.|$)", "N", first.name)
        yield f"{name} {list(first.shape)}", len(several)

"""Which name in a log is the loss, the gradient norm, the step: by words, not by a list of projects."""

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache

CANONICAL = ("loss", "grad_norm", "learning_rate", "loss_scale", "skipped", "eval_loss", "time")
"""Series that have one name here, whatever the log calls them; all others keep the name of the log."""

_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_OTHER = re.compile(r"[^a-z0-9]+")
_EVAL = frozenset({"eval", "evaluation", "val", "valid", "validation", "test", "dev", "tel", "predict", "heldout"})
# "loss_scale" is the fp16 scaler's, and "min_loss" a summary.
_NOT_A_LOSS = frozenset({"scale", "scaler", "scaling", "min", "max", "best", "std", "var", "weight", "coef", "coeff"})
# Parts of a loss: auxiliary terms of mixtures of experts, multi-token prediction, the critic and the entropy of PPO
# (verl), the terms of detectors (YOLO, TF object detection) and of transducers (icefall). Each is the loss only where
# there is no other.
_PART = frozenset({
    "aux", "balance", "balancing", "z", "zloss", "mtp", "router", "reg", "regularization", "kl", "unsuper", "cri",
    "critic", "value", "vf", "entropy", "extra", "router_z", "last", "epoch", "per", "predict", "moe", "load",
    "cls", "classification", "classifier", "box", "bbox", "obj", "objectness", "dfl", "localization", "giou", "iou",
    "mask", "rpn", "ctc", "att", "simple", "pruned", "commit", "commitment",
})  # fmt: skip
# A mean over what went before hides a step behind its neighbours: `step_loss` is judged before `average_loss`, and
# icefall's `loss` before its `tot_loss`.
_AVERAGED = frozenset({"average", "averaged", "avg", "avr", "ema", "mean", "running", "smooth", "smoothed", "tot"})
_TOTAL, _OF_STEP = frozenset({"total", "overall"}), frozenset({"step", "batch", "iter"})
_LOSSES = (
    "loss", "train_loss", "training_loss", "lm_loss", "train_lm_loss", "train_cross_entropy_loss",
    "metrics_train_language_cross_entropy", "cross_entropy_loss", "reduced_train_loss", "train_loss_step",
    "loss_step", "trl", "loss_train", "loss_train_total",
)  # fmt: skip
_EVAL_LOSSES = ("eval_loss", "val_loss", "valid_loss", "validation_loss", "test_loss", "loss_val")
_NORMS = (
    "grad_norm", "gnorm", "gradnorm", "gradient_norm", "global_grad_norm", "total_grad_norm",
    "optim_total_grad_norm", "train_grad_norm", "train_gnorm", "l2_norm_grad_global", "norm", "grad",
)  # fmt: skip
# Norms of single layers, and the threshold of clipping, are not the norm of the gradient.
_NOT_THE_NORM = frozenset({"layer", "layers", "max", "min", "std", "embed", "block", "blocks", "h"})
# Clipping hides the size of the gradient: the norm before it is the one to judge, the norm after it only where there
# is no other; "clip_grad_norm" alone is the threshold.
_CLIP = frozenset({"clip", "clipped", "clipping"})
_BEFORE = frozenset({"pre", "before", "unclipped", "preclip"})
_AFTER = frozenset({"post", "after", "clipped", "postclip"})
_RATES = ("learning_rate", "lr", "train_learning_rate", "train_lr", "learning_rate_group0", "lr_0")
_SINGLE = {
    "loss_scale": ("loss_scale", "train_loss_scale", "loss_scaler", "scaler"),
    "skipped": ("skipped", "number_of_skipped_iterations", "skipped_iterations", "skipped_steps"),
    "time": ("timestamp", "wall_time", "time", "time_ms"),
}
STEPS = (
    "step", "global_step", "trainer_global_step", "train_global_step", "iteration", "iter", "iterations",
    "num_updates", "current_steps", "training_step", "train_step", "update", "updates",
    "update_step", "steps", "batch",
    "it", "total_timesteps", "timesteps", "num_timesteps", "current_step", "global_steps", "step_num", "iters",
)  # fmt: skip
"""Names of the step, best first, as `plain` writes them."""


@lru_cache(maxsize=4096)
def plain(name: str) -> str:
    """Return a name of a log as words: `train/CrossEntropyLoss` is `train_cross_entropy_loss`."""
    return _OTHER.sub("_", _CAMEL.sub("_", name).lower()).strip("_")


def _loss_rank(words: list[str], name: str) -> tuple[str, int] | None:
    if name in _LOSSES:
        return "loss", _LOSSES.index(name)
    if name in _EVAL_LOSSES:
        return "eval_loss", _EVAL_LOSSES.index(name)
    lossy = "loss" in words or "nll" in words or name.endswith("cross_entropy") or name in {"tel", "xent"}
    # nanochat and modded-nanogpt evaluate in bits per byte ("Validation bpb"): these are no training losses.
    bits_per_byte = words[-1:] == ["bpb"]
    if not (lossy or bits_per_byte) or _NOT_A_LOSS.intersection(words):
        return None
    parts = _PART.intersection(words) - ({"entropy"} if "cross" in words else set())
    part = 100 if parts else 0
    if _EVAL.intersection(words):
        return "eval_loss", 50 + part + 20 * bits_per_byte
    if bits_per_byte:
        return None
    averaged = 20 if _AVERAGED.intersection(words) else 0
    better = 20 if _OF_STEP.intersection(words) else 30 if _TOTAL.intersection(words) else 0
    return "loss", 50 + part + (averaged or -better)


def _norm_rank(words: list[str]) -> tuple[str, int] | None:
    if "norm" not in words or not {"grad", "gradient", "gradients"}.intersection(words):
        return None
    if _NOT_THE_NORM.intersection(words) or any(word.isdigit() for word in words):
        return None
    if _BEFORE.intersection(words):
        return "grad_norm", 20
    if _AFTER.intersection(words):
        return "grad_norm", 90
    return None if _CLIP.intersection(words) else ("grad_norm", 50 + len(words))


@lru_cache(maxsize=4096)
def canonical_rank(name: str) -> tuple[str, int] | None:
    """Return which canonical series a name of a log can be, and how well it fits (0 best), or None."""
    simple = plain(name)
    words = simple.split("_")
    for canonical, names in _SINGLE.items():
        if simple in names:
            return canonical, names.index(simple)
    if simple in _NORMS:
        return "grad_norm", _NORMS.index(simple)
    norm = _norm_rank(words)
    if norm is not None:
        return norm
    if simple in _RATES:
        return "learning_rate", _RATES.index(simple)
    if (words[0] == "lr" and len(words) > 1) or simple.endswith("learning_rate_group0"):
        return ("learning_rate", 50) if words[1:2] not in (["mul"], ["scale"], ["multiplier"]) else None
    return _loss_rank(words, simple)


@lru_cache(maxsize=4096)
def is_watched(name: str) -> bool:
    """Say whether a name says loss or gradient norm: such a series is watched for NaN, whichever is the main one.

    Not watched: the scale of the loss, and summaries (`best_loss`), which are infinite until there is one.
    """
    words = plain(name).split("_")
    rank = canonical_rank(name)
    if rank is not None:
        return rank[0] in {"loss", "eval_loss", "grad_norm"}
    if _NOT_A_LOSS.intersection(words) - {"max"} or _CLIP.intersection(words):
        return False
    if "norm" in words and {"grad", "gradient", "gradients"}.intersection(words):
        return True
    return bool({"loss", "losses"}.intersection(words))


def is_evaluation(name: str) -> bool:
    """Say whether a name is that of an evaluation, which need not be made at every record."""
    return bool(_EVAL.intersection(plain(name).split("_")))


def bind_names(
    counts: Mapping[str, int], *, preferred: Mapping[str, tuple[str, ...]], loss_key: str | None = None
) -> dict[str, str]:
    """Choose the series of the log that bear the canonical names.

    A series that is recorded far less often than its rivals is no candidate: the one `train_loss` of a
    closing summary is not the training loss.

    Parameters
    ----------
    counts
        Values per series, in order of appearance.
    preferred
        Names that the format fixes, best first: they count however rare they are.
    loss_key
        Name of the loss that the user gave.

    Returns
    -------
    dict
        Canonical name -> name in the log.
    """
    ranked: dict[str, list[tuple[int, int, str]]] = {}
    for position, name in enumerate(counts):
        found = name_rank(name, preferred)
        if found is not None:
            ranked.setdefault(found[0], []).append((found[1], position, name))
    chosen: dict[str, str] = {}
    for canonical, candidates in ranked.items():
        most = max(counts[name] for _, _, name in candidates)
        often = [entry for entry in candidates if entry[0] < 0 or counts[entry[2]] >= 0.3 * most]
        chosen[canonical] = min(often)[2]
    if loss_key is not None and loss_key in counts:
        chosen = {canonical: name for canonical, name in chosen.items() if name != loss_key}
        chosen["loss"] = loss_key
    return chosen


def other_name(name: str) -> str:
    """Return what a series is called here that bears no canonical name.

    One that the log calls `loss` while another was named as the loss must never stand for it.
    """
    return f"log/{name}" if name in CANONICAL else name


def name_rank(name: str, preferred: Mapping[str, tuple[str, ...]]) -> tuple[str, int] | None:
    """Return which canonical series a name can be in a format that prefers some names, and how well it fits."""
    for canonical, names in preferred.items():
        if name in names:
            return canonical, names.index(name) - len(names)
    return canonical_rank(name)


def step_name(names: Iterable[str]) -> str | None:
    """Return the name that holds the step, or None; of `step` and W&B's own `_step` the former."""
    ranked = [(rank, name.startswith("_"), name) for name in names if (rank := step_rank(name)) is not None]
    return min(ranked)[2] if ranked else None


# "ms/batch" and "time/step" are rates.
_UNITS = frozenset({"ms", "s", "sec", "secs", "seconds", "us", "min", "time", "tok", "tokens", "words", "samples"})


@lru_cache(maxsize=4096)
def step_rank(name: str) -> int | None:
    """Return how well a name fits the step (0 best), or None; of a path the last part may be it, but for evaluations.

    `time/total_timesteps` (Stable-Baselines3) and `training/global_step` (verl) count steps, `val/step` does not.
    """
    simple = plain(name)
    if simple in STEPS:
        return STEPS.index(simple)
    path, _, last = (plain(part) for part in name.rpartition("/"))
    if last not in STEPS or is_evaluation(name) or (path in _UNITS and "_" not in last):
        return None
    return len(STEPS) + STEPS.index(last)

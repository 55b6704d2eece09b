import pytest

from mhcdiag.runlogs.names import bind_names, canonical_rank, is_evaluation, is_watched, plain, step_name


@pytest.mark.parametrize(
    ("name", "canonical"),
    [
        ("loss", "loss"),
        ("train/loss", "loss"),
        ("train/CrossEntropyLoss", "loss"),
        ("lm loss", "loss"),
        ("val_loss", "eval_loss"),
        ("eval/lambada/CrossEntropyLoss", "eval_loss"),
        ("Validation bpb", "eval_loss"),
        ("loss_scale", "loss_scale"),
        ("grad_norm", "grad_norm"),
        ("optim/total grad norm", "grad_norm"),
        ("lr", "learning_rate"),
        ("lr-DecoupledAdamW/group0", "learning_rate"),
        ("number of skipped iterations", "skipped"),
        ("loss_weight", None),
        ("grad_norm/layer_3/mlp", None),
        ("best_loss", None),
        ("lr_mul", None),
        ("accuracy", None),
    ],
)
def test_words_decide(name, canonical):
    rank = canonical_rank(name)
    assert (rank[0] if rank else None) == canonical


def test_of_several_losses_the_first_counts_but_parts_of_a_loss_come_last():
    assert bind_names({"act_loss": 9, "cri_loss": 9}, preferred={})["loss"] == "act_loss"
    assert bind_names({"z_loss": 9, "ce_loss": 9}, preferred={})["loss"] == "ce_loss"
    assert bind_names({"aux_loss": 9, "loss": 9}, preferred={})["loss"] == "loss"


@pytest.mark.parametrize(
    ("names", "canonical", "chosen"),
    [
        (("average_loss", "step_loss"), "loss", "step_loss"),
        (("classification_loss", "loss_total", "box_loss"), "loss", "loss_total"),
        (("actor/entropy_loss", "actor/pg_loss", "critic/vf_loss"), "loss", "actor/pg_loss"),
        (("tot_loss/loss", "loss"), "loss", "loss"),
        (("grad_norm_hc", "grad_norm_post_clip", "grad_norm_pre_clip"), "grad_norm", "grad_norm_pre_clip"),
        (("grad_norm_pre_clip", "grad_norm"), "grad_norm", "grad_norm"),
        (("grad_norm_clipped",), "grad_norm", "grad_norm_clipped"),
    ],
)
def test_the_main_series_among_its_kin(names, canonical, chosen):
    assert bind_names(dict.fromkeys(names, 9), preferred={})[canonical] == chosen


@pytest.mark.parametrize(
    ("name", "watched"),
    [
        ("loss", True),
        ("val_loss", True),
        ("critic/vf_loss", True),
        ("critic/grad_norm", True),
        ("max_loss", True),
        ("grad_norm/layer_3/mlp", True),
        ("grad_norm_max", True),
        ("gradient norm of block 7", True),
        ("clip_grad_norm", False),
        ("loss_scale", False),
        ("best_val_loss", False),
        ("min_loss", False),
        ("loss_weight", False),
        ("ppl", False),
        ("lr", False),
    ],
)
def test_what_is_watched_for_nan(name, watched):
    assert is_watched(name) == watched


@pytest.mark.parametrize(("name", "found"), [("val_loss", True), ("eval/ce", True), ("loss", False), ("value", False)])
def test_what_is_an_evaluation(name, found):
    assert is_evaluation(name) == found


def test_a_rare_series_is_no_candidate_and_the_format_decides_first():
    assert bind_names({"train_loss": 1, "ce_loss": 97}, preferred={})["loss"] == "ce_loss"
    assert bind_names({"loss": 97, "ce": 31}, preferred={"loss": ("ce",)})["loss"] == "ce"


def test_the_user_decides_before_all():
    chosen = bind_names({"loss": 9, "val_loss": 9}, preferred={"loss": ("loss",)}, loss_key="val_loss")
    assert chosen == {"loss": "val_loss"}


def test_steps_by_preference():
    assert step_name(["epoch", "_step", "loss"]) == "_step"
    assert step_name(["_step", "step"]) == "step"
    assert step_name(["iter", "global_step"]) == "global_step"
    assert step_name(["loss", "stepwise"]) is None
    assert step_name(["rollout/ep_len", "time/total_timesteps"]) == "time/total_timesteps"
    assert step_name(["epoch", "training/global_step"]) == "training/global_step"
    assert step_name(["a/iter", "update"]) == "update"
    assert step_name(["val/step", "eval_step", "ms/batch", "time/step", "s/it"]) is None


def test_plain_words():
    assert plain("train/CrossEntropyLoss") == "train_cross_entropy_loss"
    assert plain("_step") == "step"


@pytest.mark.parametrize(
    ("name", "rank"),
    [
        ("loss", ("loss", 0)),
        ("train_loss", ("loss", 1)),
        ("loss_train_total", ("loss", 13)),
        ("ce_loss", ("loss", 50)),
        ("aux_loss", ("loss", 150)),
        ("step_loss", ("loss", 30)),
        ("average_loss", ("loss", 70)),
        ("tot_loss/loss", ("loss", 70)),
        ("Loss/total_loss", ("loss", 20)),
        ("Loss/RPNLoss/localization_loss", ("loss", 150)),
        ("actor/pg_loss", ("loss", 50)),
        ("actor/entropy_loss", ("loss", 150)),
        ("critic/vf_loss", ("loss", 150)),
        ("nll", ("loss", 50)),
        ("token_nll", ("loss", 50)),
        ("xent", ("loss", 50)),
        ("masked_cross_entropy", ("loss", 50)),
        ("tel", ("eval_loss", 50)),
        ("eval_loss", ("eval_loss", 0)),
        ("loss_val", ("eval_loss", 5)),
        ("test_nll", ("eval_loss", 50)),
        ("val_aux_loss", ("eval_loss", 150)),
        ("val_bpb", ("eval_loss", 70)),
        ("bpb", None),
        ("train_bpb", None),
        ("bpb_loss", ("loss", 50)),
        ("loss_max", None),
        ("loss_scaling", None),
        ("grad_norm", ("grad_norm", 0)),
        ("grad", ("grad_norm", 11)),
        ("my_grad_norm", ("grad_norm", 53)),
        ("norm_of_gradient", ("grad_norm", 53)),
        ("grad_norm_pre_clip", ("grad_norm", 20)),
        ("unclipped_grad_norm", ("grad_norm", 20)),
        ("grad_norm_hc", ("grad_norm", 53)),
        ("grad_norm_post_clip", ("grad_norm", 90)),
        ("clip_grad_norm", None),
        ("grad_norm_max", None),
        ("grad_norm_3", None),
        ("weight_norm", None),
        ("grad_sum", None),
        ("lr", ("learning_rate", 1)),
        ("lr_group_7", ("learning_rate", 50)),
        ("optim_learning_rate_group0", ("learning_rate", 50)),
        ("lr_scale", None),
        ("lr_multiplier", None),
        ("loss_scale", ("loss_scale", 0)),
        ("scaler", ("loss_scale", 3)),
        ("skipped", ("skipped", 0)),
        ("timestamp", ("time", 0)),
        ("time_ms", ("time", 3)),
        ("epoch", None),
    ],
)
def test_how_well_a_name_fits(name, rank):
    assert canonical_rank(name) == rank


@pytest.mark.parametrize(("rare", "chosen"), [(30, "train_loss"), (29, "ce_loss")])
def test_a_series_counts_from_three_tenths_of_its_most_frequent_rival(rare, chosen):
    assert bind_names({"train_loss": rare, "ce_loss": 100}, preferred={})["loss"] == chosen


@pytest.mark.parametrize("count", [1, 97])
def test_a_name_that_the_format_prefers_counts_however_rare(count):
    preferred = {"loss": ("first", "second")}
    assert bind_names({"loss": 97, "second": count}, preferred=preferred)["loss"] == "second"
    assert bind_names({"loss": 97, "second": 97, "first": count}, preferred=preferred)["loss"] == "first"


def test_of_equal_names_the_first():
    assert bind_names({"b_loss": 9, "a_loss": 9}, preferred={})["loss"] == "b_loss"


def test_a_loss_of_the_user_is_nothing_else_and_must_be_there():
    assert bind_names({"loss": 9, "grad_norm": 9}, preferred={}, loss_key="grad_norm") == {"loss": "grad_norm"}
    assert bind_names({"loss": 9}, preferred={}, loss_key="absent") == {"loss": "loss"}


def test_names_for_everything():
    counts = dict.fromkeys(["lr", "loss", "gnorm", "val_loss", "loss_scale", "skipped", "time", "x"], 9)
    assert bind_names(counts, preferred={}) == {
        "learning_rate": "lr",
        "loss": "loss",
        "grad_norm": "gnorm",
        "eval_loss": "val_loss",
        "loss_scale": "loss_scale",
        "skipped": "skipped",
        "time": "time",
    }

import pytest

from mhcdiag.runlogs.names import bind_names, canonical_rank, plain, step_name


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

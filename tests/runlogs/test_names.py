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

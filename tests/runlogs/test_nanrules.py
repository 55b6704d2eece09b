import math

import pytest

from mhcdiag.runlogs.nanrules import NanRules

NAN = float("nan")
INF = float("inf")


@pytest.mark.parametrize("family", ["plain", "megatron", "huggingface", "golden"])
def test_finite_records_pass_unchanged(family):
    values = {"loss": 2.5, "grad_norm": 0.7, "learning_rate": 0.1}
    judged = NanRules(family).judge(values)
    assert judged.values == values
    assert judged.nan == frozenset()


def test_nan_beside_finite_metrics_is_an_event():
    assert NanRules("plain").judge({"loss": NAN, "lr": 0.1}).nan == {"loss"}
    assert NanRules("plain").judge({"loss": INF, "lr": 0.1}).nan == {"loss"}
    assert NanRules("plain").judge({"loss": NAN}).nan == {"loss"}


def test_nothing_but_nan_was_not_recorded():
    rules = NanRules("plain")
    judged = rules.judge({"loss": NAN, "grad_norm": NAN, "tokens": NAN, "epoch": 1.0})
    assert judged.values == {"epoch": 1.0}
    assert judged.nan == frozenset()
    assert rules.empty == 1


def test_a_dead_run_is_no_gap():
    assert NanRules("plain").judge({"loss": NAN, "grad_norm": NAN}).nan == {"loss", "grad_norm"}
    assert NanRules("plain").judge({"loss": NAN, "grad_norm": NAN, "learning_rate": 0.1}).nan == {
        "loss",
        "grad_norm",
    }


def test_golden_values_write_nan_for_not_recorded():
    assert NanRules("golden").judge({"loss": NAN, "num-zeros": NAN}).nan == frozenset()
    assert NanRules("golden").judge({"loss": NAN, "num-zeros": 7.0}).nan == {"loss"}
    assert NanRules("golden").judge({"loss": 2.5, "num-zeros": NAN}).values == {"loss": 2.5}


def test_megatron_leaves_the_loss_out():
    dead = NanRules("megatron").judge({"grad_norm": NAN, "loss_scale": 1.0, "skipped": 0.0})
    assert dead.nan == {"loss", "grad_norm"}
    assert math.isnan(dead.values["loss"])
    skipped = NanRules("megatron").judge({"grad_norm": INF, "loss_scale": 32768.0, "skipped": 1.0})
    assert skipped.nan == frozenset()
    assert "loss" not in skipped.values
    unknown = NanRules("megatron").judge({"grad_norm": 0.7, "loss_scale": 1.0})
    assert unknown.nan == frozenset()


def test_megatron_scale_that_halves_is_a_skip():
    rules = NanRules("megatron")
    rules.judge({"loss": 2.5, "loss_scale": 4096.0})
    assert rules.judge({"grad_norm": INF, "loss_scale": 2048.0}).nan == frozenset()
    assert rules.judge({"grad_norm": INF, "loss_scale": 2048.0}).nan == {"loss", "grad_norm"}


def test_the_trainer_prints_zero_for_nan():
    rules = NanRules("huggingface")
    assert rules.judge({"loss": 0.0, "grad_norm": NAN, "learning_rate": 0.1}).nan == {"loss", "grad_norm"}
    assert NanRules("plain").judge({"loss": 0.0, "grad_norm": 0.1}).nan == frozenset()
    silent = NanRules("huggingface")
    zeros = [silent.judge({"loss": loss}).nan for loss in (2.5, 0.0, 0.0, 0.0, 1.5, 0.0)]
    assert zeros == [frozenset()] * 3 + [{"loss"}] + [frozenset()] * 2
    with_norm = NanRules("huggingface")
    assert all(not with_norm.judge({"loss": loss, "grad_norm": 0.1}).nan for loss in (2.5, 0.0, 0.0, 0.0))

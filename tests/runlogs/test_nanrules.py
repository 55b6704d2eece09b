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


def test_nothing_but_nan_was_not_recorded_in_golden_values_and_is_a_dead_run_elsewhere():
    values = {"loss": NAN, "grad_norm": NAN, "perplexity": NAN, "epoch": 1.0}
    golden = NanRules("golden")
    assert golden.judge(values).values == {"epoch": 1.0}
    assert golden.judge(values).nan == frozenset()
    assert golden.empty == 2
    plain = NanRules("plain")
    assert plain.judge(values).nan == {"loss", "grad_norm", "perplexity"}
    assert plain.empty == 0


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


@pytest.mark.parametrize(
    ("family", "values", "gap"),
    [
        ("plain", {"loss": NAN, "a": NAN}, False),
        ("plain", {"loss": NAN, "a": NAN, "b": NAN}, False),
        ("plain", {"loss": NAN, "a": NAN, "b": INF}, False),
        ("plain", {"loss": NAN, "a": NAN, "step": NAN, "epoch": NAN, "time": NAN}, False),
        ("golden", {"loss": NAN}, True),
        ("golden", {"step": NAN}, False),
        ("golden", {"loss": INF}, False),
    ],
)
def test_one_metric_makes_a_gap_in_golden_values_only(family, values, gap):
    rules = NanRules(family)
    judged = rules.judge(values)
    assert rules.empty == gap
    assert ("loss" in judged.values) == (not gap and "loss" in values)


def test_a_gap_keeps_what_is_no_metric():
    values = {"loss": NAN, "a": NAN, "b": NAN, "epoch": NAN, "step": 3.0, "time": 4.0}
    assert set(NanRules("golden").judge(values).values) == {"epoch", "step", "time"}


def test_golden_values_keep_nan_of_loss_and_norm_only():
    judged = NanRules("golden").judge({"loss": NAN, "grad_norm": INF, "x": NAN, "y": 1.0})
    assert (set(judged.values), judged.nan) == ({"loss", "grad_norm", "y"}, {"loss", "grad_norm"})


class TestMegatron:
    """The loss is left out when it is NaN, and when the scaler skips a step."""

    @pytest.mark.parametrize(
        ("values", "nan"),
        [
            ({"grad_norm": NAN}, {"loss", "grad_norm"}),
            ({"grad_norm": NAN, "eval_loss": 2.5}, {"grad_norm"}),
            ({"grad_norm": NAN, "loss": 2.5}, {"grad_norm"}),
            ({"grad_norm": 1.0, "x": NAN}, {"x"}),
            ({"grad_norm": NAN, "skipped": 1.0, "loss_scale": 1.0}, {"loss", "grad_norm"}),
            ({"grad_norm": NAN, "skipped": 1.0, "loss_scale": 1.5}, set()),
            ({"grad_norm": NAN, "skipped": 0.5, "loss_scale": 2.0}, set()),
            ({"grad_norm": NAN, "skipped": 0.0, "loss_scale": 2.0}, {"loss", "grad_norm"}),
            ({"grad_norm": NAN, "skipped": 1.0}, {"loss", "grad_norm"}),
            ({"grad_norm": NAN, "loss_scale": 2.0}, {"loss", "grad_norm"}),
        ],
    )
    def test_the_first_record(self, values, nan):
        judged = NanRules("megatron").judge(values)
        assert judged.nan == nan
        assert ("loss" in judged.values) == ("loss" in nan or "loss" in values)
        assert ("grad_norm" in judged.values) == bool("grad_norm" in nan or values["grad_norm"] == 1.0)

    @pytest.mark.parametrize(("before", "skip"), [([4.0], True), ([2.0], False), ([1.0], False), ([4.0, NAN], True)])
    def test_a_scale_below_the_last_known_one_is_a_skip(self, before, skip):
        rules = NanRules("megatron")
        for scale in before:
            rules.judge({"loss": 2.5, "loss_scale": scale, "x": 1.0})
        assert rules.judge({"grad_norm": INF, "loss_scale": 2.0}).nan == (set() if skip else {"loss", "grad_norm"})

    def test_other_families_know_no_loss_that_is_left_out(self):
        assert NanRules("plain").judge({"grad_norm": NAN}).nan == {"grad_norm"}


class TestZeroLoss:
    """The Trainer prints 0.0 for NaN."""

    @pytest.mark.parametrize(("before", "dead"), [(0.01, False), (0.0101, True)])
    def test_only_after_a_loss_of_some_size(self, before, dead):
        rules = NanRules("huggingface")
        found = [rules.judge({"loss": loss}).nan for loss in (before, 0.0, 0.0, 0.0)]
        assert found == [set(), set(), set(), {"loss"} if dead else set()]

    def test_any_other_loss_begins_the_count_anew(self):
        rules = NanRules("huggingface")
        found = [bool(rules.judge({"loss": loss}).nan) for loss in (2.5, 0.0, 0.0, 1.5, 0.0, 0.0, 0.0, 0.0)]
        assert found == [False] * 6 + [True] * 2

    def test_records_without_a_loss_do_not(self):
        rules = NanRules("huggingface")
        records = [{"loss": 2.5}, {"loss": 0.0}, {"eval_loss": 2.0}, {"loss": 0.0}, {"loss": 0.0}]
        assert [bool(rules.judge(record).nan) for record in records] == [False] * 4 + [True]

    def test_a_norm_that_is_finite_is_proof_of_life(self):
        rules = NanRules("huggingface")
        records = [{"loss": 2.5}, *[{"loss": 0.0, "grad_norm": 0.5}] * 4, {"loss": 0.0, "grad_norm": INF}]
        assert [bool(rules.judge(record).nan) for record in records] == [False] * 5 + [True]

    def test_in_other_families_zero_is_zero(self):
        rules = NanRules("plain")
        assert not any(rules.judge({"loss": loss}).nan for loss in (2.5, 0.0, 0.0, 0.0, 0.0))
        assert rules.judge({"loss": 0.0, "grad_norm": NAN}).nan == {"grad_norm"}

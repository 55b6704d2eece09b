"""Which series are gains, and which of several is judged."""

import pytest

from mhcdiag.runlogs.gain_names import best_gains, gain_name, gain_names


@pytest.mark.parametrize(
    ("name", "direction", "rank"),
    [
        ("gain_forward", "forward", (1, 1)),
        ("bwd_gain", "backward", (1, 1)),
        ("amax/fwd", "forward", (1, 1)),
        ("amax_bwd_max", "backward", (1, 0)),
        ("amaxGainFwd", "forward", (1, 1)),
        ("G_raw", "", (1, 1)),
        ("mhc/G_fwd", "forward", (1, 1)),
        ("max_gain", "", (1, 0)),
        ("composite_gain", "", (0, 1)),
        ("composite_gain_mean", "", (0, 2)),
        ("attn_amax_gain_fwd", "forward", (2, 1)),
        ("layers.3.gain_fwd_max", "forward", (2, 0)),
        ("gain_fwd_3", "forward", (2, 1)),
        ("attn_composite_amax_gain_fwd_max", "forward", (0, 0)),
        ("mhc_health/layer_3/attn_composite_amax_gain_bwd_max", "backward", (0, 0)),
        ("mhc_health/global_attn_amax_gain_fwd", "forward", (2, 1)),
    ],
)
def test_what_a_name_says(name, direction, rank):
    found = gain_name(name)
    assert found is not None
    assert (found.name, found.direction, found.rank) == (name, direction, rank)
    assert found.single == (rank[0] == 2)


@pytest.mark.parametrize(
    "name",
    [
        "gain", "forward", "again_forward", "gain/log10_forward", "fp8_amax_fwd", "amax", "loss", "layer_3/max_gain",
        "gain_fwd_min", "amax_gain_fwd_std", "norm_gain", "amax_history_bwd", "raw_gradient", "time/forward_max",
    ],
)  # fmt: skip
def test_what_is_no_gain(name):
    assert gain_name(name) is None


def names(found):
    return [one.name for one in found]


def test_composite_before_whole_before_single_and_worst_before_mean():
    order = [
        "composite_gain_fwd_max", "composite_gain_fwd", "composite_gain_fwd_mean", "gain_fwd_max", "gain_fwd",
        "gain_fwd_mean", "attn_gain_fwd_max", "attn_gain_fwd", "attn_gain_fwd_mean",
    ]  # fmt: skip
    for first in range(len(order)):
        assert names(best_gains(gain_names(order[first:][::-1]), "forward")) == [order[first]]
    assert best_gains(gain_names(order), "backward") == []


def test_what_ranks_alike_is_judged_together_and_no_direction_is_forward():
    found = gain_names(["mlp_composite_gain_fwd", "attn_composite_gain_fwd", "composite_gain", "composite_gain_bwd"])
    assert names(best_gains(found, "forward")) == [
        "mlp_composite_gain_fwd",
        "attn_composite_gain_fwd",
        "composite_gain",
    ]
    assert names(best_gains(found, "backward")) == ["composite_gain_bwd"]


@pytest.mark.parametrize("prefix", ["", "gain_", "gain/"])
def test_of_our_own_monitor_the_mean_over_tokens_is_judged(prefix):
    columns = [prefix + one for one in ("forward", "backward", "forward_max", "backward_max")]
    found = gain_names(["step", "tokens", *columns])
    assert names(found) == columns
    assert names(best_gains(found, "forward")) == [columns[0]]
    assert names(best_gains(found, "backward")) == [columns[1]]


def test_forward_and_backward_alone_are_times():
    assert gain_names(["forward", "backward", "forward_max", "backward_max"]) == []
    assert gain_names(["tokens", "forward", "backward"]) == []

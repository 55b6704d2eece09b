# ruff: noqa: E501 (a line of a log is as long as it is)
import json

import pytest
from runlogs.textchecks import check_text

LOG = """\
:::MLLOG {"namespace": "", "time_ms": 1684435001613, "event_type": "POINT_IN_TIME", "key": "cache_clear", "value": true, "metadata": {"lineno": 3}}
:::MLLOG {"namespace": "", "time_ms": 1684435766361, "event_type": "POINT_IN_TIME", "key": "tracked_stats", "value": {"train_step_timing": 2.96, "reduced_train_loss": 2.713}, "metadata": {"lineno": 234, "step": 5505024}}
:::MLLOG {"namespace": "", "time_ms": 1684435777361, "event_type": "POINT_IN_TIME", "key": "eval_accuracy", "value": 2.697, "metadata": {"lineno": 237, "samples_count": 5505024}}
:::MLLOG {"namespace": "", "time_ms": 1684435788361, "event_type": "POINT_IN_TIME", "key": "tracked_stats", "value": {"train_step_timing": 2.97, "reduced_train_loss": 2.611}, "metadata": {"lineno": 234, "step": 11010048}}
"""


def test_statistics_by_samples(tmp_path):
    check_text(
        tmp_path,
        LOG,
        "mllog",
        steps=[5505024, 5505024, 11010048],
        lines=[2, 3, 4],
        loss=[2.713, None, 2.611],
        eval_accuracy=[None, 2.697, None],
        train_step_timing=[2.96, None, 2.97],
        time=[1684435766361, 1684435777361, 1684435788361],
    )


def mlline(key, value, **metadata):
    return ":::MLLOG " + json.dumps({"key": key, "value": value, "time_ms": 5000, "metadata": metadata}) + "\n"


@pytest.mark.parametrize(
    ("metadata", "step"),
    [
        ({"step": 3, "samples_count": 9}, 3),
        ({"samples_count": 9, "step_num": 4}, 9),
        ({"step_num": 4, "epoch_num": 2}, 4),
        ({"epoch_num": 2}, 2),
        ({"step": float("nan"), "samples_count": 9}, 9),
    ],
)
def test_the_first_finite_counter_is_the_step(read, metadata, step):
    table = read(mlline("train_loss", 2.5, **metadata))
    assert (table.step.tolist(), table.columns["loss"].tolist(), table.columns["time"].tolist()) == (
        [step],
        [2.5],
        [5000],
    )


@pytest.mark.parametrize(
    ("line", "unreadable"),
    [
        (mlline("train_loss", 2.5), 0),
        (mlline("block_start", 2.5, step=3), 0),
        (mlline("train_loss", "x", step=3), 1),
        (mlline("tracked_stats", {"reduced_train_loss": "x"}, step=3), 1),
        (mlline("train_loss", None, step=3), 0),
        (':::MLLOG {"key": "train_loss", "value": 2.\n', 1),
        (':::MLLOG {"key": "eval_start", "value": 2.\n', 0),
        ("no mark\n", 0),
    ],
)
def test_lines_that_give_no_record(read, line, unreadable):
    table = read(mlline("train_loss", 2.5, step=1) + line)
    assert (table.step.tolist(), table.unreadable_lines) == ([1], unreadable)


@pytest.mark.parametrize("key", ["eval_accuracy", "grad_norm", "my_loss", "tracked_stats"])
def test_statistics(read, key):
    value = {"a": 1.5} if key == "tracked_stats" else 1.5
    assert read(mlline(key, value, step=1), log_format="mllog").step.tolist() == [1]


def test_the_users_step_in_the_metadata(read):
    assert read(mlline("train_loss", 2.5, step=3, t=7), step_key="t").step.tolist() == [7]

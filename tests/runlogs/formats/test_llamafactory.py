# ruff: noqa: E501 (a line of a log is as long as it is)
from runlogs.textchecks import check_text

LOG = """\
{"current_steps": 5, "total_steps": 8712, "loss": 1.7484, "eval_loss": null, "learning_rate": 4.9e-05, "epoch": 0.01, "elapsed_time": "0:03:29"}
{"current_steps": 10, "total_steps": 8712, "loss": 1.7329, "eval_loss": null, "learning_rate": 4.8e-05, "epoch": 0.02, "elapsed_time": "0:07:03"}
{"current_steps": 10, "total_steps": 8712, "loss": null, "eval_loss": 1.6911, "learning_rate": null, "epoch": 0.02, "elapsed_time": "0:07:31"}
{"current_steps": 15, "total_steps": 8712, "loss": 0.0, "grad_norm": NaN, "lr": 4.7e-05, "epoch": 0.03, "elapsed_time": "0:10:37"}
"""


def test_null_is_not_recorded_and_zero_with_a_nan_norm_is_nan(tmp_path):
    table = check_text(
        tmp_path,
        LOG,
        "llamafactory",
        steps=[5, 10, 10, 15],
        lines=[1, 2, 3, 4],
        loss=[1.7484, 1.7329, None, None],
        eval_loss=[None, None, 1.6911, None],
    )
    assert table.total_steps.tolist() == [8712] * 4
    assert table.nan_rows["loss"].tolist() == [False, False, False, True]

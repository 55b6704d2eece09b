# ruff: noqa: E501 (a line of a log is as long as it is)
from runlogs.textchecks import check_text

LOG = """\
[default0]:Training epoch 0, iteration 0/19 | lr: 1.499e-07 | global_batch_size: 512 | global_step: 0 | reduced_train_loss: 11.03 | train_step_timing in s: 10.31
[default0]:Training epoch 0, iteration 1/19 | lr: 2.999e-07 | global_batch_size: 512 | global_step: 1 | reduced_train_loss: 10.97 | train_step_timing in s: 7.549 | consumed_samples: 1024
"""


def test_points(tmp_path):
    check_text(
        tmp_path,
        LOG,
        "nemo",
        steps=[0, 1],
        lines=[1, 2],
        loss=[11.03, 10.97],
        learning_rate=[1.499e-07, 2.999e-07],
        consumed_samples=[None, 1024],
    )

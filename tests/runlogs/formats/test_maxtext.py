# ruff: noqa: E501 (a line of a log is as long as it is)
from runlogs.textchecks import check_text

LOG = """\
completed step: 0, seconds: 1.353, TFLOP/s/device: 1674.038, Tokens/s/device: 36325.072, total_weights: 1572864, loss: 10.874
completed step: 1, seconds: 12.444, TFLOP/s/device: 182.028, Tokens/s/device: 3949.842, total_weights: 1572864, loss: 10.410
eval metrics after step: 1, loss=10.331, total_weights=65536.0
"""


def test_points_and_evaluation(tmp_path):
    check_text(
        tmp_path,
        LOG,
        "maxtext",
        steps=[0, 1, 1],
        lines=[1, 2, 3],
        loss=[10.874, 10.41, None],
        eval_loss=[None, None, 10.331],
        **{"TFLOP/s/device": [1674.038, 182.028, None]},
    )

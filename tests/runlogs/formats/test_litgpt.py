from runlogs.textchecks import check_text

LOG = """\
Epoch 1 | iter 1 step 0 | loss train: 1.646, val: n/a | iter time: 820.31 ms
Epoch 1 | iter 2 step 1 | loss train: 1.660, val: 1.713 | iter time: 548.72 ms (step)
iter 2: val loss 1.7013, val time: 3117.11 ms
"""


def test_points_and_evaluation(tmp_path):
    check_text(
        tmp_path,
        LOG,
        "litgpt",
        steps=[1, 2, 2],
        lines=[1, 2, 3],
        loss=[1.646, 1.66, None],
        eval_loss=[None, 1.713, 1.7013],
        optimizer_step=[0, 1, None],
        **{"iter time": [820.31, 548.72, None]},
    )

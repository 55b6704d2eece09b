from runlogs.textchecks import check_text

LOG = """\
step 3000: train loss 4.0390, val loss 4.0427
iter 3000: loss 4.2490, time 35392.33ms, mfu 13.85%
2023-03-22 09:32:41 iter 3010: loss nan, time 313.71ms, mfu 13.91%
"""


def test_training_evaluation_and_nan(tmp_path):
    table = check_text(
        tmp_path,
        LOG,
        "nanogpt",
        steps=[3000, 3000, 3010],
        lines=[1, 2, 3],
        loss=[None, 4.249, None],
        eval_loss=[4.0427, None, None],
        mfu=[None, 13.85, 13.91],
    )
    assert table.nan_rows["loss"].tolist() == [False, False, True]

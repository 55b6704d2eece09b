# ruff: noqa: E501 (a line of a log is as long as it is)
from runlogs.textchecks import check_text

LOG = """\
2022-01-02 12:31:36 | INFO | train_inner | {"epoch": 1, "update": 0.0, "loss": "16.475", "ppl": "91120.8", "num_updates": "1", "lr": "2e-05", "gnorm": "20.751", "loss_scale": "4", "wall": "105"}
2022-01-02 12:32:12 | INFO | fairseq.trainer | NOTE: gradient overflow detected, ignoring gradient, setting loss scale to: 2.0
2022-01-02 12:32:33 | INFO | train_inner | {"epoch": 1, "update": 0.0, "loss": "nan", "ppl": "nan", "num_updates": "2", "lr": "4e-05", "gnorm": "19.777", "loss_scale": "2", "wall": "161"}
2022-01-02 12:43:15 | INFO | valid | {"epoch": 1, "valid_loss": "17.953", "valid_ppl": "253807", "valid_num_updates": "2"}
"""


def test_numbers_that_are_texts(tmp_path):
    table = check_text(
        tmp_path,
        LOG,
        "fairseq",
        steps=[1, 2, 2],
        lines=[1, 3, 4],
        loss=[16.475, None, None],
        eval_loss=[None, None, 17.953],
        grad_norm=[20.751, 19.777, None],
        loss_scale=[4, 2, None],
    )
    assert table.nan_rows["loss"].tolist() == [False, True, False]
    (event,) = table.scaler_events
    assert (event.kind, event.line, event.step, event.loss_scale) == ("overflow", 2, 1, 2.0)


def test_the_older_form_with_pipes(tmp_path):
    log = """\
| epoch 001:    200 / 1374 loss=14.351, ppl=20899.56, wps=2011, num_updates=190, lr=4.84525e-06, gnorm=3.901, loss_scale=0.125
| WARNING: overflow detected, setting loss scale to: 0.0625
| epoch 001:    300 / 1374 loss=13.117, ppl=8899.51, wps=2017, num_updates=289, lr=7.3e-06, gnorm=3.101, loss_scale=0.0625
| epoch 001 | valid on 'valid' subset | loss 12.113 | ppl 4411.3 | num_updates 1371
"""
    check_text(
        tmp_path,
        log,
        "fairseq",
        steps=[190, 289, 1371],
        lines=[1, 3, 4],
        loss=[14.351, 13.117, None],
        eval_loss=[None, None, 12.113],
        grad_norm=[3.901, 3.101, None],
    )
